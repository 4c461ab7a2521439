"""AlexNet, with batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skcnn.architectures._input_shape import image_input
from skcnn.architectures._modules import classify, conv_module, dense_module

# The convolutions of each block: filters, and the side of their kernels.
BLOCKS = (((96, 11),), ((256, 5),), ((384, 3), (384, 3), (256, 3)))


def alexnet(
    input_shape: Sequence[int],
    n_classes: int,
    *,
    activation: Any = "relu",
    batch_norm: str | None = "after",
    l2: float = 2e-4,
) -> Any:
    """Return an AlexNet: five convolutions in three blocks, and two dense layers of 4,096 units.

    Each block ends with pooling and a dropout of 0.25; each dense layer is followed by one of 0.5. Source: Krizhevsky
    et al., "ImageNet Classification with Deep Convolutional Neural Networks", 2012, with batch normalisation in place
    of that of local responses.

    Parameters
    ----------
    input_shape : (int, int, int)
        (height, width, channels), at least 57 x 57 pixels. It was made for 227 x 227.
    n_classes : int
    activation, batch_norm, l2
        As of `conv_module`; `l2` is of all kernels.

    Returns
    -------
    keras.Model
        58,327,810 parameters for (227, 227, 3) and 2 classes.
    """
    from skcnn._keras import keras

    module: dict[str, Any] = {"activation": activation, "batch_norm": batch_norm, "l2": l2}
    inputs = x = image_input("alexnet", input_shape, at_least=57)
    for block, convolutions in enumerate(BLOCKS, 1):
        for number, (filters, side) in enumerate(convolutions, 1):
            x = conv_module(x, filters, side, 4 if side == 11 else 1, name=f"block{block}_conv{number}", **module)
        x = keras.layers.MaxPooling2D(3, 2, name=f"block{block}_pool")(x)
        x = keras.layers.Dropout(0.25, name=f"block{block}_dropout")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for number in (1, 2):
        x = dense_module(x, 4096, name=f"dense{number}", **module)
        x = keras.layers.Dropout(0.5, name=f"dense{number}_dropout")(x)
    return keras.Model(inputs, classify(x, n_classes, l2=l2), name="alexnet")
