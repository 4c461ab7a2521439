"""The base of estimators with a `backbone` parameter, and the network that it names."""

from __future__ import annotations

import numbers
from typing import Any, ClassVar

from skcnn._validation import Check, check_size, instance_of, none_or, one_of, whole
from skcnn.backbones import FrozenNetwork, resolve_backbone
from skcnn.backbones._runners import ENGINES
from skcnn.cache import FeatureCache
from skcnn.cache._json_memo import JsonMemo
from skcnn.features._model_parameter import ModelParameter
from skcnn.images._sequence import DECODES

# Of this process, where nothing is kept on disk.
_known_cuts = JsonMemo(None)


class BackboneParameters(ModelParameter):
    """Mixin, left of `BaseEstimator`, for the parameters that name a network and its input."""

    _model_parameter = "backbone"

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
        cuts = known_cuts(FeatureCache.open(self.cache))
        return FrozenNetwork(backbone, layer, self.pooling, size, self.preprocess, precision, known_cuts=cuts)


def known_cuts(cache: FeatureCache | None) -> JsonMemo:
    """Return what is known of the graphs of networks: in the cache, or in this process."""
    return _known_cuts if cache is None else cache.memo("layers")
