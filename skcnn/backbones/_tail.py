"""A network whose upper layers are trained on the activations of its frozen layers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from skcnn._source_code import UnknownCodeError
from skcnn.backbones._backbone import quiet_build
from skcnn.backbones._cut import CUT_VERSION, TrainingCut, cut_for, is_count, split
from skcnn.backbones._network import FrozenNetwork, pool, types_of
from skcnn.exceptions import BackboneError


@dataclasses.dataclass(frozen=True)
class TunableNetwork:
    """A network up to the features that a head is put on, of which the upper layers can be trained.

    Parameters
    ----------
    features : FrozenNetwork
        As it was before training, up to pooled features.
    unfreeze : int, str or "all", default=0
        What is trained, as in `cut_for`.
    trained_before : TrainingCut or None, default=None
        Where the network was cut when it was trained before. What is in the tail there stays in the tail, trained or
        not: the trunk has the weights of before any training.
    """

    features: FrozenNetwork
    unfreeze: int | str = 0
    trained_before: TrainingCut | None = None

    @property
    def cut(self) -> TrainingCut:
        """Where the trunk ends and the tail begins, and what is trained; see `deepest`."""
        return self.deepest._replace(trained=self._asked.trained)

    @property
    def deepest(self) -> TrainingCut:
        """The cut of this or of an earlier training, whichever has more layers in its tail."""
        before = self.trained_before
        return self._asked if before is None or len(before.trained) <= len(self._asked.trained) else before

    @functools.cached_property
    def _asked(self) -> TrainingCut:
        """The cut for what is unfrozen; the graph is built for that, unless the answer is known.

        Raises
        ------
        ValueError
            For an `unfreeze` that the network does not have, as in `cut_for`.
        """
        if isinstance(self.unfreeze, str) or is_count(self.unfreeze):
            asked = self.unfreeze if isinstance(self.unfreeze, str) else int(self.unfreeze)
            answer = self.features.remember(self._find_cut, is_cut, unfreeze=asked, cut_rule=CUT_VERSION)
        else:
            answer = self._find_cut()
        layer, trained, at_input = answer
        return TrainingCut(layer, tuple(trained), at_input)

    def _find_cut(self) -> list[Any]:
        layer, trained, at_input = cut_for(self.features.truncated(load_weights=False), self.unfreeze)
        return [layer, list(trained), at_input]

    @property
    def has_tail(self) -> bool:
        """Whether anything but the head is trained, or was trained before."""
        return bool(self.deepest.trained)

    @property
    def trunk(self) -> FrozenNetwork | None:
        """The frozen layers: up to the cut, or to the pooled features where no tail is trained; None for none."""
        if not self.has_tail:
            return self.features
        if self.cut.at_input:
            return None
        return dataclasses.replace(self.features, layer=self.cut.layer, pooling=None)

    def state(self) -> Hashable:
        """Return a key of the tail with its present weights, among those in this process."""
        return self.features.state(), self.cut

    @functools.cached_property
    def description(self) -> dict[str, Any] | None:
        """Everything that decides the graph and the weights before training, as JSON types; None if unknown."""
        try:
            features = self.features.description
        except UnknownCodeError:
            return None
        # What a newer Keras builds is the same network.
        identity = {name: value for name, value in features["backbone"].items() if name != "keras"}
        return {"layer": self.features.layer, **features, "backbone": identity, **self.depth}

    @property
    def depth(self) -> dict[str, Any]:
        """What `description` has of the cut."""
        layer, trained, at_input = self.deepest
        before = {} if self.deepest == self._asked else {"trained_before": [layer, [*trained], at_input]}
        return {"unfreeze": len(self.cut.trained), **before}

    def check_same(self, before: dict[str, Any] | None) -> None:
        """Refuse to go on where the network is not the one of an earlier `description`.

        Raises
        ------
        BackboneError
            Naming what has changed.
        """
        now = self.description
        if before is None or now is None:
            return
        changed = differences(now, before)
        if not changed:
            return
        if "backbone" in changed:
            given, had = (" ".join(map(str, each["backbone"].values())) for each in (now, before))
            msg = f"the backbone {self.features.name!r} is not the one this was fitted on: it is {given}, and was {had}"
            raise BackboneError(f"{msg}. Give it the weights of then, or fit again")
        raise BackboneError(f"{', '.join(changed)} changed since this was fitted; set that back, or fit again")

    def build_tail(self) -> Any:
        """Return the tail with the weights of the backbone, its own copy of them.

        Returns
        -------
        keras.Model
            From rows of the trunk, or raw pixels where there is none, to pooled features of shape (n_images,
            n_features). The layers that are trained are trainable, and no others.
        """
        return self._build_tail()[0]

    def carried_over(self, weights: Sequence[np.ndarray], before: TunableNetwork) -> list[np.ndarray]:
        """Return weights of this tail: those of the tail of another cut where its layers are in it.

        Parameters
        ----------
        weights : sequence of ndarray
            Of the tail of `before`.
        before : TunableNetwork
            The same network, cut elsewhere.
        """
        (model, layers), (trained, trained_layers) = self._build_tail(), before._build_tail()
        trained.set_weights(weights)
        by_name = {layer.name: layer for layer in trained_layers.layers}
        for layer in layers.layers:
            if layer.name in by_name:
                layer.set_weights(by_name[layer.name].get_weights())
        return model.get_weights()

    def _build_tail(self) -> tuple[Any, Any]:
        """Return the tail, and in it the model of the layers of the backbone alone."""
        from skcnn._keras import keras

        model = self.features.truncated()
        # A network of code that nothing can be told about has no identity to compare.
        if self.description is not None and self.features.has_changed:
            raise BackboneError(f"{self.features.name!r} was changed since its activations were taken; fit again")
        _, tail = split(model, self.cut.layer)
        for layer in tail.layers:
            layer.trainable = layer.name in self.cut.trained
        with quiet_build():
            rows = keras.Input(tail.input_shape[1:], dtype="float32")
            activations = tail(self.features.normalise(rows) if self.cut.at_input else rows)
            return keras.Model(rows, pool(activations, self.features.pooling), name="tail"), tail


def differences(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    """Return the names of the items in which descriptions of two tunable networks differ."""
    names = [name for name in {**one, **two} if one.get(name) != two.get(name)]
    if "layer" in names and "model" in one["backbone"]:
        # The digest of a model in memory is that of what leads to the layer, in whichever way that was named.
        names.remove("backbone" if "backbone" in names else "layer")
    return names


def as_cut(listed: Any) -> TrainingCut | None:
    """Return the cut that a description lists; None where it lists none, or something else."""
    return TrainingCut(listed[0], tuple(listed[1]), listed[2]) if is_cut(listed) else None


def is_cut(answer: Any) -> bool:
    """Whether an answer from a file is a list of a layer, the layers that are trained, and a truth value."""
    return types_of(answer) == [str, list, bool] and all(isinstance(name, str) for name in answer[1])
