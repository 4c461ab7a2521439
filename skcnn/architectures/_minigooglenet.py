"""MiniGoogLeNet: small inception modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skcnn.architectures._input_shape import image_input
from skcnn.architectures._modules import classify, conv_module, downsampling_module, mini_inception_module

# The inception modules of each block: filters of 1 x 1 and 3 x 3; and the filters of the downsampling between blocks.
BLOCKS = (
    ((32, 32), (32, 48)),
    ((112, 48), (96, 64), (80, 80), (48, 96)),
    ((176, 160), (176, 160)),
)
DOWNSAMPLING = (80, 96)


def minigooglenet(
    input_shape: Sequence[int],
    n_classes: int,
    *,
    activation: Any = "relu",
    batch_norm: str | None = "before",
    l2: float = 0.0,
) -> Any:
    """Return a small GoogLeNet: eight inception modules of two branches in three blocks, and global average pooling.

    Before the softmax there is a dropout of 0.5. Source: Zhang et al., "Understanding deep learning requires rethinking
    generalization", 2016, arXiv 1611.03530.

    Parameters
    ----------
    input_shape : (int, int, int)
        (height, width, channels), at least 7 x 7 pixels. It was made for 32 x 32.
    n_classes : int
    activation, batch_norm, l2
        As of `conv_module`; `l2` is of all kernels.

    Returns
    -------
    keras.Model
        1,656,250 parameters for (32, 32, 3) and 10 classes.
    """
    from skcnn._keras import keras

    module: dict[str, Any] = {"activation": activation, "batch_norm": batch_norm, "l2": l2}
    inputs = image_input("minigooglenet", input_shape, at_least=7)
    x = conv_module(inputs, 96, name="conv", **module)
    for block, modules in enumerate(BLOCKS, 1):
        if block > 1:
            x = downsampling_module(x, DOWNSAMPLING[block - 2], name=f"downsampling{block - 1}", **module)
        for number, filters in enumerate(modules, 1):
            x = mini_inception_module(x, *filters, name=f"block{block}_inception{number}", **module)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(0.5, name="dropout")(x)
    return keras.Model(inputs, classify(x, n_classes, l2=l2), name="minigooglenet")
