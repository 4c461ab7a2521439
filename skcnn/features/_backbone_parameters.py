"""The base of estimators with a `backbone` parameter: their network, and how they are cloned and pickled."""

from __future__ import annotations

import numbers
from typing import Any, ClassVar

from skcnn._parameters import FittedParameters
from skcnn._progress import without_verbosity
from skcnn._validation import Check, check_size, instance_of, none_or, one_of, whole
from skcnn.backbones import FrozenNetwork, resolve_backbone
from skcnn.backbones._models import is_keras_model
from skcnn.backbones._portable import PortableBackbone
from skcnn.backbones._runners import ENGINES
from skcnn.cache import FeatureCache
from skcnn.cache._json_memo import JsonMemo
from skcnn.images._sequence import DECODES

# Of this process, where nothing is kept on disk.
_known_cuts = JsonMemo(None)


class BackboneParameters(FittedParameters):
    """Mixin, left of `BaseEstimator`, for the parameters that name a network and its input.

    `backbone` may be a Keras model. Clones share it; a pickle takes it along with what other processes need to make it
    again.
    """

    backbone: Any
    weights: Any
    layer: Any
    pooling: Any
    input_size: Any
    preprocess: Any
    decode: Any
    cache: Any

    _network_parameters: ClassVar[tuple[str, ...]] = (
        "backbone",
        "weights",
        "layer",
        "pooling",
        "input_size",
        "preprocess",
        "decode",
    )
    _constraints: ClassVar[dict[str, Check]] = {
        "layer": instance_of(str, numbers.Integral, type(None), words="a name, an index or None"),
        "input_size": none_or(check_size),
        "preprocess": one_of("auto", None),
        "decode": one_of(*DECODES),
        "batch_size": whole(),
        "engine": one_of(*ENGINES),
    }

    def _frozen_network(self, precision: str = "float32") -> FrozenNetwork:
        """Return the network that the parameters name; nothing is loaded.

        Raises
        ------
        ValueError
            For an unknown backbone.
        """
        # A search over np.arange gives NumPy's integers, which are no JSON.
        layer = int(self.layer) if isinstance(self.layer, numbers.Integral) else self.layer
        size = None if self.input_size is None else check_size("input_size", self.input_size)
        backbone = resolve_backbone(self.backbone, self.weights)
        cache = FeatureCache.open(self.cache)
        known_cuts = _known_cuts if cache is None else cache.memo("layers")
        return FrozenNetwork(backbone, layer, self.pooling, size, self.preprocess, precision, known_cuts=known_cuts)

    def __sklearn_clone__(self) -> Any:
        if not is_keras_model(self.backbone):
            return super().__sklearn_clone__()  # type: ignore[misc]
        # A network is read, never written: clones share it, where a copy each would fill the memory.
        light = object.__new__(type(self))
        light.__dict__.update(self.__dict__, backbone=None)
        clone = super(BackboneParameters, light).__sklearn_clone__()  # type: ignore[misc]
        clone.backbone = self.backbone
        return clone

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        state = {**state, "backbone": PortableBackbone(state["backbone"])}
        if "_fitted_with" in state:
            fitted = state["_fitted_with"]["backbone"]
            portable = state["backbone"] if fitted is self.backbone else PortableBackbone(fitted)
            state["_fitted_with"] = {**state["_fitted_with"], "backbone": portable}
        return without_verbosity(state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = {**state, "backbone": unwrapped(state["backbone"])}
        if "_fitted_with" in state:
            fitted = state["_fitted_with"]
            state["_fitted_with"] = {**fitted, "backbone": unwrapped(fitted["backbone"])}
        super().__setstate__(state)  # type: ignore[misc]


def unwrapped(backbone: Any) -> Any:
    """Return the backbone in a `PortableBackbone`, which a copy in this process still holds, or the value itself."""
    return backbone.backbone if isinstance(backbone, PortableBackbone) else backbone
