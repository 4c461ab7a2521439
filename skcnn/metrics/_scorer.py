"""Scorers of rank-k accuracy for searches and cross-validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skcnn._private import BaseScorer
from skcnn.metrics._rank import (
    accuracy_within,
    check_k,
    one_dimensional,
    rank_k_accuracy_score,
    rank_true_labels,
    warn_of_perfect_score,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

# For which k and number of classes this process has said that the score means nothing. Python's own filter forgets
# what it has shown whenever scikit-learn sets filters, so that each fit of a search would say it again.
_said: set[tuple[int, int]] = set()

RESPONSE_METHODS = ("predict_proba", "decision_function")


def make_rank_k_scorer(k: int) -> Callable[..., float]:
    """Make a scorer of rank-k accuracy for ``scoring=`` in searches and cross-validation.

    The scorer reads ``predict_proba``, or ``decision_function`` of an estimator that has no probabilities, and takes
    the label of each column from ``estimator.classes_`` (also that of a pipeline or search), so a label that the
    training fold lacked is a miss and shifts no column. In a dictionary of scorers (``{"rank1": rank1,
    "rank5": rank5}``) all of them together ask an estimator of three or more classes for its probabilities once per
    fold.

    Parameters
    ----------
    k : int
        How many classes a sample may name, at least 1. Where the estimator knows no more classes than that, the score
        is 1.0, and a warning says so once in a process.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y, sample_weight=None)`` returns a float in [0, 1]; higher is better. It can be pickled
        and cloned. With metadata routing enabled, ``scorer.set_score_request(sample_weight=True)`` asks for weights;
        it changes the scorer, so call it on one of your own rather than on the shared ``rank1`` or ``rank5``.

        The scorer raises ValueError if the estimator has neither method or no ``classes_``, and for whatever
        :func:`rank_k_accuracy_score` refuses.

    Raises
    ------
    ValueError
        If `k` is not an integer of at least 1.

    See Also
    --------
    rank_k_accuracy_score : The score itself.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.model_selection import cross_val_score
    >>> from skcnn.metrics import make_rank_k_scorer
    >>> X, y = load_iris(return_X_y=True)
    >>> scorer = make_rank_k_scorer(2)
    >>> scorer
    make_rank_k_scorer(2)
    >>> cross_val_score(DummyClassifier(strategy="constant", constant=0), X, y, scoring=scorer, cv=2).round(2)
    array([0.67, 0.67])
    """
    check_k(k)
    return _RankKScorer(int(k))


# The private base costs a look at each scikit-learn release. It buys what no public class offers: in a dictionary of
# scorers scikit-learn hands its cached predictions only to a BaseScorer, and a network is too slow to run once per
# scorer; set_score_request comes with it. make_scorer, the public way to one, never shows the score function the
# estimator's classes_. We rely on little: the constructor, and _score(method_caller, estimator, X, y, **metadata).
class _RankKScorer(BaseScorer):
    """Score an estimator by rank-k accuracy; made by :func:`make_rank_k_scorer`."""

    def __init__(self, k: int):
        super().__init__(_score_function, 1, {"k": k}, response_method=RESPONSE_METHODS)
        self.k = k

    def __call__(self, estimator: Any, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the rank-k accuracy of a fitted estimator on X and y."""
        return self._score(_call, estimator, X, y, sample_weight=sample_weight)

    def __repr__(self) -> str:
        return f"make_rank_k_scorer({self.k})"

    def _score(
        self,
        method_caller: Callable[..., Any],
        estimator: Any,
        X: Any,
        y_true: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        classes = classes_of(estimator)
        scores = class_scores(estimator, X, method_caller)
        ranking = rank_true_labels(y_true, scores, classes)
        case = self.k, len(classes)
        if self.k >= len(classes) and case not in _said:
            _said.add(case)
            warn_of_perfect_score(*case)
        return accuracy_within(self.k, ranking, sample_weight)


def _score_function(y_true, y_pred, sample_weight=None, **kwargs):
    # Scikit-learn reads the metadata a scorer may request off this signature: sample_weight, not k or labels.
    return rank_k_accuracy_score(y_true, y_pred, sample_weight=sample_weight, **kwargs)


def _call(estimator: Any, method: str, X: Any) -> Any:
    return getattr(estimator, method)(X)


def class_scores(estimator: Any, X: Any, method_caller: Callable[..., Any] = _call) -> Any:
    """Return the predictions of a fitted estimator, for `rank_k_accuracy_score` with its `classes_` as labels."""
    method = _response_method(estimator)
    if len(classes_of(estimator)) != 2:
        return method_caller(estimator, method, X)
    # Scikit-learn caches one column for two classes, and whichever class another scorer named as positive.
    scores = np.asarray(_call(estimator, method, X))
    if method == "decision_function" and scores.ndim == 1:
        # A fold whose decisions all lie in [0, 1] would pass for probabilities.
        scores = np.column_stack([np.zeros_like(scores), scores])
    return scores


def _response_method(estimator: Any) -> str:
    for method in RESPONSE_METHODS:
        if hasattr(estimator, method):
            return method
    msg = (
        f"Rank-k accuracy ranks the classes by predict_proba or decision_function; {type(estimator).__name__} has "
        "neither. Use a classifier that has one of them, or score its predict with scoring='accuracy'."
    )
    raise ValueError(msg)


def classes_of(estimator: Any) -> NDArray[Any]:
    """Return the labels of an estimator's score columns, or raise ValueError if it has no scores or no labels."""
    _response_method(estimator)
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        msg = (
            f"{type(estimator).__name__} has no classes_, so its score columns have no labels. Fit it first, or use a "
            "classifier that sets classes_."
        )
        raise ValueError(msg)
    name = f"classes_ of {type(estimator).__name__}"
    return one_dimensional(classes, name, "Rank-k accuracy is for one label per sample: score each output by itself.")


rank1 = make_rank_k_scorer(1)
rank5 = make_rank_k_scorer(5)
