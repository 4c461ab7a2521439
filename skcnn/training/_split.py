"""`Split`: labels and weights of the images of one fit, which of them are trained on, and which are held out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skcnn.training._batches import Batches
from skcnn.training._rows import EpochRows


class Split(NamedTuple):
    """Labels and weights of the images of one fit, which of them are trained on, and which are held out.

    Parameters
    ----------
    codes : ndarray of shape (n_images,), int
        The class of each image, 0 to n_classes - 1.
    weights : ndarray of shape (n_images,), or None
    n_classes : int
    trained, held_out : ndarray of int
        Positions of images. There may be none that are held out.
    """

    codes: np.ndarray
    weights: np.ndarray | None
    n_classes: int
    trained: np.ndarray
    held_out: np.ndarray

    def labels(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the classes of some images, and their weights."""
        return self.codes[chosen], None if self.weights is None else self.weights[chosen]

    def training(self, rows: EpochRows, batch_size: int, seed: tuple[int, ...]) -> Batches:
        """Return batches of the images that are trained on; `rows` are theirs."""
        return self._batches(rows, self.trained, batch_size, seed)

    def validation(self, rows: EpochRows, batch_size: int) -> Batches | None:
        """Return batches of the images that are held out, if there are any; `rows` are theirs."""
        return self._batches(rows, self.held_out, batch_size, (0,)) if len(self.held_out) else None

    def _batches(self, rows: EpochRows, chosen: np.ndarray, batch_size: int, seed: tuple[int, ...]) -> Batches:
        codes, weights = self.labels(chosen)
        targets = np.eye(self.n_classes, dtype=np.float32)[codes]
        if weights is not None:
            weights = (weights / weights.mean()).astype(np.float32)
        return Batches(rows, targets, weights, batch_size, seed)
