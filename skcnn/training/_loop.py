"""One phase of training: a model, an optimizer, and so many epochs. Importing this module loads Keras."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from skcnn._progress import progress_bar
from skcnn.training._batches import Batches
from skcnn.training._callbacks import (
    BestWeights,
    Recorder,
    ScheduledRate,
    Shrinkage,
    Snapshots,
    StateKeeper,
    WeightAverage,
)
from skcnn.training._optimizers import describe_optimizer
from skcnn.training._plan import Plan
from skcnn.training._schedules import Schedule
from skcnn.training._state import DivergedError, TrainingState

OnEpoch = Callable[[list[dict[str, Any]], bool, Callable[..., TrainingState]], None]
OnEnd = Callable[[list[dict[str, Any]], TrainingState], None]

# Of a head alone, so that all of them together take about a second, and an interrupt is not late.
MAX_STEPS_AT_ONCE = 256
MAX_WEIGHTS_AT_ONCE = 1_000_000


def train(
    phase: str,
    model: Any,
    batches: Batches,
    plan: Plan,
    *,
    state: TrainingState | None = None,
    history: Sequence[dict[str, Any]] = (),
    validation: Batches | None = None,
    snapshots: Snapshots | None = None,
    on_epoch: OnEpoch | None = None,
    on_end: OnEnd | None = None,
    verbose: int | None = None,
) -> TrainingState:
    """Train head and tail by cross-entropy.

    Parameters
    ----------
    phase : str
        Its name, for records and messages.
    model : TrainedModel
    batches : Batches
    plan : Plan
        Of one phase, as `Plan.resolve` returns it. At least one epoch.
    state : TrainingState, default=None
        What to go on from: a state of this phase. None begins with the weights of the model.
    history : sequence of dict, default=()
        The records before this phase; those of a state take their place.
    validation : Batches, default=None
        Of images that are judged after each epoch.
    snapshots : Snapshots, default=None
        Keeps the weights after some of the epochs.
    on_epoch : callable, default=None
        Called after each epoch with all records, whether there are no more, and a function that returns the state;
        with ``settled=True`` with the statistics of batch normalisation that these weights would end with.
    on_end : callable, default=None
        Called with all records and the state in which the training ends.
    verbose : int, default=None
        Progress: None shows it where that takes more than a few seconds, 0 never, 1 always.

    Returns
    -------
    TrainingState
        After the last epoch, or, not finished, where the user interrupted it. Its history has a record for each epoch:
        phase, epoch (from 1 on), `FIGURES` on the training images while they were trained on, the same with ``val_``
        before on those that are judged, learning_rate (at its end), seconds.

    Raises
    ------
    DivergedError
        When the loss becomes NaN or infinite. It is a FloatingPointError, and has the state of before.
    """
    per_epoch = batches.per_epoch
    earlier = sum(record["phase"] == phase for record in history)
    begin, done = (earlier, 0) if state is None else (state.begin, state.epochs)
    records = [*(history if state is None else state.history)]
    _, learning_rate = describe_optimizer(plan.optimizer)
    # One step of a small head takes less time than going back to Python for the next one. Callbacks are called
    # at each step.
    is_small = len(batches.inputs.input_shape) == 1 and model.head.count_params() <= MAX_WEIGHTS_AT_ONCE
    is_light = is_small and not plan.callbacks and snapshots is None and plan.schedule is None
    steps = largest_divisor(per_epoch, MAX_STEPS_AT_ONCE) if is_light else 1
    # Within an epoch, statistics of batch normalisation are those of the training images, also where it has few steps.
    settings = {"label_smoothing": plan.label_smoothing, "steps_per_execution": steps}
    settings["norm_momentum"] = max(0.0, 1 - 5 / per_epoch) if model.learns_statistics else 1.0
    model.compile_for(plan.optimizer, **settings)
    if state is not None:
        model.go_on_from(state, learning_rate)

    resumable: list[Any] = [] if plan.early_stopping is None else [BestWeights(plan.early_stopping)]
    resumable += [WeightAverage(begin, plan.epochs)] if plan.average_weights else []
    resumable += [Shrinkage(plan.shrinkage)] if isinstance(plan.shrinkage, float) and plan.shrinkage else []
    rates = []
    if isinstance(plan.schedule, Schedule) and learning_rate is not None:
        rates.append(
            ScheduledRate(plan.schedule.rate_of_steps(learning_rate, plan.epochs, per_epoch), per_epoch, begin)
        )

    def current(epoch: int, *, is_finished: bool, keeps_callbacks: bool = True) -> TrainingState:
        known = {name: arrays for each in resumable for name, arrays in each.state().items()} if keeps_callbacks else {}
        weights, optimizer = model.state()
        made = {"weights": weights, "optimizer": optimizer, "optimizer_settings": model.optimizer_settings}
        return TrainingState(phase, begin, epoch - begin, is_finished, **made, callbacks=known, history=[*records])

    def settle(epoch: int) -> None:
        if model.learns_statistics:
            model.set_norm_statistics(batch[0] for batch in batches.epochs(1, epoch))

    if snapshots is not None:
        snapshots.settle = settle

    def report(epoch: int, is_last: bool) -> None:
        def at_present(*, settled: bool = False) -> TrainingState:
            if not (settled and model.learns_statistics):
                return current(epoch, is_finished=is_last)
            weights = model.get_weights()
            settle(epoch - 1)
            state = current(epoch, is_finished=is_last)
            model.set_weights(weights)
            return state

        if on_epoch is not None:
            on_epoch(records, is_last, at_present)

    first = begin + (plan.epochs if state is not None and state.is_finished else done)
    last = begin + plan.epochs
    with progress_bar(last - first, description=phase, unit="epoch", verbose=verbose) as bar:
        keeper = StateKeeper(resumable, {} if state is None else state.callbacks, report)
        recorder = Recorder(phase, bar, records)
        called = [recorder, *rates, *resumable, *plan.callbacks, *([] if snapshots is None else [snapshots]), keeper]
        settings = {
            "initial_epoch": first,
            "epochs": last,
            "steps_per_epoch": per_epoch,
            "shuffle": False,
            "verbose": 0,
        }
        errors: list[Exception] = []
        is_finished, diverged = True, ""
        if validation is not None:
            settings["validation_data"] = feed(validation, 0, 1, errors)
        try:
            model.fit(feed(batches, first, last, errors), callbacks=called, **settings)
        except KeyboardInterrupt:
            if snapshots is not None:  # there are not all of them
                raise
            is_finished = False
            for each in resumable:
                each.on_train_end()
        except FloatingPointError as error:
            is_finished, diverged = False, str(error)
            model.set_weights(recorder.weights)
        except Exception:
            if errors:  # TensorFlow raises one of its own in its place
                raise errors[0] from None
            raise
    done = sum(record["phase"] == phase for record in records)
    if not is_finished and not diverged:
        msg = f"training was interrupted in epoch {done + 1} of {last} of phase {phase!r}; the weights so far are kept"
        warnings.warn(msg, UserWarning, stacklevel=2)
    settle(last - 1)
    ended = current(done, is_finished=is_finished, keeps_callbacks=False)
    if diverged:  # the state of the optimizer has NaN too
        raise DivergedError(diverged, dataclasses.replace(ended, optimizer=[], optimizer_settings=""))
    if on_end is not None and is_finished:
        on_end(records, ended)
    return ended


def feed(batches: Batches, first: int, last: int, errors: list[Exception]) -> Any:
    """Return the batches of the epochs from `first` to before `last` as `keras.Model.fit` takes them.

    An error in making one is also added to `errors`.
    """
    from skcnn._keras import tf

    def generate() -> Iterator[tuple[np.ndarray, ...]]:
        try:
            yield from batches.epochs(last - first, first)
        except Exception as error:
            errors.append(error)
            raise

    shapes = [batches.inputs.input_shape, batches.targets.shape[1:], *([] if batches.weights is None else [()])]
    signature = tuple(tf.TensorSpec((None, *shape), tf.float32) for shape in shapes)
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    # Keras would make a dataset that a thread tunes at growing intervals, and `fit` would wait at its end until that
    # thread wakes up.
    options = tf.data.Options()
    options.autotune.enabled = False
    # Without the number of batches Keras warns at the end of images that are held out that there are too few.
    counted = dataset.apply(tf.data.experimental.assert_cardinality((last - first) * batches.per_epoch))
    return counted.prefetch(2).with_options(options)


def largest_divisor(number: int, limit: int) -> int:
    return next(divisor for divisor in range(min(number, limit), 0, -1) if number % divisor == 0)
