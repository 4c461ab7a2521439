"""The members of an ensemble: their seeds, their fits, and errors that name the one that failed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from skcnn.classifiers._naming import naming
from skcnn.classifiers._network_classifier import NetworkClassifier
from skcnn.classifiers._wrapper import describe_estimator
from skcnn.images._sequence import ImageSequence


class Member(NamedTuple):
    """One classifier of an ensemble, to be fitted.

    Attributes
    ----------
    name : str
        In tables.
    title : str
        In messages.
    estimator : classifier
    params : dict
        Keyword arguments for its `fit`.
    """

    name: str
    title: str
    estimator: Any
    params: dict[str, Any]


def seeded_clone(estimator: Any, seed: int, *, only_unset: bool = False) -> Any:
    """Return a clone whose random states, nested ones too, are numbers drawn from a seed.

    Parameters
    ----------
    estimator : estimator
    seed : int
    only_unset : bool, default=False
        Whether random states that are not None are kept.
    """
    cloned = clone(estimator)
    random = check_random_state(seed)
    states = {}
    for name, value in sorted(cloned.get_params(deep=True).items(), key=lambda item: item[0]):
        if name == "random_state" or name.endswith("__random_state"):
            drawn = int(random.randint(np.iinfo(np.int32).max))
            if value is None or not only_unset:
                states[name] = drawn
    if states:
        cloned.set_params(**states)
    return cloned


def with_own_directories(members: Sequence[Member]) -> Sequence[Member]:
    """Give members that were told to keep their checkpoints in one directory each a directory of its own inside.

    The estimators of the members are changed.
    """
    given = [
        (member, name, value)
        for member in members
        for name, value in member.estimator.get_params(deep=True).items()
        if value is not None and (name == "checkpoint_dir" or name.endswith("__checkpoint_dir"))
    ]
    counts = Counter(os.fspath(value) for _, _, value in given)
    for member, name, value in given:
        if counts[os.fspath(value)] > 1:
            member.estimator.set_params(**{name: Path(value) / member.name.replace(" ", "-")})
    return members


def check_trains_tail(estimator: Any, method: str) -> None:
    """Refuse an estimator that does not train the tail of a network.

    Raises
    ------
    TypeError
        When it is no `NetworkClassifier`, such as `FineTunedCNNClassifier`.
    ValueError
        When its parameters are out of range, or leave nothing to train but the head.
    """
    if not isinstance(estimator, NetworkClassifier):
        msg = f"method={method!r} is for FineTunedCNNClassifier, and got {describe_estimator(estimator)}"
        hint = "; steps before it go around the ensemble: make_pipeline(step, CNNEnsembleClassifier(...))"
        raise TypeError(msg + (hint if isinstance(estimator, Pipeline) else ""))
    if not estimator._network().trains_layers(estimator._plan()):
        msg = f"method={method!r} needs members that train more than the head"
        raise ValueError(f"{msg}; got unfreeze={estimator.unfreeze!r} and epochs={estimator.epochs!r}")


def fit_members(
    members: Sequence[Member], images: ImageSequence, labels: np.ndarray, *, n_jobs: int | None = None
) -> list[Any]:
    """Fit each member.

    The first is fitted before the others: the activations of the images are in the cache then, and members that are
    fitted at the same time need not all compute it.

    Parameters
    ----------
    members : sequence of Member
        Their estimators are fitted in place, or, in other processes, copies of them.
    images : ImageSequence
    labels : ndarray of shape (n_images,)
    n_jobs : int, default=None
        As in joblib.

    Returns
    -------
    list of classifier
    """
    first, *others = members
    tasks = (delayed(fit_member)(member, images, labels) for member in others)
    return [fit_member(first, images, labels), *Parallel(n_jobs=n_jobs)(tasks)]


def fit_member(member: Member, images: ImageSequence, labels: np.ndarray) -> Any:
    """Fit one member; errors begin with its title."""
    with naming(member.title):
        return member.estimator.fit(images, labels, **member.params)


def check_same_classes(titles: Sequence[str], fitted: Sequence[Any]) -> np.ndarray:
    """Return the classes of all members.

    Raises
    ------
    ValueError
        When two members have different ones, or the same in another order.
    """
    expected = np.asarray(fitted[0].classes_)
    for title, member in zip(titles, fitted, strict=True):
        classes = np.asarray(member.classes_)
        if not np.array_equal(classes, expected):
            msg = f"{titles[0]} has the classes {shortened(expected)}, and {title} has {shortened(classes)}"
            raise ValueError(f"{msg}; the probabilities of members can be averaged only over the same classes")
    return expected


def shortened(classes: np.ndarray) -> str:
    """Return the first classes, and how many there are."""
    shown = ", ".join(map(repr, classes[:5].tolist()))
    return f"({shown})" if len(classes) <= 5 else f"({shown}, ..., {len(classes)} in all)"
