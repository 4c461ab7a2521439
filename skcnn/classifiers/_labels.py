"""Labels and weights of images, checked, as training needs them."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from skcnn._private import check_sample_weight
from skcnn._validation import check_real, closest
from skcnn.training._checkpoints import shortened


def encode_labels(y: Any, estimator: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes, sorted, and the number of each image's class.

    Raises
    ------
    ValueError
        As `check_labels` does, or when there is only one class.
    """
    labels = check_labels(y, estimator)
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) == 1:
        msg = f"all {len(labels)} images have the label {classes.tolist()[0]!r}; {estimator} needs at least 2 classes"
        raise ValueError(f"{msg}, got 1 class")
    return classes, codes


def check_labels(y: Any, estimator: str) -> np.ndarray:
    """Return labels as an array of shape (n_images,).

    Raises
    ------
    ValueError
        When labels are missing, NaN, continuous, dates, or one column for each class.
    """
    if y is None:
        msg = f"{estimator} requires y to be passed, but the target y is None; pass the label of each image"
        raise ValueError(msg)
    shape = np.asarray(y).shape
    if len(shape) == 2 and shape[1] > 1:
        msg = f"y should be a 1d array, got an array of shape {shape} instead: one label for each image"
        raise ValueError(f"{msg}. Of one column for each class (one-hot), y.argmax(axis=1) makes labels.")
    labels = column_or_1d(y, warn=True)
    missing = [place for place, label in enumerate(labels.tolist()) if is_missing(label)]
    if missing:
        shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        msg = f"Input y contains NaN: {len(missing)} of {len(labels)} labels are missing, at positions {shown}"
        raise ValueError(f"{msg}. Give those images a label, or leave them out.")
    if labels.dtype.kind == "f" and np.isinf(labels).any():
        raise ValueError("Input y contains infinity; labels are strings or whole numbers.")
    if labels.dtype.kind in "mM" or isinstance(labels[0] if len(labels) else None, (date, timedelta)):
        msg = f"y has dates or times such as {str(labels[0])!r}; labels are strings or whole numbers"
        raise ValueError(f"{msg}. np.asarray(y).astype(str) makes strings of them.")
    if labels.dtype == object and all(isinstance(label, numbers.Integral) for label in labels):
        msg = "Unknown label type: y holds whole numbers as objects, which do not sort with other labels"
        raise ValueError(f"{msg}. np.asarray(y).astype(int) makes labels of them.")
    check_classification_targets(labels)
    return labels


def codes_of(labels: np.ndarray, classes: np.ndarray, kind: str) -> np.ndarray:
    """Return the position of each label among some classes.

    Parameters
    ----------
    labels : ndarray of shape (n_images,)
    classes : ndarray of shape (n_classes,)
    kind : str
        What a class is, for the message.

    Raises
    ------
    ValueError
        Naming labels that are none of them.
    """
    known = {label: code for code, label in enumerate(classes.tolist())}
    codes = np.array([known.get(label, -1) for label in labels.tolist()])
    if (codes < 0).any():
        unknown = sorted({label for label in labels.tolist() if label not in known}, key=str)
        count = f"{(codes < 0).sum()} of {len(labels)}"
        raise ValueError(f"{count} images have labels that are no {kind}: {shortened(unknown)}")
    return codes


def is_missing(label: Any) -> bool:
    """Whether a label is None, NaN, NaT or pandas.NA, which are not equal to themselves."""
    is_itself = label is not None and label == label
    return not isinstance(is_itself, (bool, np.bool_)) or not is_itself


def join_weights(codes: np.ndarray, classes: np.ndarray, sample_weight: Any, class_weight: Any) -> np.ndarray | None:
    """Return the product of the weights of images and of classes, float64; None where all are 1.

    Raises
    ------
    ValueError
        When weights are not finite numbers of at least 0, or a class has none above 0; when the weights of classes
        are no dict, or name what is no class.
    """
    if sample_weight is None and class_weight is None:
        return None
    weights = sample_weights(sample_weight, len(codes))
    if class_weight is not None:
        check_class_weight(class_weight, classes)
        weights = weights * compute_sample_weight(class_weight, classes[codes])
    without = classes[np.bincount(codes, weights=weights, minlength=len(classes)) == 0]
    if len(without):
        shown = ", ".join(map(repr, without[:5].tolist()))
        msg = f"all images of {len(without)} of {len(classes)} classes have the weight 0 ({shown}); leave them out"
        raise ValueError(msg)
    return weights


def sample_weights(sample_weight: Any, n_images: int) -> np.ndarray:
    """Return the weights of images, float64 of shape (n_images,); None is 1 for each.

    Raises
    ------
    ValueError
        When they are not finite numbers of at least 0.
    """
    weights = check_sample_weight(sample_weight, np.empty((n_images, 1)), dtype=np.float64)
    if (weights < 0).any():
        raise ValueError("Negative values in data passed to sample_weight; weights must be at least 0")
    return weights


def check_class_weight(class_weight: Any, classes: np.ndarray) -> None:
    """Refuse weights of classes that are neither "balanced" nor a dict of classes and numbers of at least 0."""
    if isinstance(class_weight, str) and class_weight == "balanced":
        return
    if not isinstance(class_weight, Mapping):
        msg = "The 'class_weight' parameter must be 'balanced', None or a dict {class: weight}."
        hint = ""
        if isinstance(class_weight, (list, tuple, np.ndarray)) and len(class_weight) == len(classes):
            hint = " dict(zip(np.unique(y).tolist(), weights)) makes one of weights in the order of the sorted labels."
        raise ValueError(f"{msg} Got {class_weight!r} instead.{hint}")
    known = classes.tolist()
    for label, weight in class_weight.items():
        if label not in known:
            near = closest(label, [str(each) for each in known])
            raise ValueError(f"class_weight has {label!r}, which is no label in y; did you mean {near}?")
        check_real(f"class_weight[{label!r}]", weight)
