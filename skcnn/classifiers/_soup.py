"""Soups: one network whose weights are the average of several that were fine-tuned from the same weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, log_loss

from skcnn.classifiers._members import check_trains_tail
from skcnn.classifiers._network_classifier import NetworkClassifier
from skcnn.images._sequence import ImageSequence
from skcnn.training._state import Weights


def check_soup(members: Mapping[str, Any]) -> None:
    """Refuse members whose weights cannot be averaged.

    Parameters
    ----------
    members : mapping of str to classifier
        Not fitted, by what to call them in messages.

    Raises
    ------
    TypeError
        When one is no `NetworkClassifier`.
    ValueError
        When they do not share a trunk and a way of training the tail on it, or begin with different heads.
    """
    for name, member in members.items():
        check_trains_tail(member, "soup")
        if member._network().begins_at_random:
            msg = f"a soup averages networks that begin with the same weights, and those of {name} begin at random"
            raise ValueError(f"{msg}; leave head='probe', or give a LinearHead. CNNClassifier has average_weights=True")
    (first, reference), *others = members.items()
    network = reference._network()
    for name, member in others:
        differing = network.differences(member._network())
        if differing:
            msg = f"a soup averages networks that share a trunk, and {name} differs from {first}"
            raise ValueError(f"{msg} in {', '.join(differing)}; use method='independent' for them")


def greedy_soup(
    members: Sequence[NetworkClassifier],
    trained_on: ImageSequence,
    images: ImageSequence,
    labels: np.ndarray,
    sample_weight: Any = None,
) -> tuple[NetworkClassifier, np.ndarray, np.ndarray]:
    """Average members, the best first, as long as the accuracy on images that were held out does not fall.

    Source: Wortsman et al., "Model soups", arXiv 2203.05482. One thing is added: where the accuracy stays the same, the
    log loss must not rise. On a few hundred images the accuracy changes in steps of one image, the log loss does not.

    Parameters
    ----------
    members : sequence of NetworkClassifier
        Fitted, and checked by `check_soup` before.
    trained_on : ImageSequence
        The images that the members were fitted on: averaged weights have statistics of batch normalisation of their
        own.
    images : ImageSequence
        None that the members were fitted on.
    labels : ndarray of shape (n_images,)
    sample_weight : ndarray of shape (n_images,), default=None

    Returns
    -------
    soup : NetworkClassifier
    kept : ndarray of shape (n_members,), bool
        Which members are in it.
    scores : ndarray of shape (n_members,), float64
        The accuracy of each member on these images.
    """

    def judge(member: NetworkClassifier) -> tuple[float, float]:
        """Return accuracy and log likelihood. On few images several have the same accuracy, and the second decides."""
        probabilities = member.predict_proba(images)
        predicted = member.classes_[probabilities.argmax(axis=1)]
        loss = log_loss(labels, probabilities, sample_weight=sample_weight, labels=member.classes_)
        return float(accuracy_score(labels, predicted, sample_weight=sample_weight)), -float(loss)

    judged = [judge(member) for member in members]
    first, *others = sorted(range(len(members)), key=judged.__getitem__, reverse=True)
    kept, best = [first], judged[first]
    for index in others:
        tried = judge(average_networks([members[each] for each in [*kept, index]])._settled(trained_on))
        if tried >= best:
            kept, best = [*kept, index], tried
    soup = average_networks([members[index] for index in kept])._settled(trained_on)
    return soup, np.isin(np.arange(len(members)), kept), np.array([accuracy for accuracy, _ in judged])


def average_networks(members: Sequence[NetworkClassifier]) -> NetworkClassifier:
    """Return a classifier whose weights are the means of those of others. It has no history."""
    parts = zip(*(member._weights for member in members), strict=True)
    return members[0]._with_weights(Weights(*(average_weights(part) for part in parts)), [])


def average_weights(weights: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Return the mean of each array over several lists; of integers, such as seeds, the first."""
    return [
        np.mean(arrays, axis=0, dtype=np.float64).astype(arrays[0].dtype) if arrays[0].dtype.kind == "f" else arrays[0]
        for arrays in zip(*weights, strict=True)
    ]
