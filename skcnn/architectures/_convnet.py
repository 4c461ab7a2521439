"""A plain stack of convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skcnn.architectures._input_shape import image_input
from skcnn.architectures._modules import classify, conv_module


def convnet(
    input_shape: Sequence[int],
    n_classes: int,
    *,
    filters: Sequence[int] = (16, 32),
    dropout: float = 0.25,
    padding: str = "valid",
    activation: Any = "relu",
    batch_norm: str | None = None,
    l2: float = 0.0,
) -> Any:
    """Return a plain stack of 3 x 3 convolutions, each with max pooling and dropout, and a softmax on what is left.

    Parameters
    ----------
    input_shape : (int, int, int)
        (height, width, channels). Each convolution and its pooling halve height and width; without padding they take
        two pixels more.
    n_classes : int
    filters : sequence of int, default=(16, 32)
        Of each convolution.
    dropout : float, default=0.25
        Fraction in [0, 1) of the values after each pooling that is left out in training.
    padding, activation, batch_norm, l2
        As of `conv_module`; `l2` is of all kernels.

    Returns
    -------
    keras.Model
        12,810 parameters for (28, 28, 1) and 10 classes.
    """
    from skcnn._keras import keras

    smallest = 1
    for _ in filters:
        smallest = 2 * smallest + (2 if padding == "valid" else 0)
    module: dict[str, Any] = {"padding": padding, "activation": activation, "batch_norm": batch_norm, "l2": l2}
    inputs = x = image_input("convnet", input_shape, at_least=smallest)
    for number, width in enumerate(filters, 1):
        x = conv_module(x, width, name=f"conv{number}", **module)
        x = keras.layers.MaxPooling2D(2, name=f"pool{number}")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"dropout{number}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(inputs, classify(x, n_classes, l2=l2), name="convnet")
