"""Soups: one network whose weights are the average of several that were fine-tuned from the same weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, log_loss

from skcnn.backbones._tail import differences
from skcnn.classifiers._fine_tuned import FineTunedCNNClassifier
from skcnn.classifiers._members import check_trains_tail
from skcnn.images._sequence import ImageSequence
from skcnn.training import DenseHead


def check_soup(members: Mapping[str, Any]) -> None:
    """Refuse members whose weights cannot be averaged.

    Parameters
    ----------
    members : mapping of str to classifier
        Not fitted, by what to call them in messages.

    Raises
    ------
    TypeError
        When one is no `FineTunedCNNClassifier`.
    ValueError
        When they do not share a trunk and a way of training the tail on it, or begin with different heads.
    """
    for name, member in members.items():
        check_trains_tail(member, "soup")
        if isinstance(member.head, DenseHead):
            msg = f"a soup averages networks that begin with the same head, and that of {name} begins at random"
            raise ValueError(f"{msg}; leave head='probe', or give a LinearHead")
    (first, reference), *others = members.items()
    network = reference._tunable_network()
    for name, member in others:
        other = member._tunable_network()
        one, two = network.description, other.description
        if one is None or two is None:
            differing = [] if network.state() == other.state() else ["backbone, or the layers that are trained"]
        else:
            differing = differences(one, two)
        if differing:
            msg = f"a soup averages networks that share a trunk, and {name} differs from {first}"
            raise ValueError(f"{msg} in {', '.join(differing)}; use method='independent' for them")


def greedy_soup(
    members: Sequence[FineTunedCNNClassifier], images: ImageSequence, labels: np.ndarray, sample_weight: Any = None
) -> tuple[FineTunedCNNClassifier, np.ndarray, np.ndarray]:
    """Average members, the best first, as long as the accuracy on images that were held out does not fall.

    Source: Wortsman et al., "Model soups", arXiv 2203.05482. One thing is added: where the accuracy stays the same, the
    log loss must not rise. On a few hundred images the accuracy changes in steps of one image, the log loss does not.

    Parameters
    ----------
    members : sequence of FineTunedCNNClassifier
        Fitted, and checked by `check_soup` before.
    images : ImageSequence
        None that the members were fitted on.
    labels : ndarray of shape (n_images,)
    sample_weight : ndarray of shape (n_images,), default=None

    Returns
    -------
    soup : FineTunedCNNClassifier
    kept : ndarray of shape (n_members,), bool
        Which members are in it.
    scores : ndarray of shape (n_members,), float64
        The accuracy of each member on these images.
    """

    def judge(member: FineTunedCNNClassifier) -> tuple[float, float]:
        """Return accuracy and log likelihood. On few images several have the same accuracy, and the second decides."""
        probabilities = member.predict_proba(images)
        predicted = member.classes_[probabilities.argmax(axis=1)]
        loss = log_loss(labels, probabilities, sample_weight=sample_weight, labels=member.classes_)
        return float(accuracy_score(labels, predicted, sample_weight=sample_weight)), -float(loss)

    judged = [judge(member) for member in members]
    first, *others = sorted(range(len(members)), key=judged.__getitem__, reverse=True)
    kept, best = [first], judged[first]
    for index in others:
        tried = judge(average_networks([members[each] for each in [*kept, index]]))
        if tried >= best:
            kept, best = [*kept, index], tried
    soup = average_networks([members[index] for index in kept])
    return soup, np.isin(np.arange(len(members)), kept), np.array([accuracy for accuracy, _ in judged])


def average_networks(members: Sequence[FineTunedCNNClassifier]) -> FineTunedCNNClassifier:
    """Return a classifier whose weights are the means of those of others. It has no history."""
    averaged = copy.copy(members[0])
    averaged.head_weights_ = average_weights([member.head_weights_ for member in members])
    averaged.tail_weights_ = average_weights([member.tail_weights_ for member in members])
    averaged.history_ = []
    return averaged


def average_weights(weights: Sequence[list[np.ndarray]]) -> list[np.ndarray]:
    """Return the mean of each array over several lists; of what is no float, such as seeds, the first."""
    return [
        np.mean(arrays, axis=0, dtype=np.float64).astype(arrays[0].dtype) if arrays[0].dtype.kind == "f" else arrays[0]
        for arrays in zip(*weights, strict=True)
    ]
