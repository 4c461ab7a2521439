"""Classifiers of images, as scikit-learn estimators: networks that are trained, ensembles, ten crops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skcnn.classifiers._cnn import CNNClassifier
from skcnn.classifiers._ensemble import CNNEnsembleClassifier
from skcnn.classifiers._fine_tuned import FineTunedCNNClassifier
from skcnn.classifiers._pretrained import PretrainedCNNClassifier
from skcnn.classifiers._recipe import fine_tuning_recipe, from_scratch_recipe
from skcnn.classifiers._ten_crop import TenCropClassifier

__all__ = [
    "CNNClassifier",
    "CNNEnsembleClassifier",
    "FineTunedCNNClassifier",
    "PretrainedCNNClassifier",
    "ScikerasClassifier",
    "TenCropClassifier",
    "fine_tuning_recipe",
    "from_scratch_recipe",
]

if TYPE_CHECKING:
    from skcnn.classifiers._scikeras import ScikerasClassifier


def __getattr__(name: str) -> Any:
    if name == "ScikerasClassifier":  # of a class that loads Keras
        from skcnn.classifiers._scikeras import ScikerasClassifier

        return ScikerasClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
