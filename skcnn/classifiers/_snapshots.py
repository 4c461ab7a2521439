"""Snapshots: the members of an ensemble from one training, in which the learning rate falls to 0 several times."""

from __future__ import annotations

import copy
from typing import Any

from skcnn.classifiers._fine_tuned import FineTunedCNNClassifier
from skcnn.classifiers._members import Member, check_trains_tail
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


def fit_snapshots(member: Member, images: ImageSequence, labels: Any, count: int) -> list[FineTunedCNNClassifier]:
    """Fit once; return a classifier with the weights at the end of each cycle of the learning rate.

    Parameters
    ----------
    member : Member
        A `FineTunedCNNClassifier`, which becomes the last of them.
    images : ImageSequence
    labels : ndarray of shape (n_images,)
    count : int
        Number of cycles.

    Returns
    -------
    list of `count` FineTunedCNNClassifier
        Their `history_` ends where they do.
    """
    from skcnn.training._restarts import CosineRestarts

    last = member.estimator
    restarts = CosineRestarts(last.epochs, count)
    last._fit_with([restarts], images, labels, **member.params)
    history, before = last.history_, len(last.history_) - last.epochs
    fitted = [copy.copy(last) for _ in restarts.snapshots[:-1]] + [last]
    for each, snapshot in zip(fitted, restarts.snapshots, strict=True):
        each.head_weights_, each.tail_weights_ = snapshot.head_weights, snapshot.tail_weights
        each.history_ = history[: before + snapshot.epochs]
    return fitted
