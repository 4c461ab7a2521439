"""Snapshots: the members of an ensemble from one training, in which the learning rate falls to 0 several times."""

from __future__ import annotations

import itertools
from typing import Any

from skcnn.classifiers._members import Member, check_trains_tail
from skcnn.classifiers._network_classifier import NetworkClassifier
from skcnn.images._sequence import ImageSequence
from skcnn.training import CosineDecay
from skcnn.training._optimizers import describe_optimizer
from skcnn.training._schedules import AUTO, split_epochs


def check_snapshots(estimator: Any, count: int) -> None:
    """Refuse settings that snapshots cannot be taken with.

    Raises
    ------
    TypeError
        When the estimator is no `NetworkClassifier`.
    ValueError
        When it trains no tail, for fewer epochs than snapshots, with a schedule of its own, or stops early.
    """
    check_trains_tail(estimator, "snapshot")
    if count > estimator.epochs:
        msg = f"each of {count} snapshots takes at least one epoch, and the classifier trains for {estimator.epochs}"
        raise ValueError(f"{msg}; set 'epochs' higher, or 'n_estimators' lower")
    plan = estimator._plan()
    if plan.schedule not in (None, AUTO) or describe_optimizer(plan.optimizer)[1] is None:
        msg = "method='snapshot' sets the learning rate itself, and there is a schedule"
        raise ValueError(f"{msg}; give schedule='auto', and one number, which each cycle begins with")
    if plan.early_stopping is not None or plan.average_weights or plan.shrinkage not in (None, AUTO):
        msg = "method='snapshot' keeps the weights at the end of each cycle"
        raise ValueError(f"{msg}; set 'early_stopping' and 'average_weights' to False, and 'shrinkage' to None")
    if estimator.checkpoint_dir is not None:
        raise ValueError("a checkpoint holds no snapshots; method='snapshot' needs checkpoint_dir=None")


def fit_snapshots(member: Member, images: ImageSequence, labels: Any, count: int) -> list[NetworkClassifier]:
    """Fit once; return a classifier with the weights at the end of each cycle of the learning rate.

    Parameters
    ----------
    member : Member
        A `NetworkClassifier`.
    images : ImageSequence
    labels : ndarray of shape (n_images,)
    count : int
        Number of cycles.

    Returns
    -------
    list of `count` NetworkClassifier
        Their `history_` ends where they do.
    """
    from skcnn.training._callbacks import Snapshots

    last = member.estimator
    snapshots = Snapshots(itertools.accumulate(split_epochs(last.epochs, count)))
    last._fit(images, labels, **member.params, schedule=CosineDecay(0, count), snapshots=snapshots)
    history, before = last.history_, len(last.history_) - last.epochs
    return [last._with_weights(weights, history[: before + epochs]) for epochs, weights in snapshots.kept.items()]
