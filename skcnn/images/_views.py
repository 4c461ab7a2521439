"""Views of images: how steps make them, and which of them a sequence is made of."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from skcnn.exceptions import ImageReadError
from skcnn.images._steps import Step, ViewStep


class ViewPicks(NamedTuple):
    """One view of one image for each item of a sequence.

    Parameters
    ----------
    positions : ndarray of shape (n_items,), int
        Of the image.
    views : ndarray of shape (n_items,), int
        Which of its views.
    """

    positions: np.ndarray
    views: np.ndarray

    @classmethod
    def of_all(cls, n_images: int, n_views: int) -> ViewPicks:
        """Return all views of all images, those of one image after another."""
        return cls(np.repeat(np.arange(n_images), n_views), np.tile(np.arange(n_views), n_images))

    def take(self, key: np.ndarray | slice) -> tuple[np.ndarray, ViewPicks]:
        """Return the positions of the images that some items need, and the picks from those images."""
        kept, first, inverse = np.unique(self.positions[key], return_index=True, return_inverse=True)
        order = np.argsort(first)
        places = np.empty(len(order), np.intp)
        places[order] = np.arange(len(order))
        return kept[order], ViewPicks(places[inverse], self.views[key])

    def runs(self) -> list[range]:
        """Return the ranges of neighbouring items that are views of one image."""
        bounds = [0, *(np.flatnonzero(np.diff(self.positions)) + 1), len(self.positions)]
        return [range(begin, end) for begin, end in itertools.pairwise(bounds) if end > begin]


def apply_step(step: Step, image: np.ndarray, view: int = 0, origin: tuple[int, bytes] = (0, b"")) -> np.ndarray:
    """Apply a step to an image.

    Parameters
    ----------
    step : Step
    image : ndarray of shape (height, width, channels)
    view : int, default=0
        Which view is being made.
    origin : (int, bytes), default=(0, b"")
        Position of the step behind the first one that makes views, and digest of the image: what the random numbers of
        this step depend on besides its seed and the view.

    Raises
    ------
    ImageReadError
        When the step does not fit the image.
    """
    try:
        if not isinstance(step, ViewStep):
            return step(image)
        position, digest = origin
        random = np.random.default_rng([step.seed, position, view, int.from_bytes(digest, "big")])
        return step.make_view(image, view if step.n_views > 1 else 0, random)
    except Exception as error:  # a step may be the user's own, and OpenCV has errors of its own
        raise ImageReadError(f"{type(step).__name__} cannot be applied: {error}") from error


def positions_of(key: Any, length: int) -> np.ndarray | slice:
    """Turn any one-dimensional index into a slice or an array of positions."""
    if isinstance(key, slice):
        return key
    positions = np.asarray(key)
    if positions.size == 0:
        return np.zeros(0, np.intp)
    if positions.ndim != 1 or positions.dtype.kind not in "biu":
        raise IndexError(f"an ImageSequence is indexed by integers, slices, masks or positions, not by {key!r}")
    if positions.dtype == bool:
        if len(positions) != length:
            raise IndexError(f"a mask of length {len(positions)} does not fit a sequence of {length} images")
        return np.flatnonzero(positions)
    return positions
