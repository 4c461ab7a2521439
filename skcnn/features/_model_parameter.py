"""The base of estimators with a parameter that may be a Keras model: how they are cloned and pickled."""

from __future__ import annotations

from typing import Any, ClassVar

from skcnn._parameters import FittedParameters
from skcnn._progress import without_verbosity
from skcnn.backbones._models import is_keras_model
from skcnn.backbones._portable import PortableBackbone


class ModelParameter(FittedParameters):
    """Mixin, left of `BaseEstimator`, for estimators with a parameter that may be a Keras model.

    Clones share the model; a pickle takes it along with what other processes need to make it again.
    """

    # Its name; it is one of `_network_parameters`.
    _model_parameter: ClassVar[str]

    def __sklearn_clone__(self) -> Any:
        name = self._model_parameter
        model = getattr(self, name)
        if not is_keras_model(model):
            return super().__sklearn_clone__()  # type: ignore[misc]
        # A network is read, never written: clones share it, where a copy each would fill the memory.
        light = object.__new__(type(self))
        light.__dict__.update({**self.__dict__, name: None})
        clone = super(ModelParameter, light).__sklearn_clone__()  # type: ignore[misc]
        setattr(clone, name, model)
        return clone

    def __getstate__(self) -> dict[str, Any]:
        name = self._model_parameter
        state: Any = super().__getstate__()
        state = {**state, name: PortableBackbone(state[name])}
        if "_fitted_with" in state:
            fitted = state["_fitted_with"][name]
            portable = state[name] if fitted is getattr(self, name) else PortableBackbone(fitted)
            state["_fitted_with"] = {**state["_fitted_with"], name: portable}
        return without_verbosity(state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        name = self._model_parameter
        state = {**state, name: unwrapped(state[name])}
        if "_fitted_with" in state:
            fitted = state["_fitted_with"]
            state["_fitted_with"] = {**fitted, name: unwrapped(fitted[name])}
        super().__setstate__(state)  # type: ignore[misc]


def unwrapped(model: Any) -> Any:
    """Return the model in a `PortableBackbone`, which a copy in this process still holds, or the value itself."""
    return model.backbone if isinstance(model, PortableBackbone) else model
