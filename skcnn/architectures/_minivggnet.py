"""MiniVGGNet: two blocks of two 3 x 3 convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skcnn.architectures._input_shape import image_input
from skcnn.architectures._modules import classify, conv_module, dense_module


def minivggnet(
    input_shape: Sequence[int],
    n_classes: int,
    *,
    activation: Any = "relu",
    batch_norm: str | None = "after",
    l2: float = 0.0,
) -> Any:
    """Return a small VGG: two blocks of two 3 x 3 convolutions, of 32 and 64 filters, and a dense layer of 512 units.

    Each block ends with pooling and a dropout of 0.25; before the softmax there is one of 0.5. It is the network of
    Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014, arXiv 1409.1556,
    made small.

    Parameters
    ----------
    input_shape : (int, int, int)
        (height, width, channels), at least 4 x 4 pixels.
    n_classes : int
    activation, batch_norm, l2
        As of `conv_module`; `l2` is of all kernels.

    Returns
    -------
    keras.Model
        2,171,178 parameters for (32, 32, 3) and 10 classes; 8,466,225 for (64, 64, 3) and 17.
    """
    from skcnn._keras import keras

    module: dict[str, Any] = {"activation": activation, "batch_norm": batch_norm, "l2": l2}
    inputs = x = image_input("minivggnet", input_shape, at_least=4)
    for number, filters in enumerate((32, 64), 1):
        x = conv_module(x, filters, name=f"block{number}_conv1", **module)
        x = conv_module(x, filters, name=f"block{number}_conv2", **module)
        x = keras.layers.MaxPooling2D(2, name=f"block{number}_pool")(x)
        x = keras.layers.Dropout(0.25, name=f"block{number}_dropout")(x)
    x = dense_module(keras.layers.Flatten(name="flatten")(x), 512, name="dense", **module)
    x = keras.layers.Dropout(0.5, name="dropout")(x)
    return keras.Model(inputs, classify(x, n_classes, l2=l2), name="minivggnet")
