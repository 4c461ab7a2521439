import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skcnn.metrics import RankCurveDisplay, make_rank_k_scorer, rank_k_accuracy_score

pytestmark = pytest.mark.usefixtures("pyplot")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[::4], np.array([f"digit {label}" for label in y[::4]])


@pytest.fixture(scope="module")
def estimators(digits):
    """Probabilities, decisions, a search over a pipeline, and a classifier that knows seven classes of ten."""
    X, y = digits
    few = y < "digit 7"
    search = GridSearchCV(make_pipeline(MinMaxScaler(), LogisticRegression()), {"logisticregression__C": [0.1]}, cv=2)
    return {
        "Bayes": GaussianNB().fit(X, y),
        "ridge": RidgeClassifier().fit(X, y),
        "search": search.fit(X, y),
        "few": GaussianNB().fit(X[few], y[few]),
    }


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_curves_equal_the_scores_of_each_rank(estimators, digits):
    display = RankCurveDisplay.from_estimator(estimators, *digits)
    assert list(display.accuracies) == list(estimators)
    assert [len(curve) for curve in display.accuracies.values()] == [9, 9, 9, 6]
    for (name, curve), line in zip(display.accuracies.items(), display.lines_, strict=True):
        expected = [make_rank_k_scorer(k)(estimators[name], *digits) for k in range(1, len(curve) + 1)]
        assert curve.tolist() == line.get_ydata().tolist() == expected
        assert line.get_xdata().tolist() == list(range(1, len(curve) + 1))
        assert (np.diff(curve) >= 0).all()
    assert display.accuracies["few"][-1] < 0.75  # three classes are always missed
    assert legend(display) == [f"{name} (rank-1 {curve[0]:.3f})" for name, curve in display.accuracies.items()]
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("k", "rank-k accuracy")


def test_of_predictions(estimators, digits):
    X, y = digits
    proba = {name: estimators[name].predict_proba(X)[:, ::-1] for name in ("Bayes", "search")}
    labels = estimators["Bayes"].classes_[::-1]
    weights = np.linspace(0, 1, len(y))
    options = {"max_rank": 3, "sample_weight": weights}
    display = RankCurveDisplay.from_predictions(y, proba, labels=labels, **options)
    expected = [rank_k_accuracy_score(y, proba["Bayes"], k=k, labels=labels, sample_weight=weights) for k in (1, 2, 3)]
    assert display.accuracies["Bayes"].tolist() == expected
    of_estimators = RankCurveDisplay.from_estimator({name: estimators[name] for name in proba}, X, y, **options)
    for name, curve in of_estimators.accuracies.items():
        np.testing.assert_array_equal(display.accuracies[name], curve)
    alone = RankCurveDisplay.from_predictions(y, proba["Bayes"], labels=labels)
    assert legend(alone) == [f"classifier (rank-1 {alone.accuracies['classifier'][0]:.3f})"]


def test_one_estimator_and_a_list_of_named_ones(estimators, digits):
    display = RankCurveDisplay.from_estimator(estimators["Bayes"], *digits)
    assert list(display.accuracies) == ["GaussianNB"]
    pairs = [("b", estimators["Bayes"]), ("a", estimators["ridge"])]
    assert list(RankCurveDisplay.from_estimator(pairs, *digits, max_rank=1).accuracies) == ["b", "a"]


def test_it_draws_where_it_is_told_and_as_it_is_told(pyplot):
    figure, ax = pyplot.subplots()
    first = RankCurveDisplay({"a": [0.5, 0.8]}).plot(ax=ax, color="red", linestyle="--")
    second = RankCurveDisplay({"b": [0.6]}).plot(ax=ax)
    assert ax.get_xticks().tolist() == [1, 2]
    assert first.figure_ is second.figure_ is figure
    assert (first.lines_[0].get_color(), first.lines_[0].get_linestyle()) == ("red", "--")
    assert legend(second) == ["a (rank-1 0.500)", "b (rank-1 0.600)"]
    assert pyplot.get_fignums() == [figure.number]


def test_two_classes_have_one_rank():
    display = RankCurveDisplay.from_predictions([0, 1, 1], [0.2, 0.9, 0.3])
    assert display.accuracies["classifier"].tolist() == [2 / 3]


class Unreadable:
    """Images that must not be asked for."""

    def __array__(self, *args, **kwargs):
        raise AssertionError("read before the parameters were checked")


@pytest.mark.parametrize(
    ("estimator", "max_rank", "error", "message"),
    [
        ("Bayes", 0, ValueError, "'max_rank' must be an integer of at least 1. Got 0"),
        ({}, None, ValueError, "there is nothing to plot: no classifier was given"),
        ([("a", GaussianNB()), ("a", GaussianNB())], None, ValueError, r"a name of its own; got \['a', 'a'\]"),
        ([GaussianNB()], None, TypeError, r"given as \(name, estimator\) tuples or as a dict; one is GaussianNB"),
        (GaussianNB(), None, ValueError, "GaussianNB has no classes_.*Fit it first"),
        (LinearRegression(), None, ValueError, "LinearRegression has neither"),
    ],
    ids=["zero", "none", "same-names", "no-names", "unfitted", "regressor"],
)
def test_what_is_refused_before_anything_is_predicted(estimators, estimator, max_rank, error, message):
    given = estimators[estimator] if isinstance(estimator, str) else estimator
    with pytest.raises(error, match=message):
        RankCurveDisplay.from_estimator(given, Unreadable(), [0], max_rank=max_rank)


def test_a_curve_ends_below_the_number_of_classes():
    scores = {"three classes": [[0.5, 0.3, 0.2]] * 3}
    display = RankCurveDisplay.from_predictions([0, 1, 2], scores, max_rank=5)
    assert display.accuracies["three classes"].tolist() == [1 / 3, 2 / 3]


def test_without_matplotlib_nothing_is_predicted(estimators, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = r"RankCurveDisplay needs matplotlib.*pip install 'skcnn\[plots\]'"
    with pytest.raises(ImportError, match=said):
        RankCurveDisplay({"a": [0.5]}).plot()
    with pytest.raises(ImportError, match=said):
        RankCurveDisplay.from_estimator(estimators, Unreadable(), [0])
