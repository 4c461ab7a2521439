"""ResNet with pre-activation bottlenecks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skcnn.architectures._input_shape import image_input
from skcnn.architectures._modules import classify, normalise, plain_convolution, residual_module

STEMS = ("cifar", "tiny_imagenet")
# Of all batch normalisation.
NORM = {"epsilon": 2e-5, "momentum": 0.9}


def resnet(
    input_shape: Sequence[int],
    n_classes: int,
    *,
    stages: Sequence[int] = (9, 9, 9),
    filters: Sequence[int] = (64, 64, 128, 256),
    stem: str = "cifar",
    activation: Any = "relu",
    l2: float = 5e-4,
    module_l2: float = 1e-4,
) -> Any:
    """Return a residual network of pre-activation bottlenecks, with global average pooling.

    Source: He et al., "Identity Mappings in Deep Residual Networks", 2016, arXiv 1603.05027. The pixels are normalised
    by batch normalisation before the first convolution.

    Parameters
    ----------
    input_shape : (int, int, int)
        (height, width, channels). It was made for 32 x 32, and with the other stem for 64 x 64.
    n_classes : int
    stages : sequence of int, default=(9, 9, 9)
        How many modules each stage has. From the second stage on, the first of them halves height and width.
    filters : sequence of int, default=(64, 64, 128, 256)
        Of the stem, then of the modules of each stage, which are multiples of 4.
    stem : {"cifar", "tiny_imagenet"}, default="cifar"
        A 3 x 3 convolution; or a 5 x 5 convolution with max pooling, which halves height and width.
    activation : str or callable, default="relu"
        As of `conv_module`.
    l2 : float, default=5e-4
        What the sum of the squared kernels of the stem and of the last layer counts in the loss.
    module_l2 : float, default=1e-4
        The same of the kernels of all modules. The published networks have these two values.

    Returns
    -------
    keras.Model
        886,102 parameters for (32, 32, 3) and 10 classes.

    Raises
    ------
    ValueError
        For another stem, or numbers of filters that do not fit the stages.
    """
    from skcnn._keras import keras

    if stem not in STEMS:
        raise ValueError(f"The 'stem' parameter must be 'cifar' or 'tiny_imagenet'. Got {stem!r} instead.")
    if len(filters) != len(stages) + 1 or any(number % 4 for number in filters[1:]):
        msg = f"The 'filters' parameter must be one number for the stem and a multiple of 4 for each of {len(stages)}"
        raise ValueError(f"{msg} stages. Got {tuple(filters)!r} instead.")
    inputs = image_input("resnet", input_shape, at_least=2 ** (len(stages) - (stem == "cifar")))
    x = keras.layers.BatchNormalization(name="input_bn", **NORM)(inputs)
    if stem == "cifar":
        x = plain_convolution(l2)(filters[0], 3, name="stem_conv")(x)
    else:
        x = plain_convolution(l2)(filters[0], 5, name="stem_conv")(x)
        x = keras.layers.ZeroPadding2D(1, name="stem_padding")(normalise(x, activation, name="stem", **NORM))
        x = keras.layers.MaxPooling2D(3, 2, name="stem_pool")(x)
    settings: dict[str, Any] = {"activation": activation, "l2": module_l2, **NORM}
    for stage, (count, width) in enumerate(zip(stages, filters[1:], strict=True), 1):
        for number in range(1, count + 1):
            strides = 2 if number == 1 and stage > 1 else 1
            name = f"stage{stage}_module{number}"
            x = residual_module(x, width, strides, reduces=number == 1, name=name, **settings)
    x = normalise(x, activation, name="last", **NORM)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, classify(x, n_classes, l2=l2), name="resnet")
