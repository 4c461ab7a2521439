"""The result of a training: `Weights`, and `TrainingState`, with which it can go on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

# Groups of arrays by name.
Arrays = dict[str, list[np.ndarray]]


class Weights(NamedTuple):
    """The trained weights of a network, as arrays.

    Attributes
    ----------
    head : sequence of ndarray
        Of the head, as `keras.Model.get_weights` orders them.
    tail : sequence of ndarray, default=()
        Of the tail, frozen ones included; empty where none was trained.
    dropout : sequence of ndarray, default=()
        How far the random numbers of dropout have come; empty for their beginning.
    """

    head: Sequence[np.ndarray]
    tail: Sequence[np.ndarray] = ()
    dropout: Sequence[np.ndarray] = ()


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
        The best epoch so far, the sums of the average, the weights at the beginning.
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


class PhaseEnd(NamedTuple):
    """The result of a phase.

    Attributes
    ----------
    weights : Weights
    history : list of dict
        The records of this phase and of those before.
    state : TrainingState or None, default=None
        What a later fit can go on from.
    is_finished : bool, default=True
        False where the user interrupted it, or it diverged.
    failure : str, default=""
        How it diverged.
    """

    weights: Weights
    history: list[dict[str, Any]]
    state: TrainingState | None = None
    is_finished: bool = True
    failure: str = ""


class DivergedError(FloatingPointError):
    """The loss became NaN or infinite.

    Attributes
    ----------
    state : TrainingState
        After the last epoch before that, or where the phase began.
    """

    def __init__(self, message: str, state: TrainingState):
        super().__init__(message)
        self.state = state
