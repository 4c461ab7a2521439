"""`ScratchNetwork`: a network that is trained from random weights, in one phase on pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from skcnn.backbones._untrained import UntrainedNetwork
from skcnn.features import RawPixels
from skcnn.training._feed import Feed
from skcnn.training._lending import NetworkRecipe
from skcnn.training._phase import GradientPhase
from skcnn.training._plan import Plan
from skcnn.training._state import TrainingState, Weights

# What the random numbers of one fit are for; each has a seed of its own.
WEIGHTS, ORDER = range(2)


@dataclasses.dataclass(frozen=True)
class ScratchNetwork:
    """A network that is trained from random weights, all layers at once.

    Parameters
    ----------
    trunk : RawPixels
        The images as the network takes them.
    layers : callable
        Takes the number of classes, and returns the layers from pixels to logits. It is called several times.
    """

    trunk: RawPixels
    layers: Callable[[int], UntrainedNetwork]

    def describe(self, n_classes: int) -> dict[str, Any]:
        """Return everything that must be the same for a training to go on, as JSON types."""
        return {"network": {"layers": self.layers(n_classes).digest, "normalises": self.trunk.normalises}}

    def is_cut_elsewhere(self, before: dict[str, Any]) -> bool:
        """Whether another network is this one, unfrozen to another depth: never, all layers are trained."""
        return False

    def weights_of(self, state: TrainingState, n_classes: int) -> Weights:
        """Return the weights that a training had in some state."""
        return NetworkRecipe(self.layers(n_classes)).weights_of(state, self.trunk.input_shape)

    @property
    def begins_at_random(self) -> bool:
        """Whether two fits begin with different weights."""
        return True

    def trains_layers(self, plan: Plan) -> bool:
        """Whether layers of the network are trained."""
        return plan.epochs > 0

    def phases(self, plan: Plan, n_classes: int, *, augments: bool) -> list[GradientPhase]:
        """Return the one phase it is trained in."""
        if not plan.epochs:
            raise ValueError("nothing is left to train; set 'epochs' above 0")
        plan = plan.resolve(goes_on=False)
        model = NetworkRecipe(self.layers(n_classes))
        return [GradientPhase("train", self.trunk, model, plan, WEIGHTS, ORDER, augments=augments)]

    def logits(self, weights: Weights, feed: Feed, n_classes: int) -> np.ndarray:
        """Return the logits of images: (n_images, n_classes), float64; NaN for those that cannot be read."""
        pixels = feed.extract(self.trunk)
        with NetworkRecipe(self.layers(n_classes)).share(pixels.shape[1:], weights) as model:
            logits = model.logits(pixels, feed.batch_size)
        logits[[*pixels.failures]] = np.nan
        return logits

    def build(self, weights: Weights, n_classes: int) -> list[Any]:
        """Return new Keras models that follow each other, from pixels to logits: one."""
        model = self.layers(n_classes).build()
        model.set_weights(weights.head)
        return [model]
