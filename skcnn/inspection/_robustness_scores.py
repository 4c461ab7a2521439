"""`robustness_scores`: how often classifiers are right where images are changed."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import accuracy_score

from skcnn._source_code import UnknownCodeError, describe_code
from skcnn.images import Augmentation, Step, ViewStep, as_image_sequence
from skcnn.images._augmentation import check_levels_of
from skcnn.images._transformer import like_input
from skcnn.metrics import ScoreTable
from skcnn.metrics._rank_curve_display import by_name

# How images of the same things differ from those that were collected.
CHANGES = {
    "moved": Augmentation.only(width_shift=0.15, height_shift=0.15),
    "turned": Augmentation.only(rotation=20),
    "smaller": Augmentation.only(zoom=(0.7, 0.7)),
    "darker": Augmentation.only(brightness=(-80, -80)),
    "inverted": Augmentation.only(invert=1),
}
UNCHANGED = "as they are"

Change = Augmentation | Step | Callable[[np.ndarray], np.ndarray]


def robustness_scores(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    *,
    changes: Mapping[str, Change] | None = None,
    sample_weight: ArrayLike | None = None,
) -> ScoreTable:
    """Compute the accuracy of classifiers on images as they are, and changed in several ways.

    A classifier that is right on images like those it was trained on may fail on pictures of the same things that are
    moved, darker or inverted. Training on such images too, with a `skcnn.Augmentation` that makes them, is what to try.

    Parameters
    ----------
    estimator : classifier, dict of str to classifier, or list of (name, classifier) tuples
        Fitted, with `predict`. A single one is named by its class.
    X : images
        Anything `skcnn.images.as_image_sequence` takes, with levels in [0, 255]. Changed images have the same size, and
        are given to the classifiers as arrays where these are.
    y : array-like of shape (n_images,)
        True labels.
    changes : dict of str to skcnn.Augmentation, Step or callable, default=None
        By name: an augmentation, such as ``Augmentation.only(invert=1)``, of which each image gets one random view, the
        same one for all classifiers; a step of `skcnn.images`; or a function from an image, an ndarray of shape
        (height, width, channels), to another. None takes `skcnn.inspection.CHANGES`: moved by up to 15 % of the sides,
        turned by up to 20 degrees, smaller (zoom 0.7), darker by 80 levels, inverted.
    sample_weight : array-like of shape (n_images,), default=None

    Returns
    -------
    ScoreTable
        A row for each classifier, with the column "as they are" and one for each change: accuracies in [0, 1].

    Raises
    ------
    TypeError
        For a change that is none of these.
    ImageReadError
        When an image cannot be read, or a change cannot be applied to it.

    See Also
    --------
    RobustnessDisplay : The same as a picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn import Augmentation, CNNClassifier
    >>> from skcnn.inspection import robustness_scores
    >>> images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    >>> clf = CNNClassifier("lenet", input_size=8, epochs=1, cache=None).fit(images, [0, 1, 2] * 2)
    >>> changes = {"inverted": Augmentation.only(invert=1), "upside down": lambda image: image[::-1]}
    >>> list(robustness_scores(clf, images, [0, 1, 2] * 2, changes=changes).columns)
    ['as they are', 'inverted', 'upside down']
    """
    estimators = by_name(estimator)
    if not estimators:
        raise ValueError("there is nothing to judge: no classifier was given")
    columns: dict[str, list[float]] = {}
    for name, images in changed_images(X, changes).items():
        columns[name] = [
            float(accuracy_score(y, each.predict(images), sample_weight=sample_weight)) for each in estimators.values()
        ]
    return ScoreTable(estimators, columns)


def changed_images(X: Any, changes: Mapping[str, Change] | None = None) -> dict[str, Any]:
    """Return images as they are and changed, by name; lazily, unless they came as an array.

    Parameters
    ----------
    X : images
    changes : dict of str to skcnn.Augmentation, Step or callable, default=None
        As of `robustness_scores`.
    """
    images = as_image_sequence(X)
    steps = {name: as_step(name, change) for name, change in (CHANGES if changes is None else changes).items()}
    for step in steps.values():
        if isinstance(step, ViewInItsSize):
            check_levels_of(images, step.augmentation)
    return {UNCHANGED: X, **{name: like_input(X, images.with_step(step)) for name, step in steps.items()}}


def as_step(name: str, change: Any) -> Step:
    """Return the step that changes an image."""
    if isinstance(change, Augmentation):
        return ViewInItsSize(change)
    if isinstance(change, Step):
        return change
    if callable(change):
        return FunctionStep(change)
    raise TypeError(f"the change {name!r} must be a skcnn.Augmentation, a step or a function; got {change!r}")


@dataclass(frozen=True)
class ViewInItsSize(ViewStep):
    """A view of an image by an augmentation, of the size of the image."""

    augmentation: Augmentation

    @property
    def seed(self) -> int:  # type: ignore[override]
        return self.augmentation.seed

    def make_view(self, image: np.ndarray, view: int, random: np.random.Generator) -> np.ndarray:
        return self.augmentation.views(1, image.shape[:2]).make_view(image, view, random)


@dataclass(frozen=True)
class FunctionStep(Step):
    """A function of the user's own."""

    function: Callable[[np.ndarray], np.ndarray]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return np.asarray(self.function(image.copy()))

    def output_size(self, size: tuple[int, int] | None) -> tuple[int, int] | None:
        return None

    def describe(self) -> dict[str, Any]:
        function = self.function
        if not isinstance(function, types.FunctionType):  # such as a partial, whose arguments are not seen
            raise UnknownCodeError(f"what {function!r} depends on is not known")
        name = f"{function.__module__}.{function.__qualname__}"
        return {"step": "FunctionStep", "function": name, "code": describe_code(function)}
