"""skcnn: scikit-learn estimators for image classification with convolutional neural networks.

Public names are imported when they are first used, so that ``import skcnn`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

PUBLIC = {
    "AspectAwareResize": "images",
    "Augmentation": "images",
    "AugmentationDisplay": "inspection",
    "CNNClassifier": "classifiers",
    "CNNEnsembleClassifier": "classifiers",
    "CNNFeatureExtractor": "features",
    "FeatureStore": "cache",
    "FineTunedCNNClassifier": "classifiers",
    "HistoryDisplay": "inspection",
    "ImageSequence": "images",
    "MeanSubtract": "images",
    "PretrainedCNNClassifier": "classifiers",
    "RankCurveDisplay": "metrics",
    "ScikerasClassifier": "classifiers",
    "TenCropClassifier": "classifiers",
    "architectures": "",
    "backbones": "",
    "cache": "",
    "classifiers": "",
    "datasets": "",
    "exceptions": "",
    "features": "",
    "find_images": "datasets",
    "fine_tuning_recipe": "classifiers",
    "from_scratch_recipe": "classifiers",
    "images": "",
    "inspection": "",
    "load_image_folder": "datasets",
    "make_rank_k_scorer": "metrics",
    "metrics": "",
    "prediction_table": "inspection",
    "rank1": "metrics",
    "rank5": "metrics",
    "rank_k_accuracy_score": "metrics",
    "rank_report": "metrics",
    "training": "",
}

__all__ = [*sorted(PUBLIC), "__version__"]

if TYPE_CHECKING:
    from skcnn import architectures as architectures
    from skcnn import backbones as backbones
    from skcnn import cache as cache
    from skcnn import classifiers as classifiers
    from skcnn import datasets as datasets
    from skcnn import exceptions as exceptions
    from skcnn import features as features
    from skcnn import images as images
    from skcnn import inspection as inspection
    from skcnn import metrics as metrics
    from skcnn import training as training
    from skcnn.cache import FeatureStore as FeatureStore
    from skcnn.classifiers import CNNClassifier as CNNClassifier
    from skcnn.classifiers import CNNEnsembleClassifier as CNNEnsembleClassifier
    from skcnn.classifiers import FineTunedCNNClassifier as FineTunedCNNClassifier
    from skcnn.classifiers import PretrainedCNNClassifier as PretrainedCNNClassifier
    from skcnn.classifiers import ScikerasClassifier as ScikerasClassifier
    from skcnn.classifiers import TenCropClassifier as TenCropClassifier
    from skcnn.classifiers import fine_tuning_recipe as fine_tuning_recipe
    from skcnn.classifiers import from_scratch_recipe as from_scratch_recipe
    from skcnn.datasets import find_images as find_images
    from skcnn.datasets import load_image_folder as load_image_folder
    from skcnn.features import CNNFeatureExtractor as CNNFeatureExtractor
    from skcnn.images import AspectAwareResize as AspectAwareResize
    from skcnn.images import Augmentation as Augmentation
    from skcnn.images import ImageSequence as ImageSequence
    from skcnn.images import MeanSubtract as MeanSubtract
    from skcnn.inspection import AugmentationDisplay as AugmentationDisplay
    from skcnn.inspection import HistoryDisplay as HistoryDisplay
    from skcnn.inspection import prediction_table as prediction_table
    from skcnn.metrics import RankCurveDisplay as RankCurveDisplay
    from skcnn.metrics import make_rank_k_scorer as make_rank_k_scorer
    from skcnn.metrics import rank1 as rank1
    from skcnn.metrics import rank5 as rank5
    from skcnn.metrics import rank_k_accuracy_score as rank_k_accuracy_score
    from skcnn.metrics import rank_report as rank_report


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'skcnn' has no attribute {name!r}")
    home = PUBLIC[name]
    value = (
        getattr(importlib.import_module(f"skcnn.{home}"), name) if home else importlib.import_module(f"skcnn.{name}")
    )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
