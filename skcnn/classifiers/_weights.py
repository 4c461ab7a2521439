"""Weights of the members of an ensemble: given ones, checked, and those that suit held-out images best."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize


def check_weights(weights: Any, n_members: int) -> np.ndarray:
    """Return given weights of members, scaled to the sum 1; equal ones for None.

    Returns
    -------
    ndarray of shape (n_members,), float64

    Raises
    ------
    ValueError
        When they are no numbers, of another number than the members, negative, or all 0.
    """
    if weights is None:
        return np.full(n_members, 1 / n_members)
    accepted = "The 'weights' parameter must be None, \"validation\" or a number of at least 0 for each member"
    try:
        values = np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{accepted}. Got {weights!r} instead.") from None
    if values.shape != (n_members,):
        shape = f"{len(values)} weights" if values.ndim == 1 else f"{weights!r}"
        raise ValueError(f"{accepted}: {n_members} of them. Got {shape} instead.")
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"{accepted}. Got {weights!r} instead.")
    if not values.any():
        raise ValueError(f"{accepted}, not all of them 0. Got {weights!r} instead.")
    return values / values.sum()


def fit_weights(likelihoods: np.ndarray, sample_weight: np.ndarray | None = None) -> np.ndarray:
    """Return the weights of members whose average of probabilities has the lowest log loss.

    Parameters
    ----------
    likelihoods : ndarray of shape (n_images, n_members), float64
        The probability that each member gives to the right class of each image.
    sample_weight : ndarray of shape (n_images,), default=None

    Returns
    -------
    ndarray of shape (n_members,), float64
        At least 0, with the sum 1.
    """
    n_images, n_members = likelihoods.shape
    shares = np.ones(n_images) if sample_weight is None else np.asarray(sample_weight, np.float64)
    shares = shares / shares.sum()
    least = np.finfo(np.float32).tiny

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.maximum(likelihoods @ weights, least)
        # The log loss falls as all weights grow. With their sum added, it is lowest where that is 1, and no constraint
        # is needed for it.
        return weights.sum() - shares @ np.log(mixed), 1 - (shares / mixed) @ likelihoods

    start = np.full(n_members, 1 / n_members)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * n_members)
    return found.x / found.x.sum()
