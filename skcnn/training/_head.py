"""The head: what is trained on the features of a network, from random weights or from a linear probe."""

from __future__ import annotations

from typing import Any

import numpy as np

from skcnn.backbones._backbone import quiet_build


def build_head(
    n_features: int,
    n_classes: int,
    *,
    hidden_units: int | None = None,
    dropout: float = 0.0,
    batch_norm: bool = False,
    l2: float = 0.0,
    seed: tuple[int, ...] = (0,),
) -> Any:
    """Return a Keras model from features to one logit per class; softmax is left to the loss and to the caller.

    Two classes have two logits like any other number.

    Parameters
    ----------
    n_features : int
    n_classes : int
        At least 2.
    hidden_units : int, default=None
        Width of a dense layer with ReLU before the logits; None for none.
    dropout : float, default=0.0
        Fraction in [0, 1) of the values before the logits that is left out in training.
    batch_norm : bool, default=False
        Whether batch normalisation stands between the dense layer and its ReLU.
    l2 : float, default=0.0
        Added to the loss is `l2` times the sum of the squared kernels.
    seed : tuple of int, default=(0,)
        Of the initial weights and of dropout.

    Returns
    -------
    keras.Model
        From (n_images, n_features) to (n_images, n_classes), float32. Its last layer is named "logits".
    """
    from skcnn._keras import keras

    seeds = iter(np.random.SeedSequence(seed).generate_state(3).tolist())

    def dense(units: int, name: str, *, use_bias: bool = True) -> Any:
        return keras.layers.Dense(
            units,
            use_bias=use_bias,
            kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
            kernel_regularizer=keras.regularizers.L2(l2) if l2 else None,
            name=name,
        )

    with quiet_build():
        features = x = keras.Input((n_features,), dtype="float32")
        if hidden_units is not None:
            x = dense(hidden_units, "hidden", use_bias=not batch_norm)(x)
            if batch_norm:
                x = keras.layers.BatchNormalization(name="hidden_norm")(x)
            x = keras.layers.ReLU(name="hidden_relu")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, seed=next(seeds), name="dropout")(x)
        return keras.Model(features, dense(n_classes, "logits")(x), name="head")


def copy_head(source: Any, target: Any) -> None:
    """Copy the weights of a head to another of the same settings, and how far its dropout has come."""
    for old, new in zip(target.variables, source.variables, strict=True):
        old.assign(new)
