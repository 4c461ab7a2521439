"""Rank-k accuracy: every score column belongs to a class, and stays with it."""

from __future__ import annotations

import warnings
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def rank_k_accuracy_score(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    k: int,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    normalize: bool = True,
) -> float:
    """Share of samples whose true label is among the k highest-scored classes.

    Unlike :func:`sklearn.metrics.top_k_accuracy_score`, it takes `labels` in any order, two columns for two classes,
    and true labels that have no column: a fold whose training part lacked a class is scored, and those samples are
    misses. Where scikit-learn's function gives a score, this one gives the same.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True labels: strings, integers or booleans. A label that is not in `labels` is a miss.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Finite probabilities or decision scores, any numeric dtype; higher is likelier. With two classes a single
        score per sample (shape (n_samples,) or (n_samples, 1)) speaks for the second one in sorted order, or for
        ``labels[1]`` when `labels` is given; its threshold is 0.5 when all scores are in [0, 1], otherwise 0.
    k : int
        How many classes a sample may name, at least 1. From the number of classes on, every class is among the first k.
    labels : array-like of shape (n_classes,), default=None
        The label of each column, in any order: an estimator's ``classes_``. None takes the sorted labels of `y_true`,
        which is refused unless there are as many of them as columns.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights in [0, inf). None weighs every sample alike.
    normalize : bool, default=True
        False returns the number (or total weight) of the hits, not their share.

    Returns
    -------
    score : float
        In [0, 1], or in [0, n_samples] (total weight) with ``normalize=False``; higher is better.

    Raises
    ------
    ValueError
        If `k` is not an integer of at least 1; if lengths disagree or there are no samples; if a score is not
        finite; if `labels` has duplicates, cannot be sorted, or is needed and was not given; if a true label is
        missing (None or NaN); if one of `y_true` and `labels` holds strings and the other does not.

    Warns
    -----
    UndefinedMetricWarning
        If `k` is not below the number of classes: every sample whose label has a column is a hit then.

    See Also
    --------
    make_rank_k_scorer : The same score as a ``scoring=`` argument.

    Notes
    -----
    Ties are broken as scikit-learn breaks them: among equal scores the class that sorts last comes first, except
    between two classes, where the first wins (as in ``predict``). The order of the columns plays no part.

    Examples
    --------
    >>> from skcnn.metrics import rank_k_accuracy_score
    >>> y_proba = [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.7, 0.1]]
    >>> y_true = ["cat", "fox", "fox"]
    >>> round(rank_k_accuracy_score(y_true, y_proba, k=1, labels=["cat", "dog", "fox"]), 3)
    0.333
    >>> round(rank_k_accuracy_score(y_true, y_proba, k=2, labels=["cat", "dog", "fox"]), 3)
    0.667
    """
    check_k(k)
    ranking = rank_true_labels(y_true, y_proba, labels)
    if k >= len(ranking.classes):
        warn_of_perfect_score(k, len(ranking.classes))
    return accuracy_within(k, ranking, sample_weight, normalize=normalize)


def accuracy_within(k: int, ranking: Ranking, sample_weight: ArrayLike | None, *, normalize: bool = True) -> float:
    """Return the share, or the number, of the samples whose true label is among the k highest-scored classes."""
    hits = ranking.ranks < min(k, len(ranking.classes))
    weights = check_sample_weight(sample_weight, len(hits), normalize=normalize)
    if normalize:
        return float(np.average(hits, weights=weights))
    return float(hits.sum() if weights is None else np.dot(hits, weights))


class Ranking(NamedTuple):
    """Labels and scores that were checked, and the rank of each true label.

    `true_labels` and `ranks` have shape (n_samples,), `classes` (n_classes,), `scores` (n_samples, n_classes) with a
    column for each class. `ranks` counts the classes that come before the true one: 0 is a hit of rank 1. It is
    n_classes where the true label has no column.
    """

    true_labels: NDArray[Any]
    classes: NDArray[Any]
    scores: NDArray[Any]
    ranks: NDArray[np.intp]


def rank_true_labels(y_true: ArrayLike, y_proba: ArrayLike, labels: ArrayLike | None) -> Ranking:
    """Check the arguments of `rank_k_accuracy_score`, and rank the true labels.

    Raises
    ------
    ValueError
        As `rank_k_accuracy_score` does.
    """
    true_labels = _check_y_true(y_true)
    scores = _check_scores(y_proba, len(true_labels))
    classes = _check_labels(labels, true_labels, scores)
    if scores.ndim == 1 or (scores.shape[1] == 1 and len(classes) == 2):
        scores = _two_columns(scores.ravel())
    if scores.shape[1] != len(classes):
        msg = (
            f"y_proba scores {scores.shape[1]} classes, labels names {len(classes)}. Pass one label for each column, "
            "in the order of the columns: labels=estimator.classes_."
        )
        raise ValueError(msg)
    columns = _columns_of(true_labels, classes)
    ranks = np.where(columns >= 0, _true_ranks(scores, columns, classes), len(classes))
    return Ranking(true_labels, classes, scores, ranks)


def likeliest_columns(scores: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.intp]:
    """For each sample, return the column that no class comes before (int, shape (n_samples,))."""
    order = np.argsort(classes, kind="stable")
    # Among equal scores argmax takes the first.
    order = order if len(classes) == 2 else order[::-1]
    columns: NDArray[np.intp] = order[scores[:, order].argmax(axis=1)]
    return columns


def _true_ranks(scores: NDArray[Any], columns: NDArray[np.intp], classes: NDArray[Any]) -> NDArray[np.intp]:
    """For each sample, count the classes that come before the one in its true column (int, shape (n_samples,))."""
    # Ties go by sorted label, not by column: the same scores in another column order give the same ranks.
    position = np.empty(len(classes), dtype=np.intp)
    position[np.argsort(classes, kind="stable")] = np.arange(len(classes))
    own_position = position[columns][:, np.newaxis]
    own_score = np.take_along_axis(scores, columns[:, np.newaxis], axis=1)
    wins_tie = position < own_position if len(classes) == 2 else position > own_position
    before: NDArray[np.bool_] = (scores > own_score) | ((scores == own_score) & wins_tie)
    return before.sum(axis=1)


def _columns_of(true_labels: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.intp]:
    """Return the column of each true label, -1 where it has none."""
    column_of = {label: column for column, label in enumerate(classes.tolist())}
    if len(column_of) != len(classes):
        unique, counts = np.unique(classes, return_counts=True)
        msg = f"labels must differ from column to column. Got {unique[counts > 1].tolist()} more than once."
        raise ValueError(msg)
    listed = true_labels.tolist()
    if {isinstance(label, str) for label in listed}.isdisjoint({isinstance(label, str) for label in column_of}):
        # Scored, this would be a plausible-looking 0.0.
        msg = (
            f"No label of y_true can be a column: y_true holds {_kind(listed[0])} such as {listed[0]!r}, the columns "
            f"{_kind(next(iter(column_of)))} such as {next(iter(column_of))!r}. Convert one of them."
        )
        raise ValueError(msg)
    return np.array([column_of.get(label, -1) for label in listed], dtype=np.intp)


def _kind(label: object) -> str:
    return "strings" if isinstance(label, str) else f"values of type {type(label).__name__}"


def _two_columns(scores: NDArray[Any]) -> NDArray[Any]:
    threshold = 0.5 if scores.min() >= 0 and scores.max() <= 1 else 0.0
    return np.column_stack([np.full_like(scores, threshold, dtype=np.float64), scores])


def check_k(k: Any, *, name: str = "k") -> None:
    if not isinstance(k, (int, np.integer)) or isinstance(k, bool) or k < 1:
        msg = f"'{name}' must be an integer of at least 1. Got {k!r}."
        raise ValueError(msg)


def warn_of_perfect_score(k: int, n_classes: int) -> None:
    """Warn that every class is among the first k, as scikit-learn's `top_k_accuracy_score` does."""
    from sklearn.exceptions import UndefinedMetricWarning

    remedy = f"choose k from 1 to {n_classes - 1}" if n_classes > 1 else "one class leaves nothing to rank"
    msg = f"rank-{k} accuracy of {n_classes} class{'es' * (n_classes != 1)} is always 1.0 and says nothing; {remedy}"
    warnings.warn(msg, UndefinedMetricWarning, stacklevel=3)


def one_dimensional(values: Any, name: str, remedy: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError as error:
        msg = f"{name} must be a flat list of labels. Got entries of different lengths. {remedy}"
        raise ValueError(msg) from error
    if array.ndim == 2 and array.shape[1] == 1:
        array = array.ravel()
    if array.ndim != 1:
        msg = f"{name} must be a flat list of labels. Got shape {array.shape}. {remedy}"
        raise ValueError(msg)
    return array


def _check_y_true(y_true: ArrayLike) -> NDArray[Any]:
    array = one_dimensional(y_true, "y_true", "Turn one-hot rows into labels: classes[y_true.argmax(axis=1)].")
    if len(array) == 0:
        msg = "y_true is empty: no samples, no accuracy. Pass at least one sample."
        raise ValueError(msg)
    # Only NaN differs from itself.
    missing = [
        i for i, label in enumerate(array.tolist()) if label is None or (isinstance(label, Real) and label != label)
    ]
    if missing:
        msg = f"y_true has {len(missing)} missing labels (None or NaN), the first at {missing[0]}. Drop those samples."
        raise ValueError(msg)
    return array


def _check_scores(y_proba: ArrayLike, n_samples: int) -> NDArray[Any]:
    try:
        scores = np.asarray(y_proba)
        if scores.dtype.kind not in "biuf":
            scores = scores.astype(np.float64)
    except (TypeError, ValueError) as error:
        msg = (
            "y_proba must be numbers of shape (n_samples, n_classes): the result of predict_proba or decision_function."
        )
        raise ValueError(msg) from error
    if scores.ndim not in (1, 2):
        msg = f"y_proba must have shape (n_samples, n_classes), or (n_samples,) for two classes. Got {scores.shape}."
        raise ValueError(msg)
    if len(scores) != n_samples:
        msg = f"y_true has {n_samples} samples, y_proba {len(scores)}. Pass one row of scores for each label."
        raise ValueError(msg)
    bad = np.flatnonzero(~np.isfinite(scores.reshape(n_samples, -1)).all(axis=1))
    if len(bad):
        msg = (
            f"y_proba must be finite. Got NaN or infinity in {len(bad)} of {n_samples} rows, the first at {bad[0]}. "
            "Drop those samples (unreadable images?) or find out whether training diverged."
        )
        raise ValueError(msg)
    return scores


def _check_labels(labels: ArrayLike | None, true_labels: NDArray[Any], scores: NDArray[Any]) -> NDArray[Any]:
    try:
        if labels is not None:
            classes = one_dimensional(labels, "labels", "Pass labels=estimator.classes_.")
            np.sort(classes)
            return classes
        classes = np.unique(true_labels)
    except TypeError as error:
        source = "y_true" if labels is None else "labels"
        msg = f"{source} mixes types that cannot be sorted ({error}). Make them all strings or all numbers."
        raise ValueError(msg) from error
    n_columns = 2 if scores.ndim == 1 or scores.shape[1] == 1 else scores.shape[1]
    if len(classes) != n_columns:
        msg = (
            f"y_true holds {len(classes)} distinct labels, y_proba scores {n_columns} classes, so the columns cannot "
            "be told apart. Say which label each column is: labels=estimator.classes_."
        )
        raise ValueError(msg)
    return classes


def check_sample_weight(
    sample_weight: ArrayLike | None, n_samples: int, *, normalize: bool = True
) -> NDArray[Any] | None:
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (n_samples,):
        msg = f"sample_weight must have shape ({n_samples},), one weight for each label. Got shape {weights.shape}."
        raise ValueError(msg)
    if not np.isfinite(weights).all() or (weights < 0).any():
        msg = f"sample_weight must be finite and not negative. Got values from {weights.min()} to {weights.max()}."
        raise ValueError(msg)
    if normalize and not weights.any():
        msg = "sample_weight is 0 for every sample, so no share can be taken. Give some sample a positive weight."
        raise ValueError(msg)
    return weights
