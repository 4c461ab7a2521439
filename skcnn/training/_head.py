"""The head: the layers from features to logits, trained from random weights or from a linear probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from skcnn._parameters import ParameterGroup
from skcnn._validation import Check, check_flag, none_or, real, whole
from skcnn.backbones._backbone import quiet_build
from skcnn.training._optimizers import make_optimizer
from skcnn.training._plan import Plan

# Of a head that begins at random, whichever optimizer is named; those of the optimizers are for trained weights.
HEAD_LEARNING_RATE = 1e-3


@dataclass
class LinearHead(ParameterGroup):
    """One logit for each class on the features. It begins as a linear probe: logistic regression (`fit_probe`).

    Parameters
    ----------
    C : float, default=1.0
        Inverse of the strength of the L2 penalty of the logistic regression; see `skcnn.training.fit_probe`.
    dropout : float, default=0.2
        Fraction in [0, 1) of the features that is left out at each step of the fine-tuning.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skcnn import FineTunedCNNClassifier
    >>> from skcnn.training import LinearHead
    >>> search = GridSearchCV(FineTunedCNNClassifier(head=LinearHead()), {"head__C": [0.1, 1.0, 10.0]})
    """

    C: float = 1.0
    dropout: float = 0.2

    _constraints: ClassVar[dict[str, Check]] = {"C": real(open_left=True), "dropout": real(below=1)}

    def layers(self) -> dict[str, Any]:
        """Return the arguments of `build_head`."""
        return {"units": None, "dropout": float(self.dropout), "batch_norm": False, "l2": 0.0}


@dataclass
class DenseHead(ParameterGroup):
    """A dense layer with ReLU on the features, and one logit for each class. It is first trained by gradient alone.

    Parameters
    ----------
    units : int or None, default=256
        Width of the dense layer. None leaves it out: a softmax on the features that begins at random.
    dropout : float, default=0.2
        Fraction in [0, 1) of the values before the logits that is left out at each training step.
    batch_norm : bool, default=False
        Whether the dense layer is normalised by batch before its ReLU. `predict` normalises by the statistics of all
        images that were trained on, which are taken when a phase ends.
    l2 : float, default=0.0
        What the sum of the squared kernels of the head counts in the loss. It covers the head alone; the weights of the
        layers that are unfrozen are kept near 0 by an optimizer with weight decay ("adamw").
    epochs : int, default=25
        In which the head is trained alone, on the features of the network as it was.
    optimizer : str or keras.optimizers.Optimizer, default="rmsprop"
        Of these epochs, as `optimizer` of the classifier.
    learning_rate : float, default=None
        Of these epochs. None takes that of a configured optimizer, and 1e-3 where it is given by name.
    augmented : bool, default=False
        Whether these epochs, too, are trained on augmented views, where the classifier has an `augmentation`. Each view
        goes through the whole network: with `augmented_views` once, without in each epoch.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skcnn import FineTunedCNNClassifier
    >>> from skcnn.training import DenseHead
    >>> search = GridSearchCV(FineTunedCNNClassifier(head=DenseHead(units=128)), {"head__dropout": [0.2, 0.5]})
    """

    units: int | None = 256
    dropout: float = 0.2
    batch_norm: bool = False
    l2: float = 0.0
    epochs: int = 25
    optimizer: Any = "rmsprop"
    learning_rate: float | None = None
    augmented: bool = False

    _constraints: ClassVar[dict[str, Check]] = {
        "units": none_or(whole()),
        "dropout": real(below=1),
        "batch_norm": check_flag,
        "l2": real(),
        "epochs": whole(least=0),
        "learning_rate": none_or(real(open_left=True)),
        "augmented": check_flag,
    }

    def layers(self) -> dict[str, Any]:
        """Return the arguments of `build_head`.

        Raises
        ------
        ValueError
            For batch normalisation of a layer that is left out.
        """
        if self.units is None and self.batch_norm:
            raise ValueError("batch_norm=True normalises the dense layer of the head; give it some 'units'")
        return {
            "units": None if self.units is None else int(self.units),
            "dropout": float(self.dropout),
            "batch_norm": bool(self.batch_norm),
            "l2": float(self.l2),
        }

    def plan(self, label_smoothing: float) -> Plan:
        """Return how it is trained alone."""
        rate = self.learning_rate
        if rate is None and isinstance(self.optimizer, str):
            rate = HEAD_LEARNING_RATE
        return Plan(
            int(self.epochs), make_optimizer(self.optimizer, rate, parameter="head__optimizer"), label_smoothing
        )


def build_head(
    n_features: int,
    n_classes: int,
    *,
    units: int | None = None,
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
    units : int, default=None
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
        if units is not None:
            x = dense(units, "hidden", use_bias=not batch_norm)(x)
            if batch_norm:
                x = keras.layers.BatchNormalization(name="hidden_norm")(x)
            x = keras.layers.ReLU(name="hidden_relu")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, seed=next(seeds), name="dropout")(x)
        return keras.Model(features, dense(n_classes, "logits")(x), name="head")
