"""ShallowNet: one convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skcnn.architectures._input_shape import image_input
from skcnn.architectures._modules import classify, conv_module


def shallownet(
    input_shape: Sequence[int],
    n_classes: int,
    *,
    activation: Any = "relu",
    batch_norm: str | None = None,
    l2: float = 0.0,
) -> Any:
    """Return a network of one 3 x 3 convolution of 32 filters, and a softmax on all its positions.

    Parameters
    ----------
    input_shape : (int, int, int)
        (height, width, channels).
    n_classes : int
    activation, batch_norm, l2
        As of `conv_module`; `l2` is of all kernels.

    Returns
    -------
    keras.Model
        328,586 parameters for (32, 32, 3) and 10 classes.
    """
    from skcnn._keras import keras

    inputs = image_input("shallownet", input_shape, at_least=1)
    x = conv_module(inputs, 32, activation=activation, batch_norm=batch_norm, l2=l2, name="conv")
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(inputs, classify(x, n_classes, l2=l2), name="shallownet")
