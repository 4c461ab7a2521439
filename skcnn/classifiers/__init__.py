"""Classifiers of images, as scikit-learn estimators: networks that are trained, ensembles, ten crops."""

from skcnn.classifiers._cnn import CNNClassifier
from skcnn.classifiers._ensemble import CNNEnsembleClassifier
from skcnn.classifiers._fine_tuned import FineTunedCNNClassifier
from skcnn.classifiers._recipe import fine_tuning_recipe
from skcnn.classifiers._ten_crop import TenCropClassifier

__all__ = [
    "CNNClassifier",
    "CNNEnsembleClassifier",
    "FineTunedCNNClassifier",
    "TenCropClassifier",
    "fine_tuning_recipe",
]
