"""One phase of training: a model, an optimizer, and so many epochs. Importing this module loads Keras."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from skcnn._progress import progress_bar
from skcnn.training._batches import Batches

__all__ = ["train"]

# Of a head alone, so that all of them together take about a second, and an interrupt is not late.
MAX_STEPS_AT_ONCE = 256
MAX_WEIGHTS_AT_ONCE = 1_000_000


class Recorder(keras.callbacks.Callback):
    """Keeps one record per epoch, shows progress, and stops where the loss is no number any more."""

    def __init__(self, phase: str, bar: Any):
        super().__init__()
        self.phase = phase
        self.bar = bar
        self.records: list[dict[str, Any]] = []
        self._begin = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add a record."""
        loss, accuracy = float(logs["loss"]), float(logs["accuracy"])
        if not np.isfinite(loss):
            rate = float(self.model.optimizer.learning_rate)
            msg = f"the loss became {loss} in epoch {epoch + 1} of phase {self.phase!r} at a learning rate of {rate:g}"
            raise FloatingPointError(f"{msg}; lower the learning rate")
        self.records.append(
            {
                "phase": self.phase,
                "epoch": epoch + 1,
                "loss": loss,
                "accuracy": accuracy,
                "learning_rate": float(self.model.optimizer.learning_rate),
                "seconds": time.perf_counter() - self._begin,
            }
        )
        self.bar.set_postfix(loss=f"{loss:.4g}", accuracy=f"{accuracy:.4g}", refresh=False)
        self.bar.update()


def train(
    phase: str,
    model: Any,
    batches: Batches,
    *,
    epochs: int,
    optimizer: Any,
    label_smoothing: float = 0.0,
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
    epochs : int
        At least 1.
    optimizer : keras.optimizers.Optimizer
        A new one.
    label_smoothing : float, default=0.0
        Fraction in [0, 1) of each target that is shared out to all classes.
    callbacks : sequence of keras.callbacks.Callback, default=()
        Called after the records are made.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    list of dict
        A record for each epoch: phase, epoch (from 1 on), loss and accuracy on the training images while they were
        trained on, learning_rate (at its end), seconds.

    Raises
    ------
    FloatingPointError
        When the loss becomes NaN or infinite.
    """
    # One step of a small head takes less time than going back to Python for the next one. Callbacks are called
    # at each step.
    is_light = not callbacks and model.tail is None and model.head.count_params() <= MAX_WEIGHTS_AT_ONCE
    steps = largest_divisor(batches.per_epoch, MAX_STEPS_AT_ONCE) if is_light else 1
    model.compile_for(optimizer, label_smoothing=label_smoothing, steps_per_execution=steps)
    with progress_bar(epochs, description=phase, unit="epoch", verbose=verbose) as bar:
        recorder = Recorder(phase, bar)
        settings = {"epochs": epochs, "steps_per_epoch": batches.per_epoch, "shuffle": False, "verbose": 0}
        errors: list[Exception] = []
        try:
            model.fit(feed(batches, epochs, errors), callbacks=[recorder, *callbacks], **settings)
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
    return dataset.prefetch(2).with_options(options)


def largest_divisor(number: int, limit: int) -> int:
    """Return the largest divisor of a number that is not above a limit."""
    return next(divisor for divisor in range(min(number, limit), 0, -1) if number % divisor == 0)
