"""Labels and weights of images, checked, as training needs them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight

__all__ = ["encode_labels", "join_weights"]


def encode_labels(y: Any, estimator: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes, sorted, and the number of each image's class.

    Raises
    ------
    ValueError
        When labels are missing, NaN or continuous, or there is only one class.
    """
    if y is None:
        msg = f"{estimator} requires y to be passed, but the target y is None; pass the label of each image"
        raise ValueError(msg)
    labels = column_or_1d(y, warn=True)
    missing = [place for place, label in enumerate(labels.tolist()) if label is None or label != label]
    if missing:
        shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        msg = f"Input y contains NaN: {len(missing)} of {len(labels)} labels are missing, at positions {shown}"
        raise ValueError(f"{msg}. Give those images a label, or leave them out.")
    if labels.dtype.kind == "f" and np.isinf(labels).any():
        raise ValueError("Input y contains infinity; labels are strings or whole numbers.")
    check_classification_targets(labels)
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) == 1:
        msg = f"all {len(labels)} images have the label {classes.tolist()[0]!r}; {estimator} needs at least 2 classes"
        raise ValueError(f"{msg}, got 1 class")
    return classes, codes


def join_weights(codes: np.ndarray, classes: np.ndarray, sample_weight: Any, class_weight: Any) -> np.ndarray | None:
    """Return the product of the weights of images and of classes, float64; None where all are 1.

    Raises
    ------
    ValueError
        When weights are not finite numbers of at least 0, or a class has none above 0.
    """
    if sample_weight is None and class_weight is None:
        return None
    weights = _check_sample_weight(sample_weight, codes[:, None], dtype=np.float64)
    if (weights < 0).any():
        raise ValueError("Negative values in data passed to sample_weight; weights must be at least 0")
    if class_weight is not None:
        weights = weights * compute_sample_weight(class_weight, classes[codes])
    without = classes[np.bincount(codes, weights=weights, minlength=len(classes)) == 0]
    if len(without):
        shown = ", ".join(map(repr, without[:5].tolist()))
        msg = f"all images of {len(without)} of {len(classes)} classes have the weight 0 ({shown}); leave them out"
        raise ValueError(msg)
    return weights
