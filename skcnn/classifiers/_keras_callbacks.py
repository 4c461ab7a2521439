"""Keras callbacks that a user gives to a classifier."""

from __future__ import annotations

import copy
from typing import Any


def check_callbacks(name: str, value: Any) -> None:
    """Refuse any value that is neither None nor a list of Keras callbacks."""
    if value is None:
        return
    from skcnn._keras import keras

    if not isinstance(value, (list, tuple)) or not all(isinstance(each, keras.callbacks.Callback) for each in value):
        msg = (
            f"The {name!r} parameter must be None or a list of Keras callbacks, such as [keras.callbacks.TensorBoard()]"
        )
        raise ValueError(f"{msg}. Got {value!r} instead.")


def copy_callbacks(callbacks: Any, schedule: Any) -> list[Any]:
    """Return copies of callbacks for one fit.

    Parameters
    ----------
    callbacks : sequence of keras.callbacks.Callback, or None
    schedule : Schedule, "auto" or None
        What sets the learning rate; None for nothing.

    Raises
    ------
    TypeError
        When one cannot be copied.
    ValueError
        When one sets the learning rate, and a schedule does; or writes the whole network, as only `export` can.
    """
    if not callbacks:
        return []
    from skcnn._keras import keras

    of_rates = keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau
    copies = []
    for callback in callbacks:
        name = type(callback).__name__
        if schedule is not None and isinstance(callback, of_rates):
            raise ValueError(f"{name} sets the learning rate, and so does the schedule; set schedule=None")
        if isinstance(callback, keras.callbacks.ModelCheckpoint) and not callback.save_weights_only:
            msg = f"{name} cannot write the network while it is trained; keep_checkpoints='all' keeps its states, which"
            raise ValueError(f"{msg} load_checkpoint and export make networks of. save_weights_only=True works, too")
        try:
            copies.append(copy.deepcopy(callback))
        except Exception as error:
            msg = f"each fit makes copies of its callbacks, and {name} cannot be copied"
            raise TypeError(f"{msg}: {type(error).__name__}: {error}") from error
    return copies
