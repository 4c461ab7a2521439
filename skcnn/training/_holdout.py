"""Hold images out of training, to validate on them."""

from __future__ import annotations

import math
import warnings

import numpy as np


def hold_out(
    codes: np.ndarray,
    fraction: float,
    seed: int,
    *,
    groups: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    names: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Split the positions of images at random, with the classes in the same shares on both sides.

    At least one image of each class is held out, and at least one is trained on.

    Parameters
    ----------
    codes : ndarray of shape (n_images,), int
        The class of each image, 0 to n_classes - 1.
    fraction : float
        Above 0 and below 1.
    seed : int
    groups : ndarray of shape (n_images,), int, default=None
        Images of the same number, such as copies, stay on the same side. None for none.
    weights : ndarray of shape (n_images,), default=None
        Images of weight 0 are not held out: nothing can be judged by them.
    names : ndarray of shape (n_classes,), default=None
        Of the classes, for messages.

    Returns
    -------
    training, held_out : ndarray of int
        Both sorted.

    Raises
    ------
    ValueError
        When a class has one image.

    Warns
    -----
    UserWarning
        When classes have no image that is held out, as theirs are all copies of one.
    """
    usable = np.ones(len(codes), bool) if weights is None else weights > 0
    counts = np.bincount(codes[usable], minlength=codes.max() + 1)
    if counts.min() < 2:
        msg = f"{(counts < 2).sum()} of {len(counts)} classes have one image; to hold out some, each class needs two"
        raise ValueError(f"{msg}. Leave those classes out, or add images.")
    random = np.random.default_rng(seed)
    groups = np.arange(len(codes)) if groups is None else groups
    chosen = choose_groups(codes[usable], groups[usable], quotas(counts, fraction, random), random)
    is_held_out = np.isin(groups, chosen)
    # Copies that have labels of different classes: what is held out for one class may be all of another one.
    untrained = np.setdiff1d(np.arange(len(counts)), codes[usable & ~is_held_out])
    is_held_out &= ~np.isin(groups, groups[np.isin(codes, untrained)])
    without = np.setdiff1d(np.arange(len(counts)), codes[is_held_out & usable])
    if len(without) == len(counts):
        msg = "no image can be held out: those of each class are all copies of one"
        raise ValueError(f"{msg}. Add images, or set validation_fraction=None and early_stopping=False.")
    if len(without):
        shown = ", ".join(repr(each) for each in (without if names is None else names[without])[:5].tolist())
        msg = f"{len(without)} of {len(counts)} classes have no image that is held out ({shown}): theirs are copies of"
        warnings.warn(f"{msg} one, or of another class. Figures on images held out say nothing of them", stacklevel=2)
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out & usable)


def quotas(counts: np.ndarray, fraction: float, random: np.random.Generator) -> np.ndarray:
    """Return how many images of each class are held out: its share, at least one, and not all."""
    exact = fraction * counts
    wanted = np.floor(exact).astype(int)
    # What is left goes to the classes that were rounded down most, of equal ones to any.
    left = math.ceil(round(exact.sum(), 6)) - wanted.sum()
    wanted[np.lexsort([random.random(len(counts)), wanted - exact])[:left]] += 1
    return np.clip(wanted, 1, counts - 1)


def choose_groups(codes: np.ndarray, groups: np.ndarray, wanted: np.ndarray, random: np.random.Generator) -> list[int]:
    """Return groups of each class, in a random order, that have the wanted number of images as far as they fit."""
    numbers, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    order = random.permutation(len(numbers))
    chosen: list[int] = []
    for code, limit in enumerate(wanted.tolist()):
        mine = order[codes[first[order]] == code]
        taken: list[int] = []
        total = 0
        for group in mine.tolist():
            if total + sizes[group] <= limit:
                taken.append(group)
                total += sizes[group]
        if not taken and len(mine):
            taken = [int(mine[sizes[mine].argmin()])]
        chosen += [int(numbers[group]) for group in (taken if len(taken) < len(mine) else taken[1:])]
    return chosen
