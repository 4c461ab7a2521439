"""The modules that the networks are made of, for networks of one's own too.

Each takes a `keras.KerasTensor` and returns another, as calling a layer does. Layers are named after the module where
that has a name, so that a network can be cut there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

ORDERS = ("before", "after", None)


def conv_module(
    x: Any,
    filters: int,
    kernel_size: int | tuple[int, int] = 3,
    strides: int = 1,
    *,
    padding: str = "same",
    activation: Any = "relu",
    batch_norm: str | None = "before",
    l2: float = 0.0,
    name: str | None = None,
) -> Any:
    """Add a convolution with its activation and batch normalisation.

    Parameters
    ----------
    x : keras.KerasTensor of shape (None, height, width, channels)
    filters : int
    kernel_size : int or (int, int), default=3
    strides : int, default=1
    padding : {"same", "valid"}, default="same"
    activation : str or callable, default="relu"
        As of `keras.layers.Activation`, such as "elu".
    batch_norm : {"before", "after", None}, default="before"
        Whether batch normalisation stands before the activation or after it; None leaves it out.
    l2 : float, default=0.0
        What the sum of the squared kernel counts in the loss.
    name : str, default=None
        Of the convolution, and with an ending of the other layers.

    Returns
    -------
    keras.KerasTensor of shape (None, new height, new width, filters)
    """
    from skcnn._keras import keras

    conv = keras.layers.Conv2D(
        filters, kernel_size, strides, padding=padding, kernel_regularizer=l2_regularizer(l2), name=name
    )
    return activate(conv(x), activation, batch_norm, name)


def dense_module(
    x: Any,
    units: int,
    *,
    activation: Any = "relu",
    batch_norm: str | None = "before",
    l2: float = 0.0,
    name: str | None = None,
) -> Any:
    """Add a dense layer with its activation and batch normalisation.

    Parameters
    ----------
    x : keras.KerasTensor of shape (None, n_features)
    units : int
    activation, batch_norm, l2, name
        As of `conv_module`.

    Returns
    -------
    keras.KerasTensor of shape (None, units)
    """
    from skcnn._keras import keras

    dense = keras.layers.Dense(units, kernel_regularizer=l2_regularizer(l2), name=name)
    return activate(dense(x), activation, batch_norm, name)


def mini_inception_module(
    x: Any, filters_1x1: int, filters_3x3: int, *, name: str | None = None, **settings: Any
) -> Any:
    """Add two convolutions side by side, 1 x 1 and 3 x 3, and concatenate them.

    Source: the small form of Szegedy et al., "Going Deeper with Convolutions", 2014, arXiv 1409.4842, that Zhang et
    al., "Understanding deep learning requires rethinking generalization", 2016, arXiv 1611.03530, call Inception.

    Parameters
    ----------
    x : keras.KerasTensor of shape (None, height, width, channels)
    filters_1x1, filters_3x3 : int
    name : str, default=None
        Of the concatenation, and with an ending of the other layers.
    **settings
        As of `conv_module`.

    Returns
    -------
    keras.KerasTensor of shape (None, height, width, filters_1x1 + filters_3x3)
    """
    from skcnn._keras import keras

    one = conv_module(x, filters_1x1, 1, name=name_of(name, "1x1"), **settings)
    three = conv_module(x, filters_3x3, 3, name=name_of(name, "3x3"), **settings)
    return keras.layers.Concatenate(name=name)([one, three])


def downsampling_module(x: Any, filters: int, *, name: str | None = None, **settings: Any) -> Any:
    """Halve height and width, by a 3 x 3 convolution of stride 2 beside max pooling, without padding.

    Parameters
    ----------
    x : keras.KerasTensor of shape (None, height, width, channels)
    filters : int
        Of the convolution.
    name, **settings
        As of `mini_inception_module`.

    Returns
    -------
    keras.KerasTensor of shape (None, (height - 1) // 2, (width - 1) // 2, filters + channels)
    """
    from skcnn._keras import keras

    conv = conv_module(x, filters, 3, 2, padding="valid", name=name_of(name, "3x3"), **settings)
    pool = keras.layers.MaxPooling2D(3, 2, name=name_of(name, "pool"))(x)
    return keras.layers.Concatenate(name=name)([conv, pool])


def inception_module(
    x: Any,
    filters_1x1: int,
    reduce_3x3: int,
    filters_3x3: int,
    reduce_5x5: int,
    filters_5x5: int,
    projection: int,
    *,
    name: str | None = None,
    **settings: Any,
) -> Any:
    """Add convolutions of three sizes and a max pooling side by side, and concatenate them.

    Source: Szegedy et al., "Going Deeper with Convolutions", 2014, arXiv 1409.4842.

    Parameters
    ----------
    x : keras.KerasTensor of shape (None, height, width, channels)
    filters_1x1 : int
    reduce_3x3, filters_3x3 : int
        Of the 1 x 1 convolution before the 3 x 3 one, and of that itself.
    reduce_5x5, filters_5x5 : int
    projection : int
        Of the 1 x 1 convolution after the pooling.
    name, **settings
        As of `mini_inception_module`.

    Returns
    -------
    keras.KerasTensor of shape (None, height, width, filters_1x1 + filters_3x3 + filters_5x5 + projection)
    """
    from skcnn._keras import keras

    one = conv_module(x, filters_1x1, 1, name=name_of(name, "1x1"), **settings)
    three = conv_module(x, reduce_3x3, 1, name=name_of(name, "3x3_reduce"), **settings)
    three = conv_module(three, filters_3x3, 3, name=name_of(name, "3x3"), **settings)
    five = conv_module(x, reduce_5x5, 1, name=name_of(name, "5x5_reduce"), **settings)
    five = conv_module(five, filters_5x5, 5, name=name_of(name, "5x5"), **settings)
    pool = keras.layers.MaxPooling2D(3, 1, padding="same", name=name_of(name, "pool"))(x)
    pool = conv_module(pool, projection, 1, name=name_of(name, "projection"), **settings)
    return keras.layers.Concatenate(name=name)([one, three, five, pool])


def residual_module(
    x: Any,
    filters: int,
    strides: int = 1,
    *,
    reduces: bool = False,
    activation: Any = "relu",
    l2: float = 1e-4,
    epsilon: float = 2e-5,
    momentum: float = 0.9,
    name: str | None = None,
) -> Any:
    """Add a bottleneck of three convolutions beside a shortcut, with batch normalisation and activation before each.

    The convolutions have no bias, and there is no activation after the sum. Source: He et al., "Identity Mappings in
    Deep Residual Networks", 2016, arXiv 1603.05027.

    Parameters
    ----------
    x : keras.KerasTensor of shape (None, height, width, channels)
    filters : int
        Of the last convolution; the others have a quarter of them.
    strides : int, default=1
    reduces : bool, default=False
        Whether the shortcut is a 1 x 1 convolution of the first activation, with these strides. False takes `x` itself,
        which must have the shape of the sum.
    activation, l2
        As of `conv_module`.
    epsilon, momentum : float, default=2e-5 and 0.9
        Of the batch normalisation.
    name : str, default=None
        Of the sum, and with an ending of the other layers.

    Returns
    -------
    keras.KerasTensor of shape (None, height / strides, width / strides, filters)
    """
    from skcnn._keras import keras

    conv, norm = plain_convolution(l2), {"epsilon": epsilon, "momentum": momentum}
    first = y = normalise(x, activation, name=name_of(name, "1"), **norm)
    y = conv(filters // 4, 1, name=name_of(name, "1_conv"))(y)
    y = normalise(y, activation, name=name_of(name, "2"), **norm)
    y = conv(filters // 4, 3, strides, name=name_of(name, "2_conv"))(y)
    y = normalise(y, activation, name=name_of(name, "3"), **norm)
    y = conv(filters, 1, name=name_of(name, "3_conv"))(y)
    shortcut = conv(filters, 1, strides, name=name_of(name, "shortcut"))(first) if reduces else x
    return keras.layers.Add(name=name)([y, shortcut])


def plain_convolution(l2: float) -> Callable[..., Any]:
    """Return a function that makes convolutions without bias, padded to the same size."""
    from skcnn._keras import keras

    def conv(filters: int, kernel_size: int, strides: int = 1, *, name: str | None = None) -> Any:
        regularizer = l2_regularizer(l2)
        return keras.layers.Conv2D(
            filters, kernel_size, strides, padding="same", use_bias=False, kernel_regularizer=regularizer, name=name
        )

    return conv


def normalise(x: Any, activation: Any, *, name: str | None = None, **norm: float) -> Any:
    """Add batch normalisation, then an activation."""
    from skcnn._keras import keras

    x = keras.layers.BatchNormalization(name=name_of(name, "bn"), **norm)(x)
    return keras.layers.Activation(activation, name=name_of(name, "activation"))(x)


def activate(x: Any, activation: Any, batch_norm: str | None, name: str | None) -> Any:
    """Add an activation, with batch normalisation before or after it, or without."""
    from skcnn._keras import keras

    if batch_norm not in ORDERS:
        raise ValueError(f"The 'batch_norm' parameter must be 'before', 'after' or None. Got {batch_norm!r} instead.")
    layers = [keras.layers.Activation(activation, name=name_of(name, "activation"))]
    if batch_norm is not None:
        norm = keras.layers.BatchNormalization(name=name_of(name, "bn"))
        layers.insert(0 if batch_norm == "before" else 1, norm)
    for layer in layers:
        x = layer(x)
    return x


def classify(x: Any, n_classes: int, *, l2: float = 0.0) -> Any:
    """Add a dense layer with a softmax: the probability of each class."""
    from skcnn._keras import keras

    dense = keras.layers.Dense(n_classes, kernel_regularizer=l2_regularizer(l2), name="logits")
    return keras.layers.Softmax(name="probabilities")(dense(x))


def l2_regularizer(l2: float) -> Any:
    from skcnn._keras import keras

    return keras.regularizers.L2(l2) if l2 else None


def name_of(module: str | None, part: str) -> str | None:
    return None if module is None else f"{module}_{part}"
