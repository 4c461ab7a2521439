"""A small network for short trainings: fixed filters whose responses are whitened, then blocks of two convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skcnn.architectures._input_shape import image_input
from skcnn.architectures._modules import l2_regularizer, normalise, plain_convolution

# Side in pixels of the first filters.
PATCH = 2
# Of the logits. The largest responses would make them large from the start.
SCALE = 1 / 9


def whitened_vgg(
    input_shape: Sequence[int],
    n_classes: int,
    *,
    filters: Sequence[int] = (32, 128, 128),
    activation: Any = "silu",
    l2: float = 0.0,
) -> Any:
    """Return a small network for short trainings: fixed filters of 2 x 2 pixels, then blocks of two convolutions.

    The fixed filters are a cosine transform of pixels and colours, each with both signs. Where neighbours resemble each
    other, as in photographs, their responses correlate much less than the pixels, and batch normalisation gives each
    the same variance: the image is whitened. Each block halves height and width after its first convolution. Of each
    filter of the last block the largest response is taken.

    Source: the network of Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, arXiv 2404.00498, whose
    first filters are computed from the images.

    Parameters
    ----------
    input_shape : (int, int, int)
        (height, width, channels). Each block halves height and width.
    n_classes : int
    filters : sequence of int, default=(32, 128, 128)
        Of both convolutions of each block.
    activation, l2
        As of `conv_module`; `l2` is of all kernels that are trained.

    Returns
    -------
    keras.Model
        499,280 parameters for (32, 32, 3) and 10 classes.
    """
    from skcnn._keras import keras

    inputs = image_input("whitened_vgg", input_shape, at_least=2 ** len(filters) + 1)
    patches = cosine_filters(PATCH, inputs.shape[3])
    kernel = keras.initializers.Constant(patches)
    conv = keras.layers.Conv2D(
        patches.shape[3], PATCH, use_bias=False, kernel_initializer=kernel, trainable=False, name="patches"
    )
    whiten = keras.layers.BatchNormalization(center=False, scale=False, epsilon=3e-5, name="whiten")
    x = keras.layers.Activation(activation, name="patches_activation")(whiten(conv(inputs)))
    convolution = plain_convolution(l2)
    for number, width in enumerate(filters, 1):
        block = f"block{number}"
        x = convolution(width, 3, name=f"{block}_conv1")(x)
        x = keras.layers.MaxPooling2D(2, name=f"{block}_pool")(x)
        x = normalise(x, activation, name=f"{block}_1")
        x = convolution(width, 3, name=f"{block}_conv2")(x)
        x = normalise(x, activation, name=f"{block}_2")
    x = keras.layers.GlobalMaxPooling2D(name="pool")(x)
    x = keras.layers.Dense(n_classes, use_bias=False, kernel_regularizer=l2_regularizer(l2), name="dense")(x)
    x = keras.layers.Rescaling(SCALE, name="logits")(x)
    return keras.Model(inputs, keras.layers.Softmax(name="probabilities")(x), name="whitened_vgg")


def cosine_filters(side: int, channels: int) -> np.ndarray:
    """Return the filters of a cosine transform over side x side pixels and their channels, and their negatives.

    Returns
    -------
    ndarray of shape (side, side, channels, 2 * side * side * channels), float32
        The filters are orthogonal, of length 1.
    """
    space, colour = cosines(side), cosines(channels)
    filters = np.einsum("ai,bj,cd->ijdabc", space, space, colour).reshape(side, side, channels, -1)
    return np.concatenate([filters, -filters], axis=3).astype(np.float32)


def cosines(n: int) -> np.ndarray:
    """Return the orthonormal rows of the cosine transform of n values: (n, n)."""
    waves = np.cos(np.pi / n * np.outer(np.arange(n), np.arange(n) + 0.5))
    return waves / np.linalg.norm(waves, axis=1, keepdims=True)
