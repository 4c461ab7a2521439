"""Rank-k accuracy: numbers worked out by hand, scikit-learn as the twin, and folds that lack a class."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_iris, make_classification
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, brier_score_loss, make_scorer, top_k_accuracy_score
from sklearn.model_selection import GridSearchCV, PredefinedSplit, cross_val_score, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import skcnn.metrics
from skcnn.metrics import make_rank_k_scorer, rank1, rank5, rank_k_accuracy_score

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


# The score


@pytest.mark.parametrize(("k", "expected"), [(1, 0.25), (2, 0.5), (3, 0.5)])
def test_score_worked_by_hand(k, expected):
    assert rank_k_accuracy_score(TRUE, PROBA, k=k, labels=ANIMALS) == expected
    assert rank_k_accuracy_score(TRUE, PROBA, k=k, labels=ANIMALS, normalize=False) == 4 * expected


def test_score_is_a_python_float():
    for normalize in (True, False):
        for weight in (None, [1, 2, 3, 4]):
            score = rank_k_accuracy_score(TRUE, PROBA, k=1, sample_weight=weight, normalize=normalize)
            assert type(score) is float


def test_sample_weight_worked_by_hand():
    score = rank_k_accuracy_score(TRUE, PROBA, k=2, labels=ANIMALS, sample_weight=[3, 1, 0, 1])
    assert score == 4 / 5
    total = rank_k_accuracy_score(TRUE, PROBA, k=2, labels=ANIMALS, sample_weight=[3, 1, 0, 1], normalize=False)
    assert total == 4.0


def test_labels_default_to_the_sorted_labels_of_y_true():
    assert rank_k_accuracy_score(TRUE, PROBA, k=2) == 0.5
    assert rank_k_accuracy_score([10, 2, 30], np.eye(3)[[1, 0, 2]], k=1) == 1.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_equals_sklearn_on_tied_scores(seed, dtype):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, size=(200, 7)).astype(dtype)
    y = rng.integers(0, 7, size=200)
    weight = rng.random(200)
    for k in range(1, 7):
        for options in ({}, {"normalize": False}, {"sample_weight": weight}):
            ours = rank_k_accuracy_score(y, scores, k=k, labels=np.arange(7), **options)
            assert ours == pytest.approx(top_k_accuracy_score(y, scores, k=k, labels=np.arange(7), **options), abs=0)


@pytest.mark.parametrize("labels", [None, ["neg", "pos"]])
@pytest.mark.parametrize("low", [0, -4])
def test_equals_sklearn_on_tied_binary_scores(labels, low):
    rng = np.random.default_rng(0)
    scores = rng.integers(low, 5, size=100) / 4
    y = np.array(["neg", "pos"])[rng.integers(0, 2, size=100)]
    theirs = top_k_accuracy_score(y, scores, k=1, labels=labels)
    assert rank_k_accuracy_score(y, scores, k=1, labels=labels) == theirs
    assert rank_k_accuracy_score(y, scores[:, np.newaxis], k=1, labels=labels) == theirs


def test_two_columns_equal_the_single_column_ties_included():
    rng = np.random.default_rng(1)
    positive = rng.integers(0, 5, size=100) / 4
    y = rng.integers(0, 2, size=100)
    proba = np.column_stack([1 - positive, positive])
    assert rank_k_accuracy_score(y, proba, k=1) == top_k_accuracy_score(y, positive, k=1)
    assert rank_k_accuracy_score(y, proba, k=1) == accuracy_score(y, proba.argmax(axis=1))


def test_one_score_speaks_for_the_second_label():
    assert rank_k_accuracy_score(["no", "yes"], [-1.0, 2.0], k=1) == 1.0
    assert rank_k_accuracy_score(["no", "yes"], [-1.0, 2.0], k=1, labels=["yes", "no"]) == 0.0


def test_column_order_plays_no_part_even_in_ties():
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 3, size=(80, 5))
    labels = np.array(["ape", "bee", "cow", "dog", "eel"])
    y = labels[rng.integers(0, 5, size=80)]
    for k in range(1, 5):
        theirs = top_k_accuracy_score(y, scores, k=k, labels=labels)
        for _ in range(5):
            order = rng.permutation(5)
            assert rank_k_accuracy_score(y, scores[:, order], k=k, labels=labels[order]) == theirs


def test_unsorted_labels_worked_by_hand():
    score = rank_k_accuracy_score(["cat", "owl"], [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], k=1, labels=["owl", "cat", "dog"])
    assert score == 0.0
    score = rank_k_accuracy_score(["owl", "cat"], [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], k=1, labels=["owl", "cat", "dog"])
    assert score == 1.0


def test_label_without_a_column_is_a_miss_and_shifts_nothing():
    y = ["ant", "cat", "fox", "zebu"]
    proba = [[0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.1, 0.2, 0.7]]
    assert rank_k_accuracy_score(y, proba, k=1, labels=["cat", "dog", "fox"]) == 0.5
    assert rank_k_accuracy_score(["ant", "zebu"], proba[:2], k=2, labels=["cat", "dog", "fox"]) == 0.0


@pytest.mark.parametrize(
    "container", [list, tuple, pd.Series, pl.Series, pd.Categorical, lambda y: np.array(y, object)]
)
def test_containers_of_labels(container):
    y = TRUE.tolist()
    assert rank_k_accuracy_score(container(y), PROBA, k=2, labels=container(ANIMALS)) == 0.5


def test_frames_of_scores_and_columns_of_labels():
    assert rank_k_accuracy_score(TRUE[:, np.newaxis], pd.DataFrame(PROBA), k=2, labels=ANIMALS) == 0.5
    assert rank_k_accuracy_score(TRUE, PROBA.astype(object).tolist(), k=2, labels=pd.Index(ANIMALS)) == 0.5


def test_labels_of_different_numeric_types_meet():
    assert rank_k_accuracy_score(np.array([0.0, 1.0, 2.0]), np.eye(3), k=1, labels=np.arange(3, dtype=np.uint8)) == 1.0
    assert rank_k_accuracy_score([False, True], [0.1, 0.9], k=1, labels=[0, 1]) == 1.0


def test_inputs_are_left_alone():
    y, proba, labels = TRUE.copy(), PROBA.copy(), np.array(ANIMALS[::-1])
    for array in (y, proba, labels):
        array.setflags(write=False)
    rank_k_accuracy_score(y, proba, k=2, labels=labels)


@pytest.mark.parametrize("k", [0, -1, 1.0, "2", None, True])
def test_k_must_be_a_positive_integer(k):
    with pytest.raises(ValueError, match=r"'k' must be an integer of at least 1\. Got " + repr(k)):
        rank_k_accuracy_score(TRUE, PROBA, k=k)
    with pytest.raises(ValueError, match=r"'k' must be an integer of at least 1\. Got " + repr(k)):
        make_rank_k_scorer(k)


@pytest.mark.parametrize("k", [4, np.int64(5)])
def test_k_of_all_classes_is_refused_with_the_reason(k):
    with pytest.raises(ValueError, match=rf"would always be 1\.0\. Got k={k} with n_classes=4\. Choose k from 1 to 3"):
        rank_k_accuracy_score(TRUE, PROBA, k=k, labels=ANIMALS)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match=r"Got k=1 with n_classes=1\. One class leaves nothing to rank"):
        rank_k_accuracy_score(["cat"], [[1.0]], k=1, labels=["cat"])


@pytest.mark.parametrize(
    ("y_true", "y_proba", "options", "message"),
    [
        ([], np.empty((0, 4)), {}, r"y_true is empty.*at least one sample"),
        (TRUE[:3], PROBA, {}, r"y_true has 3 samples, y_proba 4\. Pass one row"),
        (TRUE, PROBA, {"labels": ANIMALS[:3]}, r"y_proba scores 4 classes, labels names 3.*labels=estimator\.classes_"),
        (TRUE, PROBA[:, 0], {"labels": ANIMALS}, r"y_proba scores 2 classes, labels names 4"),
        (
            TRUE[:3],
            PROBA[:3],
            {},
            r"y_true holds 3 distinct labels, y_proba scores 4 classes.*labels=estimator\.classes_",
        ),
        (["cat", "cat"], [0.1, 0.9], {}, r"y_true holds 1 distinct labels, y_proba scores 2 classes"),
        (TRUE, PROBA, {"labels": ["cat", "dog", "cat", "owl"]}, r"labels must differ.*Got \['cat'\] more than once"),
        (TRUE, PROBA, {"labels": [0, 1, 2, 3]}, r"y_true holds strings such as 'cat', the columns values of type int"),
        ([0, 1], PROBA[:2], {"labels": ANIMALS}, r"y_true holds values of type int such as 0, the columns strings"),
        (np.eye(4), PROBA, {"labels": ANIMALS}, r"y_true must be a flat list.*Got shape \(4, 4\).*one-hot"),
        ([["cat"], ["dog", "fox"]], PROBA[:2], {}, r"y_true must be a flat list.*different lengths"),
        (TRUE, PROBA, {"labels": [ANIMALS]}, r"labels must be a flat list.*Got shape \(1, 4\)"),
        (
            TRUE,
            PROBA,
            {"labels": np.array(["cat", 1, "fox", 2], object)},
            r"labels mixes types.*all strings or all num",
        ),
        (np.array(["cat", 1], object), [0.1, 0.9], {}, r"y_true mixes types.*all strings or all numbers"),
        (["cat", None], PROBA[:2], {"labels": ANIMALS}, r"y_true has 1 missing labels.*first at 1"),
        ([np.nan, 1.0], PROBA[:2], {"labels": range(4)}, r"y_true has 1 missing labels.*first at 0"),
        (TRUE, TRUE, {"labels": ANIMALS}, r"y_proba must be numbers of shape"),
        (TRUE, PROBA[np.newaxis], {"labels": ANIMALS}, r"y_proba must have shape.*Got \(1, 4, 4\)"),
        (TRUE, 0.5, {"labels": ANIMALS}, r"y_proba must have shape.*Got \(\)"),
        (TRUE, np.where(PROBA == 0.5, np.nan, PROBA), {}, r"y_proba must be finite.*in 1 of 4 rows, the first at 2"),
        (TRUE, np.where(PROBA == 0.1, -np.inf, PROBA), {}, r"y_proba must be finite.*in 4 of 4 rows"),
        (["a", "b"], [np.nan, 1.0], {}, r"y_proba must be finite.*in 1 of 2 rows, the first at 0"),
        (TRUE, PROBA, {"sample_weight": [1, 2]}, r"sample_weight must have shape \(4,\).*Got shape \(2,\)"),
        (
            TRUE,
            PROBA,
            {"sample_weight": [1, 2, -3, 1]},
            r"sample_weight must be finite and not negative.*-3\.0 to 2\.0",
        ),
        (TRUE, PROBA, {"sample_weight": [0, 0, 0, 0]}, r"sample_weight is 0 for every sample"),
    ],
)
def test_errors_say_what_was_got_and_what_to_do(y_true, y_proba, options, message):
    with pytest.raises(ValueError, match=message):
        rank_k_accuracy_score(y_true, y_proba, k=1, **options)


# The scorers


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


def test_estimator_with_too_few_classes_is_refused_before_it_predicts():
    X, y = load_iris(return_X_y=True)
    estimator = RowsAsScores().fit(X, y)
    RowsAsScores.calls = 0
    with pytest.raises(ValueError, match=r"would always be 1\.0\. Got k=5 with n_classes=3\. Choose k from 1 to 2"):
        rank5(estimator, X, y)
    assert RowsAsScores.calls == 0
    with pytest.raises(ValueError, match=r"Got k=1 with n_classes=1\. One class leaves nothing to rank"):
        rank1(RowsAsScores().fit(X, np.zeros(150)), X, y)


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
