"""Keras callbacks of a training: records, rates, averages, checkpoints. Importing this module loads Keras."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from skcnn._keras import keras
from skcnn.training._plan import FIGURES, EarlyStopping
from skcnn.training._state import Weights


class Recorder(keras.callbacks.Callback):
    """Keeps one record per epoch, shows progress, and stops where the loss is no number any more.

    Attributes
    ----------
    weights : list of ndarray
        After the last epoch, or from before the first one.
    """

    def __init__(self, phase: str, bar: Any, records: list[dict[str, Any]]):
        super().__init__()
        self.phase = phase
        self.bar = bar
        self.records = records
        self.weights: list[np.ndarray] = []
        self._begin = 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        """Keep the weights."""
        self.weights = self.model.get_weights()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self._begin = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Show that time passes, also within an epoch; stop where the loss is no number."""
        self.bar.update(0)
        if not np.isfinite(logs["loss"]):
            epoch = sum(record["phase"] == self.phase for record in self.records) + 1
            msg = f"the loss became {logs['loss']} in epoch {epoch} of phase {self.phase!r} at a learning rate of"
            raise FloatingPointError(f"{msg} {float(self.model.optimizer.learning_rate):g}; lower the learning rate")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add a record."""
        names = (*FIGURES, *(f"val_{name}" for name in FIGURES))
        figures = {name: float(logs[name]) for name in names if name in logs}
        rate = float(self.model.optimizer.learning_rate)
        record = {"phase": self.phase, "epoch": epoch + 1, **figures, "learning_rate": rate}
        self.records.append({**record, "seconds": time.perf_counter() - self._begin})
        self.weights = self.model.get_weights()
        self.bar.set_postfix({name: f"{value:.4g}" for name, value in figures.items()}, refresh=False)
        self.bar.update()


class ScheduledRate(keras.callbacks.Callback):
    """Sets the learning rate of each step.

    A schedule inside the optimizer would be part of the graph of the training step, which is traced anew for another.

    Parameters
    ----------
    rate : callable
        From the step, counted from 0 on, to the learning rate.
    steps_per_epoch : int
    begin : int
        The epoch of the first of these steps.
    """

    def __init__(self, rate: Callable[[int], float], steps_per_epoch: int, begin: int):
        super().__init__()
        self._rate = rate
        self._steps_per_epoch = steps_per_epoch
        self._begin = begin
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Find the place in the training."""
        self._epoch = epoch - self._begin

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the learning rate of the next step."""
        self.model.optimizer.learning_rate = self._rate(self._epoch * self._steps_per_epoch + batch)


class WeightAverage(keras.callbacks.Callback):
    """Makes the weights the mean of those after each epoch of the last quarter.

    Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018, arXiv
    1803.05407.

    Parameters
    ----------
    begin, epochs : int
        The first epoch of the training, and how many there are.
    """

    def __init__(self, begin: int, epochs: int):
        super().__init__()
        self._first = begin + epochs - -(-epochs // 4)
        self._sums: list[np.ndarray] = []
        self._count = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add the weights, in the last quarter."""
        if epoch < self._first:
            return
        weights = self.model.get_weights()
        # In float64: the mean of equal weights is these weights.
        if not self._count:
            self._sums = [np.zeros(weight.shape) for weight in weights]
        for total, weight in zip(self._sums, weights, strict=True):
            total += weight
        self._count += 1

    def on_train_end(self, logs: Any = None) -> None:
        """Set the mean."""
        if self._count:
            self.model.set_weights([total / self._count for total in self._sums])

    def state(self) -> dict[str, list[np.ndarray]]:
        """Return the mean so far."""
        return {"average_count": [np.array(self._count)], "average_sums": self._sums}

    def set_state(self, state: dict[str, list[np.ndarray]]) -> None:
        """Go on from there."""
        self._count = int(state["average_count"][0])
        self._sums = [*state["average_sums"]]


class Shrinkage(keras.callbacks.Callback):
    """Moves the weights back at the end, towards those at the beginning.

    Parameters
    ----------
    share : float
        Of the way: 0 leaves them where they are, and 1 goes back to the beginning.
    """

    def __init__(self, share: float):
        super().__init__()
        self._share = share
        self._begin: list[np.ndarray] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Keep the weights."""
        self._begin = self.model.get_weights()

    def on_train_end(self, logs: Any = None) -> None:
        """Set the weights in between."""
        ends = self.model.get_weights()
        self.model.set_weights(
            [end + self._share * (begin - end) for begin, end in zip(self._begin, ends, strict=True)]
        )

    def state(self) -> dict[str, list[np.ndarray]]:
        """Return the weights at the beginning."""
        return {"begin_weights": self._begin}

    def set_state(self, state: dict[str, list[np.ndarray]]) -> None:
        """Go on from there."""
        self._begin = state["begin_weights"]


class Snapshots(keras.callbacks.Callback):
    """Keeps the weights after some numbers of epochs.

    Parameters
    ----------
    after : iterable of int

    Attributes
    ----------
    kept : dict of int to Weights
        By the number of epochs.
    settle : callable
        Called with the epoch before the weights are kept; it gives batch normalisation the statistics that suit them.
    """

    def __init__(self, after: Iterable[int]):
        super().__init__()
        self.settle: Callable[[int], None] = lambda epoch: None
        self.kept: dict[int, Weights] = {}
        self._after = frozenset(after)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keep the weights, if it is time."""
        if epoch + 1 in self._after:
            self.settle(epoch)
            self.kept[epoch + 1] = self.model.trained_weights()


class BestWeights(keras.callbacks.EarlyStopping):
    """Stops where a figure has not become better for some epochs, and restores the weights of the best one."""

    def __init__(self, settings: EarlyStopping):
        super().__init__(
            settings.monitor,
            min_delta=settings.min_delta,
            patience=settings.patience,
            mode="max" if settings.monitor.endswith("accuracy") else "min",
            restore_best_weights=True,
        )

    def state(self) -> dict[str, list[np.ndarray]]:
        """Return the best epoch so far."""
        return {
            "best_figures": [np.array([self.best, self.best_epoch, self.wait, self.stopped_epoch], np.float64)],
            "best_weights": self.best_weights or [],
        }

    def set_state(self, state: dict[str, list[np.ndarray]]) -> None:
        """Go on from there."""
        self.best, *counts = state["best_figures"][0].tolist()
        self.best_epoch, self.wait, self.stopped_epoch = map(int, counts)
        self.best_weights = state["best_weights"]


class StateKeeper(keras.callbacks.Callback):
    """Gives other callbacks the state that they go on from, and calls a function after each epoch.

    It has to be the last of the callbacks.

    Parameters
    ----------
    others : sequence of BestWeights, WeightAverage and Shrinkage
    state : dict of str to list of ndarray
        What they go on from; empty for a beginning.
    on_epoch : callable
        Called with the number of the epoch, from 1 on, and whether it is the last.
    """

    def __init__(
        self, others: Sequence[Any], state: dict[str, list[np.ndarray]], on_epoch: Callable[[int, bool], None]
    ):
        super().__init__()
        self._others = others
        self._state = state
        self._on_epoch = on_epoch

    def on_train_begin(self, logs: Any = None) -> None:
        """Set the state, which Keras's callbacks forget as training begins."""
        for other in self._others if self._state else ():
            other.set_state(self._state)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Call the function."""
        self._on_epoch(epoch + 1, self.model.stop_training or epoch + 1 == self.params["epochs"])
