"""`Problem`: what is to be learned from the images of one fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skcnn.training._holdout import hold_out
from skcnn.training._split import Split


@dataclass(frozen=True)
class Problem:
    """What is to be learned from the images of one fit, and how many of them are to judge by.

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
