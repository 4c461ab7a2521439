"""`FineTunedNetwork`: a pretrained network with a head on it, and the phases it is fine-tuned in."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from skcnn.backbones._tail import TunableNetwork, differences
from skcnn.features import RawPixels, Trunk
from skcnn.features._trunk_extractor import TrunkExtractor
from skcnn.training._feed import Feed
from skcnn.training._head import DenseHead, LinearHead, build_head
from skcnn.training._lending import HeadRecipe
from skcnn.training._optimizers import check_sets_rate
from skcnn.training._phase import GradientPhase, ProbePhase
from skcnn.training._plan import Plan
from skcnn.training._probe import LinearProbe
from skcnn.training._schedules import AUTO, Schedule
from skcnn.training._state import TrainingState, Weights

# What the random numbers of one fit are for; each has a seed of its own.
HEAD_WEIGHTS, HEAD_ORDER, TAIL_ORDER = range(3)


@dataclasses.dataclass(frozen=True)
class FineTunedNetwork:
    """A pretrained network with a head on it. The head is trained, and with it the upper layers of the network.

    Parameters
    ----------
    network : TunableNetwork
    head : LinearHead or DenseHead
    live_norm : bool, default=False
        Whether batch normalisation of the layers that are trained learns its statistics.
    """

    network: TunableNetwork
    head: LinearHead | DenseHead
    live_norm: bool = False

    @functools.cached_property
    def trunk(self) -> Trunk:
        """The frozen layers while the tail is trained; pixels, where there are none."""
        if self.network.trunk is not None:
            return self.network.trunk
        features = self.network.features
        return RawPixels(features.input_shape, normalises=features.normalises)

    def describe(self, n_classes: int) -> dict[str, Any]:
        """Return everything that must be the same for a training to go on, as JSON types."""
        return {"network": self.network.description or self.network.depth, "head": self.head.layers()}

    def is_cut_elsewhere(self, before: dict[str, Any]) -> bool:
        """Whether a network that was described before as `describe` does is this one, unfrozen to another depth."""
        now, then = self.describe(0)["network"], before["network"]
        return now != then and self.is_of(before)

    def is_of(self, before: dict[str, Any]) -> bool:
        """Whether a network that was described before is this one, to whichever depth it is unfrozen."""
        return without_depth(self.describe(0)["network"]) == without_depth(before["network"])

    def adopt(self, weights: Weights, before: FineTunedNetwork) -> Weights:
        """Return the weights to go on with where this network was trained before, unfrozen to another depth."""
        if not weights.tail:
            return weights
        return weights._replace(tail=self.network.carried_over(weights.tail, before.network))

    def weights_of(self, state: TrainingState, n_classes: int) -> Weights:
        """Return the weights that a training had in some state."""
        has_tail = state.phase != "head" and self.network.has_tail
        trunk = self.trunk if has_tail else self.network.features
        recipe = self._recipe(n_classes, has_tail=has_tail)
        return recipe.weights_of(state, TrunkExtractor(trunk, "keras").output_shape())

    def check_same(self, before: dict[str, Any] | None) -> None:
        """Refuse to go on where the network is not the one that was described before."""
        self.network.check_same(before)

    @property
    def begins_at_random(self) -> bool:
        """Whether two fits begin with different weights."""
        return isinstance(self.head, DenseHead)

    def trains_layers(self, plan: Plan) -> bool:
        """Whether layers of the network are trained, and not the head alone."""
        return plan.epochs > 0 and self.network.has_tail

    def differences(self, other: FineTunedNetwork) -> list[str]:
        """Return the settings that keep the weights of two such networks from being averaged."""
        norm = [] if self.live_norm == other.live_norm else ["batch_norm"]
        one, two = self.network.description, other.network.description
        if one is None or two is None:
            same = self.network.state() == other.network.state()
            return [*norm, *([] if same else ["backbone, or the layers that are trained"])]
        return [*norm, *differences(one, two)]

    def phases(self, plan: Plan, n_classes: int, *, augments: bool) -> list[ProbePhase | GradientPhase]:
        """Return the phases it is trained in: the head alone, then the head with the layers that are unfrozen."""
        tunes = plan.epochs > 0 and (self.network.has_tail or augments)
        phases: list[ProbePhase | GradientPhase] = []
        features, layers = self.network.features, self.head.layers()
        if isinstance(self.head, LinearHead):
            measures = tunes and plan.shrinkage == AUTO
            phases.append(ProbePhase("head", features, float(self.head.C), measures_features=measures))
        elif self.head.epochs:
            head_plan = self.head.plan(plan.label_smoothing)
            if not tunes:
                head_plan = as_only_plan(head_plan, plan)
            model = HeadRecipe(None, layers, n_classes)
            seeds, on_views = (HEAD_WEIGHTS, HEAD_ORDER), augments and self.head.augmented
            phases.append(GradientPhase("head", features, model, head_plan, *seeds, augments=on_views))
        if tunes:
            model = self._recipe(n_classes, has_tail=self.network.has_tail)
            seeds = HEAD_WEIGHTS, TAIL_ORDER
            plan = plan.resolve(goes_on=bool(phases))
            phases.append(GradientPhase("fine-tune", self.trunk, model, plan, *seeds, augments=augments))
        if not phases:
            raise ValueError("nothing is left to train; set 'epochs' of the head, or of the classifier, above 0")
        return phases

    def logits(self, weights: Weights, feed: Feed, n_classes: int) -> np.ndarray:
        """Return the logits of images: (n_images, n_classes), float64; NaN for those that cannot be read."""
        features = feed.extract(self.trunk if weights.tail else self.network.features)
        if not weights.tail and self.head.layers()["units"] is None:
            logits = LinearProbe(*weights.head).logits(features, feed.batch_size)
        else:
            with self._recipe(n_classes, has_tail=bool(weights.tail)).share(features.shape[1:], weights) as model:
                logits = model.logits(features, feed.batch_size)
        logits[[*features.failures]] = np.nan
        return logits

    def settle(self, weights: Weights, feed: Feed, n_classes: int) -> Weights:
        """Return weights with the statistics of batch normalisation of these images, where it learns them."""
        if not (self.live_norm and weights.tail):
            return weights
        activations, step = feed.extract(self.trunk), feed.batch_size
        with self._recipe(n_classes, has_tail=True).lend(activations.shape[1:]) as model:
            model.set_trained(weights)
            model.set_norm_statistics(activations[start : start + step] for start in range(0, len(activations), step))
            return model.trained_weights()._replace(dropout=weights.dropout)

    def _recipe(self, n_classes: int, *, has_tail: bool) -> HeadRecipe:
        network = self.network if has_tail else None
        return HeadRecipe(network, self.head.layers(), n_classes, live_norm=has_tail and self.live_norm)

    def build(self, weights: Weights, n_classes: int) -> list[Any]:
        """Return new Keras models that follow each other, from pixels to logits."""
        if weights.tail:
            tail = self.network.build_tail()
            tail.set_weights(weights.tail)
            below = [tail] if self.network.trunk is None else [self.network.trunk.build(), tail]
        else:
            below = [self.network.features.build()]
        head = build_head(below[-1].output_shape[1], n_classes, **self.head.layers())
        head.set_weights(weights.head)
        return [*below, head]


def as_only_plan(head_plan: Plan, plan: Plan) -> Plan:
    """Return the plan of a head that is all that is trained, with the schedule and the stopping of the other plan."""
    plan = plan.resolve(goes_on=False)
    if isinstance(plan.schedule, Schedule):
        plan.schedule.check(head_plan.epochs)
    check_sets_rate(head_plan.optimizer, plan.schedule)
    return dataclasses.replace(plan, epochs=head_plan.epochs, optimizer=head_plan.optimizer)


def without_depth(description: dict[str, Any]) -> dict[str, Any]:
    """Return a description of a tunable network without the depth that it was unfrozen to."""
    return {name: value for name, value in description.items() if name not in ("unfreeze", "trained_before")}
