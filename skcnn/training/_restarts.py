"""Cosine restarts: a learning rate that falls to 0 several times in one training. Importing this module loads Keras."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
import numpy as np

__all__ = ["CosineRestarts", "Snapshot", "split_epochs"]


class Snapshot(NamedTuple):
    """What head and tail had learned at the end of a cycle.

    Attributes
    ----------
    epochs : int
        Number of epochs until then.
    head_weights, tail_weights : list of ndarray
    """

    epochs: int
    head_weights: list[np.ndarray]
    tail_weights: list[np.ndarray]


class CosineRestarts(keras.callbacks.Callback):
    """Lets the learning rate fall along half a cosine to 0 in each cycle, and keeps the weights at its end.

    Source: Huang et al., "Snapshot Ensembles: Train 1, Get M for Free", arXiv 1704.00109.

    Parameters
    ----------
    epochs : int
        Of the whole training.
    n_cycles : int
        At most `epochs`; the first cycles are an epoch longer where they cannot all be equal.

    Attributes
    ----------
    snapshots : list of Snapshot
        One for each cycle that has ended.
    """

    def __init__(self, epochs: int, n_cycles: int):
        super().__init__()
        self.snapshots: list[Snapshot] = []
        self._cycle_of_epoch = [(epoch, length) for length in split_epochs(epochs, n_cycles) for epoch in range(length)]
        self._epoch = self._length = 0
        self._highest_rate = 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        """Take the learning rate that each cycle begins with."""
        self._highest_rate = float(self.model.optimizer.learning_rate)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Find the place in the cycle."""
        self._epoch, self._length = self._cycle_of_epoch[epoch]

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the learning rate of the next step."""
        progress = (self._epoch + batch / self.params["steps"]) / self._length
        self.model.optimizer.learning_rate = self._highest_rate * (1 + math.cos(math.pi * progress)) / 2

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keep the weights, if a cycle ends here."""
        if self._epoch + 1 == self._length:
            self.snapshots.append(Snapshot(epoch + 1, self.model.head.get_weights(), self.model.tail_weights()))


def split_epochs(epochs: int, n_cycles: int) -> list[int]:
    """Return the number of epochs in each cycle."""
    shorter, longer = divmod(epochs, n_cycles)
    return [shorter + (cycle < longer) for cycle in range(n_cycles)]
