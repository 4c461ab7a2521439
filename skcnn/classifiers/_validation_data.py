"""Validation images of the user's own, which are judged after each epoch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from skcnn.classifiers._labels import check_labels, codes_of, sample_weights
from skcnn.classifiers._naming import naming
from skcnn.classifiers._views import check_one_view
from skcnn.images._sequence import ImageSequence
from skcnn.images._sources import ArraySources
from skcnn.images._transformer import check_images
from skcnn.training._problem import Targets

PARTS = (2, 3)


class ValidationData(NamedTuple):
    """Images that are judged after each epoch, and their targets."""

    images: ImageSequence
    targets: Targets


def read_validation_data(
    given: Any, images: ImageSequence, classes: np.ndarray, codes: np.ndarray, class_weight: Any
) -> ValidationData:
    """Return the images and labels that a user gave as ``validation_data``.

    Images that went through no steps are taken through those of the images that are trained on: a pipeline transforms
    `X` alone.

    Parameters
    ----------
    given : (images, labels) or (images, labels, weights of images)
    images : ImageSequence
        That are trained on.
    classes : ndarray of shape (n_classes,)
    codes : ndarray of int
        The class of each image that is trained on.
    class_weight : dict, "balanced" or None
        Of the classes, from the images that are trained on.

    Raises
    ------
    TypeError
        For anything but a tuple or list of these parts.
    ValueError
        For images and labels of different lengths, labels of no class, or weights that are all 0.
    """
    if not isinstance(given, (tuple, list)) or len(given) not in PARTS:
        msg = "validation_data must be images and labels, (X_val, y_val), perhaps with weights: (X_val, y_val, weights)"
        raise TypeError(f"{msg}. Got {type(given).__name__}{f' of {len(given)}' if hasattr(given, '__len__') else ''}")
    X, y, *weights = given
    with naming("validation_data"):
        labels = check_labels(y, "validation_data")
        own = through_steps_of(images, check_images(X, labels))
        owner = np.arange(len(labels)).repeat(len(own) // len(labels))
        found = codes_of(labels, classes, "label in y")
        shares = None
        if class_weight is not None:
            shares = compute_class_weight(class_weight, classes=classes, y=classes[codes])[found]
        if weights and weights[0] is not None:
            checked = sample_weights(weights[0], len(labels))
            shares = checked if shares is None else shares * checked
        if shares is not None and not shares.any():
            raise ValueError("the weights of all images are 0; give one above 0")
        targets = Targets(found, shares, len(classes))
        own = check_one_view(own).with_on_error(images.on_error).with_decode(images.decode_mode)
        return ValidationData(own, targets.of(owner))


def through_steps_of(images: ImageSequence, own: ImageSequence) -> ImageSequence:
    """Return images that went through the steps of others, and are as many views of each; `own` where it has steps.

    Raises
    ------
    ValueError
        For arrays of another size: a step before made the others from arrays, and nothing tells which step.
    """
    if own.steps:
        return own
    for step in images.steps:
        own = own.with_step(step)
    both = size_of_arrays(own), size_of_arrays(images)
    if None not in both and both[0] != both[1]:
        sizes = [" x ".join(map(str, size)) for size in both if size is not None]
        msg = f"images are of {sizes[0]} pixels, and those that are trained on of {sizes[1]}; give images of that size"
        raise ValueError(f"{msg}. In a pipeline, pipeline[:-1].transform(X_val) makes them")
    return own.with_views_apart() if own.n_views > 1 else own


def size_of_arrays(images: ImageSequence) -> tuple[int, int] | None:
    """Return the height and width of images that are one array, and go through no steps; None for others."""
    sources = images.sources
    if not isinstance(sources, ArraySources) or images.steps or sources.arrays.ndim < 3:
        return None
    return sources.arrays.shape[1:3]
