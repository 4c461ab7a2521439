"""Snapshots: the members of an ensemble from one training, in which the learning rate falls to 0 several times."""

from __future__ import annotations

import copy
from typing import Any

from skcnn.classifiers._fine_tuned import FineTunedCNNClassifier
from skcnn.classifiers._members import check_trains_tail
from skcnn.images._sequence import ImageSequence
from skcnn.training import make_optimizer
from skcnn.training._optimizers import describe_optimizer

__all__ = ["check_snapshots", "fit_snapshots"]


def check_snapshots(estimator: Any, count: int) -> None:
    """Refuse what no snapshots can be taken of.

    Raises
    ------
    TypeError
        When the estimator is no `FineTunedCNNClassifier`.
    ValueError
        When it trains no tail, for fewer epochs than snapshots, or with a schedule of its own.
    """
    check_trains_tail(estimator, "snapshot")
    if count > estimator.epochs:
        msg = f"each of {count} snapshots takes at least one epoch, and the classifier trains for {estimator.epochs}"
        raise ValueError(f"{msg}; set 'epochs' higher, or 'n_estimators' lower")
    _, rate = describe_optimizer(make_optimizer(estimator.optimizer, estimator.learning_rate))
    if rate is None:
        msg = "method='snapshot' sets the learning rate itself, and the optimizer has a schedule"
        raise ValueError(f"{msg}; give it one number, which each cycle begins with")


def fit_snapshots(
    estimator: FineTunedCNNClassifier, images: ImageSequence, labels: Any, count: int, **params: Any
) -> list[FineTunedCNNClassifier]:
    """Fit once; return a classifier with the weights at the end of each cycle of the learning rate.

    Parameters
    ----------
    estimator : FineTunedCNNClassifier
        It becomes the last of them.
    images : ImageSequence
    labels : ndarray of shape (n_images,)
    count : int
        Number of cycles.
    **params
        As for the `fit` of the estimator.

    Returns
    -------
    list of `count` FineTunedCNNClassifier
        Their `history_` ends where they do.
    """
    from skcnn.training._restarts import CosineRestarts

    restarts = CosineRestarts(estimator.epochs, count)
    estimator._fit_with([restarts], images, labels, **params)
    before = len(estimator.history_) - estimator.epochs
    members = [copy.copy(estimator) for _ in restarts.snapshots[:-1]] + [estimator]
    for member, snapshot in zip(members, restarts.snapshots, strict=True):
        member.head_weights_, member.tail_weights_ = snapshot.head_weights, snapshot.tail_weights
        member.history_ = estimator.history_[: before + snapshot.epochs]
    return members
