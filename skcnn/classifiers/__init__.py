"""Classifiers: networks that are trained on images, as scikit-learn estimators."""

from skcnn.classifiers._fine_tuned import FineTunedCNNClassifier

__all__ = ["FineTunedCNNClassifier"]
