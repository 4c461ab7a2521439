"""The shape of the images that a network takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def image_input(name: str, input_shape: Sequence[int], *, at_least: int) -> Any:
    """Return the input of a network for images of one shape.

    Parameters
    ----------
    name : str
        Of the network, for the error.
    input_shape : (int, int, int)
        (height, width, channels).
    at_least : int
        The smallest side in pixels that leaves something after all poolings.

    Returns
    -------
    keras.KerasTensor of shape (None, height, width, channels), float32

    Raises
    ------
    ValueError
        For a shape of another length, or images that are too small.
    """
    from skcnn._keras import keras

    shape = tuple(input_shape)
    if len(shape) != 3:
        raise ValueError(f"The 'input_shape' parameter must be (height, width, channels). Got {input_shape!r} instead.")
    if min(shape[:2]) < at_least:
        msg = f"{name} takes images of {at_least} x {at_least} pixels or more, and input_shape={shape} is"
        raise ValueError(f"{msg} {shape[0]} x {shape[1]}; its poolings would leave nothing")
    return keras.Input(shape, dtype="float32")
