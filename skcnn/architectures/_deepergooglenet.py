"""DeeperGoogLeNet: inception modules of four branches, for images of 64 x 64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skcnn.architectures._input_shape import image_input
from skcnn.architectures._modules import classify, conv_module, inception_module

# The filters of `inception_module`: 1 x 1, reduce 3 x 3, 3 x 3, reduce 5 x 5, 5 x 5, projection.
MODULES = {
    3: {"3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64)},
    4: {
        "4a": (192, 96, 208, 16, 48, 64),
        "4b": (160, 112, 224, 24, 64, 64),
        "4c": (128, 128, 256, 24, 64, 64),
        "4d": (112, 144, 288, 32, 64, 64),
        "4e": (256, 160, 320, 32, 128, 128),
    },
}


def deepergooglenet(
    input_shape: Sequence[int],
    n_classes: int,
    *,
    stages: Sequence[int] = (3, 4),
    activation: Any = "relu",
    batch_norm: str | None = "before",
    l2: float = 5e-4,
) -> Any:
    """Return a GoogLeNet for images of 64 x 64: seven inception modules, and global average pooling.

    Before the softmax there is a dropout of 0.4. Source: Szegedy et al., "Going Deeper with Convolutions", 2014, arXiv
    1409.4842, with a stem that keeps the size, and without its last stage.

    Parameters
    ----------
    input_shape : (int, int, int)
        (height, width, channels). It was made for 64 x 64.
    n_classes : int
    stages : sequence of int, default=(3, 4)
        Which inception modules it has: 3a and 3b, or 4a to 4e as well.
    activation, batch_norm, l2
        As of `conv_module`; `l2` is of all kernels.

    Returns
    -------
    keras.Model
        3,667,976 parameters for (64, 64, 3) and 200 classes.

    Raises
    ------
    ValueError
        For other stages.
    """
    from skcnn._keras import keras

    stages = tuple(stages)
    if stages not in ((3,), (3, 4)):
        raise ValueError(f"The 'stages' parameter must be (3,) or (3, 4). Got {stages!r} instead.")
    module: dict[str, Any] = {"activation": activation, "batch_norm": batch_norm, "l2": l2}

    def pool(x: Any, number: int) -> Any:
        return keras.layers.MaxPooling2D(3, 2, padding="same", name=f"pool{number}")(x)

    inputs = image_input("deepergooglenet", input_shape, at_least=1)
    x = pool(conv_module(inputs, 64, 5, name="conv1", **module), 1)
    x = conv_module(x, 64, 1, name="conv2_reduce", **module)
    x = pool(conv_module(x, 192, 3, name="conv2", **module), 2)
    for stage in stages:
        for name, filters in MODULES[stage].items():
            x = inception_module(x, *filters, name=f"inception_{name}", **module)
        x = pool(x, stage)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(0.4, name="dropout")(x)
    return keras.Model(inputs, classify(x, n_classes, l2=l2), name="deepergooglenet")
