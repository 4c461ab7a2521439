"""A multilayer perceptron on the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skcnn.architectures._input_shape import image_input
from skcnn.architectures._modules import classify, dense_module


def mlp(
    input_shape: Sequence[int],
    n_classes: int,
    *,
    units: Sequence[int] = (512,),
    dropout: float = 0.0,
    activation: Any = "relu",
    batch_norm: str | None = None,
    l2: float = 0.0,
) -> Any:
    """Return a multilayer perceptron: dense layers on all pixels, without a convolution.

    Parameters
    ----------
    input_shape : (int, int, int)
        (height, width, channels).
    n_classes : int
    units : sequence of int, default=(512,)
        Width of each hidden layer.
    dropout : float, default=0.0
        Fraction in [0, 1) of the values after each hidden layer that is left out in training.
    activation, batch_norm, l2
        As of `conv_module`; `l2` is of all kernels.

    Returns
    -------
    keras.Model
        407,050 parameters for (28, 28, 1) and 10 classes.
    """
    from skcnn._keras import keras

    inputs = image_input("mlp", input_shape, at_least=1)
    x = keras.layers.Flatten(name="flatten")(inputs)
    for number, width in enumerate(units, 1):
        x = dense_module(x, width, activation=activation, batch_norm=batch_norm, l2=l2, name=f"dense{number}")
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"dropout{number}")(x)
    return keras.Model(inputs, classify(x, n_classes, l2=l2), name="mlp")
