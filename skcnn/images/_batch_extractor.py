"""The interface of computations on images whose results are stored: features, and the sums of `MeanSubtract`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from skcnn.cache._manifest import Label


class BatchExtractor(ABC):
    """Computes an array for each image, batch by batch: its features, or others of one shape for all."""

    # What to call it in messages, and what its progress bar says.
    name: str
    activity = "extracting"

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return everything that decides the features besides the images, as JSON types.

        Raises
        ------
        UnknownCodeError
            When that cannot be told; the features are then computed, but not stored.
        """

    def label(self, description: dict[str, Any], n_views: int) -> Label:
        """Return how the cache lists features of this description."""
        return Label(self.name)

    @abstractmethod
    def prepare(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """Return the pixels that `run` takes of one image; called in threads.

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
        """Return the features of a batch, an array of shape (n_images, ...); called by one thread at a time."""

    @abstractmethod
    def output_shape(self) -> tuple[int, ...]:
        """Return the shape of the features of one image."""
