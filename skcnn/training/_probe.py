"""The linear probe: multinomial logistic regression on frozen features, as the weights of a head."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss

from skcnn.training._plan import CLASSES_FOR_RANK5

MAX_ITERATIONS = 1000


class LinearProbe(NamedTuple):
    """Weights of a dense layer of one logit per class.

    Attributes
    ----------
    kernel : ndarray of shape (n_features, n_classes), float32
    bias : ndarray of shape (n_classes,), float32
    """

    kernel: np.ndarray
    bias: np.ndarray

    def logits(self, features: Any, batch_size: int | None = None) -> np.ndarray:
        """Return the logits of features of shape (n_images, n_features): (n_images, n_classes), float64.

        In float64 they do not depend on which images are asked for together. With `batch_size`, so many features are
        read at a time.
        """
        step = batch_size or len(features)
        starts = range(0, len(features), step)
        return np.concatenate(
            [np.asarray(features[at : at + step], np.float64) @ self.kernel + self.bias for at in starts]
        )

    def judge(self, features: Any, codes: np.ndarray, weights: np.ndarray | None = None) -> dict[str, float]:
        """Return the figures on features of shape (n_images, n_features), as a training records them."""
        logits = self.logits(features)
        probabilities = softmax(logits, axis=1)
        labels = np.arange(len(self.bias))
        figures = {
            "loss": log_loss(codes, probabilities, sample_weight=weights, labels=labels),
            "accuracy": accuracy_score(codes, probabilities.argmax(axis=1)),
        }
        if len(labels) >= CLASSES_FOR_RANK5:
            likelier = logits > logits[np.arange(len(codes)), codes][:, np.newaxis]
            figures["rank5_accuracy"] = float((likelier.sum(axis=1) < 5).mean())
        return figures


def fit_probe(features: Any, codes: np.ndarray, weights: np.ndarray | None = None, *, C: float = 1.0) -> LinearProbe:
    """Fit multinomial logistic regression, and return it as the weights of a dense layer.

    Fine-tuning from such a head changes good features less than from a random one (Kumar et al., "Fine-tuning can
    distort pretrained features and underperform out-of-distribution", 2022, arXiv 2202.10054).

    Parameters
    ----------
    features : array-like of shape (n_images, n_features), float32
        They are read into memory.
    codes : ndarray of shape (n_images,), int
        The class of each image, 0 to n_classes - 1. Each class occurs, with some weight above 0.
    weights : ndarray of shape (n_images,), default=None
        Of the images.
    C : float, default=1.0
        Inverse of the strength of the L2 penalty, as in scikit-learn, on features that are centred and divided by one
        number, the root of their mean variance, so that it means the same for every network.

    Returns
    -------
    LinearProbe
        For the features as they are.
    """
    values = np.array(features, np.float64)  # a copy: it is changed in place
    mean = np.average(values, axis=0, weights=weights)
    values -= mean
    variances = np.average(np.square(values), axis=0, weights=weights)
    scale = float(np.sqrt(variances.mean())) or 1.0
    values /= scale
    regression = LogisticRegression(C=C, solver="newton-cg", max_iter=MAX_ITERATIONS)
    regression.fit(values, codes, sample_weight=weights)
    coefficients, intercepts = regression.coef_ / scale, regression.intercept_
    if len(coefficients) == 1:  # two classes: the sigmoid of z is the softmax of (-z/2, z/2)
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    bias = intercepts - coefficients @ mean
    return LinearProbe(coefficients.T.astype(np.float32), bias.astype(np.float32))
