"""The labels and weights of the images of one fit, and which of them are held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skcnn.training._batches import Batches
from skcnn.training._epoch_inputs import EpochInputs
from skcnn.training._holdout import hold_out


class Targets(NamedTuple):
    """The classes of some images, and what each image counts.

    Parameters
    ----------
    codes : ndarray of shape (n_images,), int
        The class of each image, 0 to n_classes - 1.
    weights : ndarray of shape (n_images,), or None
    n_classes : int
    """

    codes: np.ndarray
    weights: np.ndarray | None
    n_classes: int

    def of(self, chosen: np.ndarray) -> Targets:
        """Return those of the images at some positions."""
        weights = None if self.weights is None else self.weights[chosen]
        return self._replace(codes=self.codes[chosen], weights=weights)

    def batches(self, inputs: EpochInputs, batch_size: int, seed: tuple[int, ...] = (0,)) -> Batches:
        """Return batches of the images, of which `inputs` are the inputs."""
        weights = self.weights
        if weights is not None:
            weights = (weights / weights.mean()).astype(np.float32)
        return Batches(inputs, np.eye(self.n_classes, dtype=np.float32)[self.codes], weights, batch_size, seed)


class Split(NamedTuple):
    """What is trained on, and what is judged after each epoch.

    Parameters
    ----------
    trained, held_out : ndarray of int
        Positions of images. There may be none that are held out.
    training : Targets
        Of the images that are trained on.
    validation : Targets or None
        Of the images that are judged: those held out, or validation images of the user's own. None for neither.
    """

    trained: np.ndarray
    held_out: np.ndarray
    training: Targets
    validation: Targets | None


@dataclass(frozen=True)
class Problem:
    """The classes and weights of the images of one fit, and how many are held out.

    Parameters
    ----------
    targets : Targets
        Of all images.
    classes : ndarray of shape (n_classes,)
        The labels of the classes.
    validation_fraction : float or None
        Share of the images that are held out.
    copies : callable without arguments
        Returns a number for each image, the same for copies of one, which stay on the same side.
    validation : Targets or None, default=None
        Of validation images of the user's own; no image is held out then.
    """

    targets: Targets
    classes: np.ndarray
    validation_fraction: float | None
    copies: Callable[[], np.ndarray]
    validation: Targets | None = None

    def split(self, seed: int) -> Split:
        """Return which images are trained on, and which are judged.

        Raises
        ------
        ValueError
            When there are not enough images of each class to hold out some.
        """
        targets = self.targets
        if self.validation_fraction is None or self.validation is not None:
            everything, nothing = np.arange(len(targets.codes)), np.zeros(0, int)
            return Split(everything, nothing, targets, self.validation)
        trained, held_out = hold_out(
            targets.codes,
            self.validation_fraction,
            seed,
            groups=self.copies(),
            weights=targets.weights,
            names=self.classes,
        )
        return Split(trained, held_out, targets.of(trained), targets.of(held_out))
