"""How far trained weights are moved back towards those from before the training.

Training on few images can do harm, and where the features are good enough already there is little to gain. Averaging
the weights before and after it keeps most of what was gained and loses little of what was there: Wortsman et al.,
"Robust fine-tuning of zero-shot models", 2022, arXiv 2109.01903.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import RidgeCV

from skcnn.training._schedules import AUTO

# Half of the change is kept with so many images of a class, and half with so many errors among them. What that gains
# and costs is measured by benchmarks/bench_fine_tuning_defaults.py.
HALF_WAY_IMAGES = 10
HALF_WAY_ERRORS = 1

# Of the mean variance of the features.
PENALTIES = (10, 100, 1000)

# Enough to estimate the accuracy; the time grows with the square of the number of images, or faster.
MAX_IMAGES = 2000


def leave_one_out_accuracy(features: Any, codes: np.ndarray) -> float:
    """Return the share of images that ridge regression on the features of all the others classifies correctly.

    Ridge regression leaves out one image after the other at the price of one fit.

    Parameters
    ----------
    features : ndarray of shape (n_images, n_features), float32
    codes : ndarray of shape (n_images,), int
        The class of each image. Where there are more than 2,000 images, 2,000 are used, with the classes in the
        same shares.
    """
    chosen = np.argsort(codes, kind="stable")
    if len(chosen) > MAX_IMAGES:
        chosen = chosen[np.linspace(0, len(chosen) - 1, MAX_IMAGES).astype(int)]
    values = np.asarray(features[chosen], np.float64)
    variance = float(values.var(axis=0).mean()) or 1.0
    # Not RidgeClassifierCV: it encodes two classes as one column, and then looks for the largest number of each row, so
    # that its leave-one-out accuracy is always 1.
    ridge = RidgeCV([penalty * variance for penalty in PENALTIES], scoring=largest_is_right)
    return float(ridge.fit(values, np.eye(codes.max() + 1)[codes[chosen]]).best_score_)


def largest_is_right(estimator: Any, predictions: np.ndarray, targets: np.ndarray) -> float:
    return float((predictions.argmax(axis=1) == targets.argmax(axis=1)).mean())


def automatic_shrinkage(n_images: int, n_classes: int, accuracy: float | None) -> float:
    """Return the share of the way back: near 1 for few images, or where the features alone make no error; else near 0.

    Parameters
    ----------
    n_images, n_classes : int
    accuracy : float or None
        As `leave_one_out_accuracy` returns it. None goes by the number of images alone.
    """
    images = n_images / n_classes
    kept = images**2 / (images**2 + HALF_WAY_IMAGES**2)
    if accuracy is not None:
        errors = (1 - accuracy) * images
        kept *= errors / (errors + HALF_WAY_ERRORS)
    return 1 - kept


def resolve_shrinkage(
    shrinkage: float | str | None, n_images: int, n_classes: int, history: Sequence[dict[str, Any]]
) -> float:
    """Return the share that a parameter stands for, in a training with these records before."""
    if shrinkage != AUTO:
        return float(shrinkage or 0.0)
    known = [record["loo_accuracy"] for record in history if "loo_accuracy" in record]
    return automatic_shrinkage(n_images, n_classes, known[-1] if known else None)
