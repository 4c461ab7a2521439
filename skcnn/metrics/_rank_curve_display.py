"""`RankCurveDisplay`: rank-1 to rank-n accuracy of one or several classifiers in one plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from skcnn._optional import check_matplotlib, new_axes
from skcnn.metrics._rank import Ranking, check_k, check_sample_weight, rank_true_labels
from skcnn.metrics._scorer import class_scores, classes_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

MAX_RANK = 10
MOST_TICKS = 20


class RankCurveDisplay:
    """Rank-1 to rank-n accuracy of one or several classifiers in one plot.

    Such a curve is also called a cumulative match characteristic (CMC). `from_estimator` and `from_predictions` compute
    and draw it; `plot` draws it again.

    Parameters
    ----------
    accuracies : dict of str to array-like of shape (max_rank,)
        Of each classifier, by name: rank-1 accuracy, rank-2 accuracy and so on, in [0, 1].

    Attributes
    ----------
    accuracies : dict of str to ndarray of shape (max_rank,), float64
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    lines_ : list of matplotlib.lines.Line2D
        One for each classifier.

    See Also
    --------
    rank_report : Rank-k accuracy of each class, as a table.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skcnn.metrics import RankCurveDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> classifiers = {"Bayes": GaussianNB().fit(X, y), "tree": DecisionTreeClassifier(max_depth=1).fit(X, y)}
    >>> display = RankCurveDisplay.from_estimator(classifiers, X, y)  # doctest: +SKIP
    >>> display.figure_.savefig("ranks.png")  # doctest: +SKIP
    """

    def __init__(self, accuracies: Mapping[str, ArrayLike]):
        self.accuracies = {name: np.asarray(curve, np.float64) for name, curve in accuracies.items()}

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        max_rank: int | None = None,
        sample_weight: ArrayLike | None = None,
        ax: Any = None,
        **line_options: Any,
    ) -> RankCurveDisplay:
        """Plot the rank-k accuracy of fitted classifiers.

        Parameters
        ----------
        estimator : estimator, dict of str to estimator, or list of (name, estimator) tuples
            Fitted, with ``classes_`` and `predict_proba` or `decision_function`. A single one is named by its class.
        X : images
            Or whatever the estimators take; each is given all of it.
        y : array-like of shape (n_samples,)
            True labels. A label that an estimator does not know is a miss.
        max_rank : int, default=None
            The last rank. None ends each curve at rank 10. Each curve ends below the number of classes, from which on
            it would be 1.0.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights in [0, inf). None weighs every sample alike.
        ax : matplotlib.axes.Axes, default=None
            Where to draw. None makes a figure.
        **line_options
            For `matplotlib.axes.Axes.plot`, such as ``linestyle``.

        Returns
        -------
        RankCurveDisplay

        Raises
        ------
        ValueError
            When `max_rank` is not an integer of at least 1, when an estimator is not fitted or has no scores of
            classes, or for what :func:`rank_k_accuracy_score` refuses.
        ImportError
            When matplotlib is not installed.
        """
        check_matplotlib(cls.__name__)
        estimators = by_name(estimator)
        last_rank(max_rank)
        for each in estimators.values():
            classes_of(each)
        accuracies = {}
        for name, each in estimators.items():
            ranking = rank_true_labels(y, class_scores(each, X), classes_of(each))
            accuracies[name] = rank_accuracies(ranking, max_rank, sample_weight)
        return cls(accuracies).plot(ax=ax, **line_options)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_proba: ArrayLike | Mapping[str, ArrayLike],
        *,
        labels: ArrayLike | None = None,
        max_rank: int | None = None,
        sample_weight: ArrayLike | None = None,
        ax: Any = None,
        **line_options: Any,
    ) -> RankCurveDisplay:
        """Plot the rank-k accuracy of predictions.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            True labels, as in :func:`rank_k_accuracy_score`.
        y_proba : array-like of shape (n_samples, n_classes) or (n_samples,), or dict of str to such
            Probabilities or decision scores, as in :func:`rank_k_accuracy_score`; of several classifiers by name.
        labels : array-like of shape (n_classes,), default=None
            The label of each column, in any order. None takes the sorted labels of `y_true`.
        max_rank, sample_weight, ax, **line_options
            As of `from_estimator`.

        Returns
        -------
        RankCurveDisplay

        Raises
        ------
        ValueError
            When `max_rank` is not an integer of at least 1, or for what :func:`rank_k_accuracy_score` refuses.
        ImportError
            When matplotlib is not installed.
        """
        predictions = y_proba if isinstance(y_proba, Mapping) else {"classifier": y_proba}
        accuracies = {
            name: rank_accuracies(rank_true_labels(y_true, scores, labels), max_rank, sample_weight)
            for name, scores in predictions.items()
        }
        return cls(accuracies).plot(ax=ax, **line_options)

    def plot(self, *, ax: Any = None, **line_options: Any) -> RankCurveDisplay:
        """Plot the curves.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw. None makes a figure.
        **line_options
            For `matplotlib.axes.Axes.plot`, such as ``linestyle``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            When there is no curve.
        ImportError
            When matplotlib is not installed.
        """
        if not self.accuracies:
            raise ValueError("there is nothing to plot: no classifier was given")
        check_matplotlib(type(self).__name__)
        (self.ax_,) = [ax] if ax is not None else new_axes(1, size=(5, 3.5))
        self.figure_ = self.ax_.figure
        self.lines_ = []
        for name, curve in self.accuracies.items():
            options = {"marker": "o", "markersize": 4, "label": f"{name} (rank-1 {curve[0]:.3f})", **line_options}
            self.lines_ += self.ax_.plot(np.arange(1, len(curve) + 1), curve, **options)
        self.ax_.set(xlabel="k", ylabel="rank-k accuracy")
        if (last := int(self.ax_.dataLim.x1)) <= MOST_TICKS:
            self.ax_.set_xticks(range(1, last + 1))
        self.ax_.legend(loc="lower right")
        return self


def by_name(estimators: Any) -> dict[str, Any]:
    """Return a dict of one or several estimators."""
    if isinstance(estimators, Mapping):
        return dict(estimators)
    if not isinstance(estimators, (list, tuple)):
        return {type(estimators).__name__: estimators}
    for pair in estimators:
        if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)):
            raise TypeError(
                f"several estimators are given as (name, estimator) tuples or as a dict; one is {type(pair).__name__}"
            )
    named = dict(estimators)
    if len(named) < len(estimators):
        raise ValueError(f"each estimator needs a name of its own; got {[name for name, _ in estimators]}")
    return named


def last_rank(max_rank: int | None) -> int:
    if max_rank is None:
        return MAX_RANK
    check_k(max_rank, name="max_rank")
    return max_rank


def rank_accuracies(ranking: Ranking, max_rank: int | None, sample_weight: ArrayLike | None) -> NDArray[np.float64]:
    """Return the accuracy of each rank, shape (max_rank,)."""
    weights = check_sample_weight(sample_weight, len(ranking.ranks))
    last = max(1, min(last_rank(max_rank), len(ranking.classes) - 1))
    ranks = range(1, last + 1)
    return np.array([np.average(ranking.ranks < k, weights=weights) for k in ranks])
