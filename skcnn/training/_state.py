"""`TrainingState`: how far a training has come, with all that it takes to go on from there."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

# Groups of arrays by name.
Arrays = dict[str, list[np.ndarray]]


@dataclasses.dataclass(frozen=True)
class TrainingState:
    """How far a training has come, with all that it takes to go on from there.

    Parameters
    ----------
    phase : str
    begin : int
        Epochs of this phase that earlier fits made, which this one goes on from.
    epochs : int
        Epochs that this fit has made since.
    is_finished : bool
        Whether this fit needs no more of them.
    weights : list of ndarray
        All variables of tail and head, with how far dropout has come.
    optimizer : list of ndarray
        All variables of the optimizer.
    optimizer_settings : str
        What optimizer these are of.
    callbacks : dict of str to list of ndarray
        What is known of the best epoch, and of the average.
    history : list of dict
        A record for each epoch, of earlier phases and fits, too.
    """

    phase: str
    begin: int
    epochs: int
    is_finished: bool
    weights: list[np.ndarray]
    optimizer: list[np.ndarray]
    optimizer_settings: str
    callbacks: Arrays
    history: list[dict[str, Any]]

    def as_beginning(self) -> TrainingState:
        """Return the state that another fit goes on from, whatever its settings are."""
        begin = self.begin + self.epochs
        return dataclasses.replace(self, begin=begin, epochs=0, is_finished=False, callbacks={})
