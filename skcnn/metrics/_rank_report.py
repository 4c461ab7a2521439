"""`rank_report`: rank-k accuracy and the likeliest mistake of each class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from skcnn.metrics._rank import check_k, likeliest_columns, rank_true_labels
from skcnn.metrics._table import ScoreTable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def rank_report(
    y_true: ArrayLike, y_proba: ArrayLike, *, ranks: Sequence[int] = (1, 5), labels: ArrayLike | None = None
) -> ScoreTable:
    """Make a table of the rank-k accuracy of each class, and of the class it is most often taken for.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True labels, as in :func:`rank_k_accuracy_score`.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities or decision scores, as in :func:`rank_k_accuracy_score`.
    ranks : sequence of int, default=(1, 5)
        Values of k, each at least 1. A value that is not below the number of classes is left out: every class would be
        among the first k.
    labels : array-like of shape (n_classes,), default=None
        The label of each column, in any order: an estimator's ``classes_``. None takes the sorted labels of `y_true`,
        which is refused unless there are as many of them as columns.

    Returns
    -------
    ScoreTable
        A row "all", then one for each class that has samples, sorted. Columns: ``images``, the number of samples;
        ``rank-1``, ``rank-5`` (one for each of `ranks`), in [0, 1]; ``most confused with``, the class that samples of
        the row are most often mistaken for, the first in sorted order where several are, and None where there is no
        mistake; ``times``, how often.

    Raises
    ------
    ValueError
        When one of `ranks` is not an integer of at least 1, or for what :func:`rank_k_accuracy_score` refuses.

    See Also
    --------
    RankCurveDisplay : Rank-k accuracy of several estimators in one plot.

    Examples
    --------
    >>> from skcnn.metrics import rank_report
    >>> y_proba = [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]]
    >>> y_true = ["cat", "fox", "fox", "dog"]
    >>> print(rank_report(y_true, y_proba, ranks=(1, 2), labels=["cat", "dog", "fox"]))
         images  rank-1  rank-2  most confused with  times
    all       4  0.5000  0.7500  dog                     2
    cat       1  1.0000  1.0000                          0
    dog       1  1.0000  1.0000                          0
    fox       2  0.0000  0.5000  dog                     2
    """
    for k in ranks:
        check_k(k)
    ranking = rank_true_labels(y_true, y_proba, labels)
    predicted = ranking.classes[likeliest_columns(ranking.scores, ranking.classes)]
    wrong = ranking.ranks > 0
    columns: dict[str, Callable[[NDArray[np.bool_]], Any]] = {
        "images": np.count_nonzero,
        **{f"rank-{k}": partial(share_within, ranking.ranks, k) for k in ranks if k < len(ranking.classes)},
        "most confused with": lambda of: most_frequent(predicted[of & wrong])[0],
        "times": lambda of: most_frequent(predicted[of & wrong])[1],
    }
    return ScoreTable.by_class(ranking.true_labels, columns)


def share_within(true_ranks: NDArray[np.intp], k: int, of: NDArray[np.bool_]) -> float:
    """Return the rank-k accuracy of some of the samples."""
    return float(np.mean(true_ranks[of] < k))


def most_frequent(labels: NDArray[Any]) -> tuple[Any, int]:
    """Return the label there is most of, the first in sorted order if several are, and how often; or None and 0."""
    if len(labels) == 0:
        return None, 0
    unique, counts = np.unique(labels, return_counts=True)
    return unique[counts.argmax()], int(counts.max())
