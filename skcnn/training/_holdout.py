"""Images that are held out of training, to judge by them what was trained on the others."""

from __future__ import annotations

import math

import numpy as np
from sklearn.model_selection import StratifiedShuffleSplit

__all__ = ["hold_out"]


def hold_out(codes: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split the positions of images at random, with the classes in the same shares on both sides.

    Parameters
    ----------
    codes : ndarray of shape (n_images,), int
        The class of each image, 0 to n_classes - 1.
    fraction : float
        Above 0 and below 1. At least one image for each class is held out.
    seed : int

    Returns
    -------
    training, held_out : ndarray of int
        Both sorted.

    Raises
    ------
    ValueError
        When there are not enough images of each class.
    """
    counts = np.bincount(codes)
    if counts.min() < 2:
        msg = f"{(counts < 2).sum()} of {len(counts)} classes have one image; to hold out some, each class needs two"
        raise ValueError(f"{msg}. Leave those classes out, or add images.")
    held_out = max(math.ceil(fraction * len(codes)), len(counts))
    if held_out > len(codes) - len(counts):
        msg = f"validation_fraction={fraction} of {len(codes)} images leaves too few for {len(counts)} classes"
        raise ValueError(f"{msg}; both sides need an image of each. Set validation_fraction lower, or add images.")
    split = StratifiedShuffleSplit(1, test_size=held_out, random_state=seed)
    first, second = next(split.split(codes, codes))
    return np.sort(first), np.sort(second)
