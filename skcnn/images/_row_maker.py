"""The interface of what makes rows of images: trunks, and the sums that `MeanSubtract` needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from skcnn.cache._manifest import Label


class RowMaker(ABC):
    """Makes one row of numbers of each image."""

    # What to call it in messages, and what its progress bar says.
    name: str
    activity = "extracting"

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what decides the rows besides the images, as JSON types.

        Raises
        ------
        UnknownCodeError
            When that cannot be told; the rows are then computed, but not kept.
        """

    def label(self, description: dict[str, Any], n_views: int) -> Label:
        """Return what to call rows of this description in a table of the cache."""
        return Label(self.name)

    @abstractmethod
    def prepare(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """Return what `run` takes of one image; called in threads.

        Parameters
        ----------
        pixels : ndarray of shape (height, width, 1 | 3), uint8 or float, finite
        name : str
            What to call the image in messages.

        Raises
        ------
        ImageReadError
            When the image cannot be used.
        """

    @abstractmethod
    def run(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        """Return the rows of a batch, an array of shape (n_images, ...); called by one thread at a time."""

    @abstractmethod
    def row_shape(self) -> tuple[int, ...]:
        """Return the shape of one row."""
