"""LeNet, in the form with ReLU and max pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skcnn.architectures._input_shape import image_input
from skcnn.architectures._modules import classify, conv_module, dense_module


def lenet(
    input_shape: Sequence[int],
    n_classes: int,
    *,
    activation: Any = "relu",
    batch_norm: str | None = None,
    l2: float = 0.0,
) -> Any:
    """Return a LeNet: two 5 x 5 convolutions of 20 and 50 filters, each with pooling, and a dense layer of 500 units.

    Source: LeCun et al., "Gradient-based learning applied to document recognition", 1998, with today's activation and
    pooling.

    Parameters
    ----------
    input_shape : (int, int, int)
        (height, width, channels), at least 4 x 4 pixels. It was made for 28 x 28.
    n_classes : int
    activation, batch_norm, l2
        As of `conv_module`; `l2` is of all kernels.

    Returns
    -------
    keras.Model
        1,256,080 parameters for (28, 28, 1) and 10 classes.
    """
    from skcnn._keras import keras

    module: dict[str, Any] = {"activation": activation, "batch_norm": batch_norm, "l2": l2}
    inputs = x = image_input("lenet", input_shape, at_least=4)
    for number, filters in enumerate((20, 50), 1):
        x = conv_module(x, filters, 5, name=f"conv{number}", **module)
        x = keras.layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = dense_module(keras.layers.Flatten(name="flatten")(x), 500, name="dense", **module)
    return keras.Model(inputs, classify(x, n_classes, l2=l2), name="lenet")
