"""What estimators with a `backbone` parameter share: how they are cloned and pickled."""

from __future__ import annotations

from typing import Any

from skcnn.backbones._models import is_keras_model
from skcnn.backbones._portable import PortableBackbone

__all__ = ["BackboneParameter"]


class BackboneParameter:
    """Mixin, left of `BaseEstimator`, for estimators with a `backbone` parameter that may be a Keras model.

    Clones share the model; a pickle takes it along with what other processes need to make it again.
    """

    backbone: Any

    def __sklearn_clone__(self) -> Any:
        if not is_keras_model(self.backbone):
            return super().__sklearn_clone__()  # type: ignore[misc]
        # A network is read, never written: clones share it, where a copy each would fill the memory.
        light = object.__new__(type(self))
        light.__dict__.update(self.__dict__, backbone=None)
        clone = super(BackboneParameter, light).__sklearn_clone__()  # type: ignore[misc]
        clone.backbone = self.backbone
        return clone

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return {**state, "backbone": PortableBackbone(state["backbone"])}

    def __setstate__(self, state: dict[str, Any]) -> None:
        backbone = state["backbone"]
        if isinstance(backbone, PortableBackbone):  # a copy in this process: it shares the network
            backbone = backbone.backbone
        super().__setstate__({**state, "backbone": backbone})  # type: ignore[misc]
