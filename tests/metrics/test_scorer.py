"""Scorers: columns that stay with their classes, one prediction for several, folds that lack a class."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_iris, make_classification
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, brier_score_loss, make_scorer, top_k_accuracy_score
from sklearn.model_selection import GridSearchCV, PredefinedSplit, cross_val_score, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import skcnn.metrics
from skcnn.metrics import make_rank_k_scorer, rank1, rank5

ANIMALS = ["cat", "dog", "fox", "owl"]
PROBA = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4], [0.2, 0.5, 0.2, 0.1], [0.3, 0.1, 0.4, 0.2]])
# The rank of each sample's true label, read off the rows above: 1, 2, 4, 4 (owl is last in the third row).
TRUE = np.array(["cat", "fox", "owl", "dog"])


class RowsAsScores(ClassifierMixin, BaseEstimator):
    """Predicts the very rows of X as probabilities, for the classes it saw."""

    calls = 0

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        type(self).calls += 1
        return np.asarray(X)[:, : len(self.classes_)]

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class RowsAsDecisions(ClassifierMixin, BaseEstimator):
    """Like RowsAsScores, but with decisions only: one per sample when there are two classes."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        X = np.asarray(X)
        return X[:, 0] if len(self.classes_) == 2 else X[:, : len(self.classes_)]


@pytest.fixture
def many_classes():
    """300 samples of 8 classes with string labels."""
    X, y = make_classification(
        n_samples=300, n_features=12, n_informative=8, n_classes=8, n_clusters_per_class=1, random_state=0
    )
    return X, np.array([f"class {i}" for i in range(8)])[y]


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_public_names():
    assert skcnn.metrics.__all__ == sorted(skcnn.metrics.__all__)
    assert [repr(rank1), repr(rank5)] == ["make_rank_k_scorer(1)", "make_rank_k_scorer(5)"]
    assert repr(make_rank_k_scorer(np.int64(3))) == "make_rank_k_scorer(3)"


def test_scorer_equals_the_function(many_classes):
    X, y = many_classes
    estimator = GaussianNB().fit(X, y)
    expected = top_k_accuracy_score(y, estimator.predict_proba(X), k=5)
    assert rank5(estimator, X, y) == expected
    assert rank1(estimator, X, y) == accuracy_score(y, estimator.predict(X))
    assert rank5(estimator, X, y) > rank1(estimator, X, y)


def test_scorer_reads_decision_function_of_pipelines_and_searches(many_classes):
    X, y = many_classes
    pipeline = make_pipeline(StandardScaler(), LinearSVC(random_state=0))
    search = GridSearchCV(pipeline, {"linearsvc__C": [0.1, 1.0]}, scoring=rank5, cv=2).fit(X, y)
    expected = top_k_accuracy_score(y, search.best_estimator_.decision_function(X), k=5)
    assert rank5(search, X, y) == search.score(X, y) == expected


def test_scorer_counts_labels_the_training_fold_lacked_as_misses():
    X = np.array([[0.9, 0.1, 0.0, 0], [0.1, 0.9, 0.0, 0], [0.0, 0.1, 0.9, 0], [0.1, 0.1, 0.8, 0]])
    estimator = RowsAsScores().fit(X[:3], ["cat", "dog", "fox"])
    # A fold in which 'bee' sorts first would shift every column of a scorer that sorts the labels it is given.
    assert rank1(estimator, X, ["bee", "dog", "fox", "fox"]) == 0.75


@pytest.mark.parametrize("as_dictionary", [False, True])
def test_fold_without_a_class_in_cross_validation(as_dictionary):
    X, y = load_iris(return_X_y=True)
    y = np.array(["b", "c", "d"])[y]
    X, y = np.vstack([X, X[:10] + 30]), np.append(y, ["a"] * 10)
    # All of 'a' is evaluated in fold 0, so that fold is trained on three classes and asked about four.
    folds = PredefinedSplit(np.where(y == "a", 0, np.arange(len(y)) % 2))
    train, test = next(folds.split())
    estimator = GaussianNB()
    fitted = clone(estimator).fit(X[train], y[train])
    scoring = {"rank1": rank1, "rank2": make_rank_k_scorer(2)} if as_dictionary else {"rank1": rank1}
    scores = cross_validate(estimator, X, y, cv=folds, scoring=scoring, error_score="raise")
    assert scores["test_rank1"][0] == accuracy_score(y[test], fitted.predict(X[test])) < 0.9
    assert scores["test_rank1"][1] > 0.9


def test_search_over_several_metrics_with_refit(many_classes):
    X, y = many_classes
    search = GridSearchCV(
        GaussianNB(),
        {"var_smoothing": [1e-9, 10.0]},
        scoring={"rank1": rank1, "rank5": rank5, "accuracy": "accuracy"},
        refit="rank5",
        cv=3,
    ).fit(X, y)
    assert search.best_score_ == search.cv_results_["mean_test_rank5"].max()
    np.testing.assert_array_equal(search.cv_results_["mean_test_rank1"], search.cv_results_["mean_test_accuracy"])
    assert (search.cv_results_["mean_test_rank5"] >= search.cv_results_["mean_test_rank1"]).all()
    assert search.score(X, y) == rank5(search, X, y)


@pytest.mark.slow
def test_search_in_processes_and_its_pickle(many_classes):
    X, y = many_classes
    search = GridSearchCV(GaussianNB(), {"var_smoothing": [1e-9, 1e-1]}, scoring=make_rank_k_scorer(3), cv=2)
    alone = clone(search).fit(X, y).cv_results_["mean_test_score"]
    parallel = clone(search).set_params(n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(parallel.cv_results_["mean_test_score"], alone)
    assert pickle.loads(pickle.dumps(parallel)).score(X, y) == parallel.score(X, y)
    assert "scoring=make_rank_k_scorer(3)" in repr(search)


def test_scorer_survives_pickle_and_clone(many_classes):
    X, y = many_classes
    estimator = GaussianNB().fit(X, y)
    for copied in (pickle.loads(pickle.dumps(rank5)), clone(rank5, safe=False)):
        assert repr(copied) == repr(rank5)
        assert copied(estimator, X, y) == rank5(estimator, X, y)


def test_scorers_in_a_dictionary_share_one_prediction_per_fold():
    rng = np.random.default_rng(0)
    X = rng.random((60, 6))
    y = np.array([f"class {i}" for i in range(6)])[np.arange(60) % 6]
    RowsAsScores.calls = 0
    scores = cross_validate(RowsAsScores(), X, y, scoring={"rank1": rank1, "rank5": rank5}, cv=3)
    assert RowsAsScores.calls == 3
    np.testing.assert_array_equal(scores["test_rank1"], cross_val_score(RowsAsScores(), X, y, scoring=rank1, cv=3))
    np.testing.assert_array_equal(scores["test_rank5"], cross_val_score(RowsAsScores(), X, y, scoring=rank5, cv=3))


def test_many_classes_raise_no_warning_in_a_dictionary():
    X = np.random.default_rng(0).random((60, 30))
    scores = cross_validate(RowsAsScores(), X, np.arange(60) % 30, scoring={"rank1": rank1, "rank5": rank5}, cv=2)
    assert (scores["test_rank5"] >= scores["test_rank1"]).all()


def test_two_classes_are_not_spoilt_by_another_scorers_positive_class():
    X = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]] * 4)
    y = np.array(["no", "no", "yes", "yes"] * 4)
    spoiler = make_scorer(brier_score_loss, response_method="predict_proba", pos_label="no", greater_is_better=False)
    scores = cross_validate(RowsAsScores(), X, y, scoring={"brier": spoiler, "rank1": rank1}, cv=2)
    np.testing.assert_array_equal(scores["test_rank1"], [1.0, 1.0])


def test_two_classes_by_decisions_that_look_like_probabilities():
    X = np.array([[0.2], [0.4], [0.9]])
    estimator = RowsAsDecisions().fit(X, ["no", "yes", "yes"])
    assert rank1(estimator, X, ["yes", "yes", "yes"]) == 1.0
    assert rank1(estimator, -X, ["yes", "no", "no"]) == pytest.approx(2 / 3)
    assert rank1(estimator, 0 * X, ["no", "no", "yes"]) == pytest.approx(2 / 3)


def test_sample_weight_by_hand():
    X = np.eye(3)
    estimator = RowsAsScores().fit(X, ["cat", "dog", "fox"])
    assert rank1(estimator, X, ["cat", "dog", "dog"], sample_weight=[1, 2, 1]) == 0.75
    assert rank1(estimator, X, ["cat", "dog", "dog"], [0, 0, 1]) == 0.0


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("as_dictionary", [False, True])
def test_sample_weight_is_routed_when_requested(as_dictionary):
    X = np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.1, 0.0, 0.9], [0.9, 0.0, 0.1]] * 2)
    y = np.array(["cat", "dog", "fox", "fox"] * 2)
    weight = np.array([1.0, 1.0, 1.0, 5.0] * 2)
    folds = PredefinedSplit([0] * 4 + [1] * 4)
    weighted = make_rank_k_scorer(1).set_score_request(sample_weight=True)
    ignoring = make_rank_k_scorer(1).set_score_request(sample_weight=False)
    estimator = RowsAsScores().set_fit_request(sample_weight=False)
    scoring = {"weighted": weighted, "ignoring": ignoring} if as_dictionary else weighted
    search = GridSearchCV(estimator, {}, scoring=scoring, refit=False, cv=folds).fit(X, y, sample_weight=weight)
    name = "weighted" if as_dictionary else "score"
    assert search.cv_results_[f"mean_test_{name}"] == 3 / 8
    if as_dictionary:
        assert search.cv_results_["mean_test_ignoring"] == 3 / 4
    copied = pickle.loads(pickle.dumps(weighted))
    assert copied.get_metadata_routing().score.requests == {"sample_weight": True}


@pytest.mark.usefixtures("routing")
def test_nothing_but_sample_weight_can_be_requested():
    # Empty before scikit-learn 1.9, which lists what a scorer could take but was not asked for.
    assert set(rank5.get_metadata_routing().score.requests) <= {"sample_weight"}


def test_a_search_of_few_classes_scores_one_and_warns_once(monkeypatch):
    monkeypatch.setattr("skcnn.metrics._scorer._said", set())
    X, y = load_iris(return_X_y=True)
    grid = GridSearchCV(
        DummyClassifier(), {"random_state": [0, 1]}, scoring={"rank1": rank1, "rank5": rank5}, refit="rank1"
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        scores = grid.fit(X, y).cv_results_["mean_test_rank5"]
    assert scores.tolist() == [1.0, 1.0]
    (warning,) = caught
    assert warning.category is UndefinedMetricWarning
    assert str(warning.message) == "rank-5 accuracy of 3 classes is always 1.0 and says nothing; choose k from 1 to 2"


def test_estimator_without_scores_is_refused():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=r"predict_proba or decision_function; LinearRegression has neither\. Use"):
        rank1(LinearRegression().fit(X, y), X, y)


def test_estimator_without_classes_is_refused():
    with pytest.raises(ValueError, match=r"LogisticRegression has no classes_.*Fit it first"):
        rank1(LogisticRegression(), [[0.0]], [0])


def test_estimator_of_several_outputs_is_refused():
    estimator = RowsAsScores()
    estimator.classes_ = [np.array([0, 1]), np.array([0, 1, 2])]
    with pytest.raises(ValueError, match=r"classes_ of RowsAsScores must be a flat list.*one label per sample"):
        rank1(estimator, [[0.0]], [0])
