"""Rank-k accuracy: numbers worked out by hand, scikit-learn as the twin, and folds that lack a class."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import accuracy_score, top_k_accuracy_score

from skcnn.metrics import make_rank_k_scorer, rank_k_accuracy_score

ANIMALS = ["cat", "dog", "fox", "owl"]
PROBA = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4], [0.2, 0.5, 0.2, 0.1], [0.3, 0.1, 0.4, 0.2]])
# The rank of each sample's true label, read off the rows above: 1, 2, 4, 4 (owl is last in the third row).
TRUE = np.array(["cat", "fox", "owl", "dog"])


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
def test_k_of_all_classes_is_perfect_with_a_warning_as_in_scikit_learn(k):
    with pytest.warns(UndefinedMetricWarning, match=rf"rank-{k} accuracy of 4 classes is always 1\.0.*k from 1 to 3"):
        score = rank_k_accuracy_score(TRUE, PROBA, k=k, labels=ANIMALS)
    with pytest.warns(UndefinedMetricWarning):
        assert score == top_k_accuracy_score(TRUE, PROBA, k=k, labels=ANIMALS) == 1.0


def test_a_label_without_a_column_is_a_miss_for_every_k():
    with pytest.warns(UndefinedMetricWarning):
        assert rank_k_accuracy_score(["cat", "cow", "fox", "elk"], PROBA, k=9, labels=ANIMALS) == 0.5


def test_one_class_leaves_nothing_to_rank():
    with pytest.warns(UndefinedMetricWarning, match=r"rank-1 accuracy of 1 class is always 1\.0.*nothing to rank"):
        assert rank_k_accuracy_score(["cat"], [[1.0]], k=1, labels=["cat"]) == 1.0


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
