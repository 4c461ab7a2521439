"""`Weights`: what of a network was trained, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Weights(NamedTuple):
    """What of a network was trained, as arrays.

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
