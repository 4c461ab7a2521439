"""The labels and weights of the images of one fit, and which of them are held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skcnn.training._batches import Batches
from skcnn.training._epoch_inputs import EpochInputs
from skcnn.training._holdout import hold_out


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

    def training(self, inputs: EpochInputs, batch_size: int, seed: tuple[int, ...]) -> Batches:
        """Return batches of the images that are trained on; `inputs` are theirs."""
        return self._batches(inputs, self.trained, batch_size, seed)

    def validation(self, inputs: EpochInputs, batch_size: int) -> Batches | None:
        """Return batches of the images that are held out, if there are any; `inputs` are theirs."""
        return self._batches(inputs, self.held_out, batch_size, (0,)) if len(self.held_out) else None

    def _batches(self, inputs: EpochInputs, chosen: np.ndarray, batch_size: int, seed: tuple[int, ...]) -> Batches:
        codes, weights = self.labels(chosen)
        targets = np.eye(self.n_classes, dtype=np.float32)[codes]
        if weights is not None:
            weights = (weights / weights.mean()).astype(np.float32)
        return Batches(inputs, targets, weights, batch_size, seed)


@dataclass(frozen=True)
class Problem:
    """The classes and weights of the images of one fit, and how many are held out.

    Parameters
    ----------
    codes : ndarray of shape (n_images,), int
        The class of each image, 0 to n_classes - 1.
    weights : ndarray of shape (n_images,), or None
    classes : ndarray of shape (n_classes,)
        The labels of the classes.
    validation_fraction : float or None
        Share of the images that are held out.
    copies : callable without arguments
        Returns a number for each image, the same for copies of one, which stay on the same side.
    """

    codes: np.ndarray
    weights: np.ndarray | None
    classes: np.ndarray
    validation_fraction: float | None
    copies: Callable[[], np.ndarray]

    def split(self, seed: int) -> Split:
        """Return which images are trained on, and which are held out.

        Raises
        ------
        ValueError
            When there are not enough images of each class to hold out some.
        """
        trained, held_out = np.arange(len(self.codes)), np.zeros(0, int)
        if self.validation_fraction is not None:
            trained, held_out = hold_out(
                self.codes,
                self.validation_fraction,
                seed,
                groups=self.copies(),
                weights=self.weights,
                names=self.classes,
            )
        return Split(self.codes, self.weights, len(self.classes), trained, held_out)
