"""One phase of training: a model, an optimizer, and so many epochs. Importing this module loads Keras."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from skcnn._progress import progress_bar
from skcnn.training._batches import Batches
from skcnn.training._callbacks import Recorder, ScheduledRate, WeightAverage, early_stopping_callback
from skcnn.training._plan import Plan

__all__ = ["train"]

# Of a head alone, so that all of them together take about a second, and an interrupt is not late.
MAX_STEPS_AT_ONCE = 256
MAX_WEIGHTS_AT_ONCE = 1_000_000


def train(
    phase: str,
    model: Any,
    batches: Batches,
    plan: Plan,
    *,
    validation: Batches | None = None,
    callbacks: Sequence[Any] = (),
    verbose: int = 0,
) -> list[dict[str, Any]]:
    """Train head and tail by cross-entropy.

    Parameters
    ----------
    phase : str
        Its name, for records and messages.
    model : TailAndHead
    batches : Batches
    plan : Plan
        At least one epoch.
    validation : Batches, default=None
        Of images that were held out, to be judged after each epoch.
    callbacks : sequence of keras.callbacks.Callback, default=()
        Called after the records are made.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    list of dict
        A record for each epoch: phase, epoch (from 1 on), loss and accuracy on the training images while they were
        trained on, val_loss and val_accuracy on those held out, learning_rate (at its end), seconds.

    Raises
    ------
    FloatingPointError
        When the loss becomes NaN or infinite.
    """
    per_epoch = batches.per_epoch
    # One step of a small head takes less time than going back to Python for the next one. Callbacks are called
    # at each step.
    is_small = model.tail is None and model.head.count_params() <= MAX_WEIGHTS_AT_ONCE
    is_light = is_small and not callbacks and plan.schedule is None
    steps = largest_divisor(per_epoch, MAX_STEPS_AT_ONCE) if is_light else 1
    model.compile_for(plan.optimizer, label_smoothing=plan.label_smoothing, steps_per_execution=steps)
    own: list[Any] = []
    if plan.schedule is not None:
        rate = plan.schedule.rate(float(model.optimizer.learning_rate), plan.epochs, per_epoch)
        own.append(ScheduledRate(rate, per_epoch))
    if plan.early_stopping is not None:
        own.append(early_stopping_callback(plan.early_stopping))
    if plan.average_weights:
        own.append(WeightAverage(plan.epochs))
    with progress_bar(plan.epochs, description=phase, unit="epoch", verbose=verbose) as bar:
        recorder = Recorder(phase, bar)
        errors: list[Exception] = []
        settings = {"epochs": plan.epochs, "steps_per_epoch": per_epoch, "shuffle": False, "verbose": 0}
        if validation is not None:
            settings["validation_data"] = feed(validation, 1, errors)
        try:
            model.fit(feed(batches, plan.epochs, errors), callbacks=[recorder, *own, *callbacks], **settings)
        except Exception:
            if errors:  # TensorFlow raises one of its own in its place
                raise errors[0] from None
            raise
    return recorder.records


def feed(batches: Batches, epochs: int, errors: list[Exception]) -> Any:
    """Return the batches of so many epochs as `keras.Model.fit` takes them; an error in making one is also noted."""
    if keras.backend.backend() != "tensorflow":
        return batches.epochs(epochs)
    import tensorflow as tf

    def generate() -> Iterator[tuple[np.ndarray, ...]]:
        try:
            yield from batches.epochs(epochs)
        except Exception as error:
            errors.append(error)
            raise

    shapes = [batches.rows.row_shape, batches.targets.shape[1:], *([] if batches.weights is None else [()])]
    signature = tuple(tf.TensorSpec((None, *shape), tf.float32) for shape in shapes)
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    # Keras would make a dataset that a thread tunes at growing intervals, and `fit` would wait at its end until that
    # thread wakes up.
    options = tf.data.Options()
    options.autotune.enabled = False
    # Without the number of batches Keras warns at the end of images that are held out that there are too few.
    counted = dataset.apply(tf.data.experimental.assert_cardinality(epochs * batches.per_epoch))
    return counted.prefetch(2).with_options(options)


def largest_divisor(number: int, limit: int) -> int:
    """Return the largest divisor of a number that is not above a limit."""
    return next(divisor for divisor in range(min(number, limit), 0, -1) if number % divisor == 0)
