from datetime import date

import numpy as np
import pandas as pd
import pytest

from skcnn.classifiers._labels import encode_labels, join_weights


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (["b", "a", "b"], ["a", "b"]),
        ([3, 1, 3], [1, 3]),
        ([True, False, True], [False, True]),
        (np.array(["b", "a", "b"], dtype=object), ["a", "b"]),
        ([2.0, 1.0, 2.0], [1.0, 2.0]),
    ],
)
def test_classes_are_sorted_and_numbered(y, classes):
    found, codes = encode_labels(y, "Classifier")
    assert found.tolist() == classes
    assert codes.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0.0, float("nan"), 1.0], r"y contains NaN: 1 of 3 labels are missing, at positions 1\. Give those images a"),
        (np.array(["a", None, np.nan], object), "2 of 3 labels are missing, at positions 1, 2"),
        ([None] * 12, r"at positions 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\."),
        (["a", "a"], "all 2 images have the label 'a'; Classifier needs at least 2 classes, got 1 class"),
        ([0.5, 1.5, 2.5], "Unknown label type"),
        ([0.0, float("inf")], "y contains infinity"),
        (None, "requires y to be passed"),
        (pd.Series([pd.NA, "a", "b"], dtype="string"), "1 of 3 labels are missing, at positions 0"),
        (pd.Series([pd.NA, 1, 2], dtype="Int64"), "1 of 3 labels are missing, at positions 0"),
        (pd.Series([pd.NA, "a", "b"], dtype=object), "1 of 3 labels are missing, at positions 0"),
        (pd.Series([pd.NaT, "a", "b"], dtype=object), "1 of 3 labels are missing, at positions 0"),
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), r"dates or times such as '2020-01-01.*astype\(str\) makes"),
        ([date(2020, 1, 1), date(2020, 1, 2)], "dates or times such as '2020-01-01'"),
        (np.array([1, 2], "timedelta64[s]"), "dates or times"),
        (np.eye(2), r"got an array of shape \(2, 2\) instead.*one-hot.*y\.argmax\(axis=1\)"),
        (np.array([1, 2], dtype=object), r"whole numbers as objects.*astype\(int\) makes"),
    ],
)
def test_labels_that_nothing_can_be_learned_from(y, message):
    with pytest.raises(ValueError, match=message):
        encode_labels(y, "Classifier")


def test_weights_of_images_and_classes_are_multiplied():
    codes, classes = np.array([0, 1, 1, 1]), np.array(["a", "b"])
    assert join_weights(codes, classes, None, None) is None
    np.testing.assert_allclose(join_weights(codes, classes, [1, 2, 0, 1], {"a": 3}), [3, 2, 0, 1])
    np.testing.assert_allclose(join_weights(codes, classes, None, "balanced"), [2, 2 / 3, 2 / 3, 2 / 3])
    np.testing.assert_allclose(join_weights(codes, classes, 0.5, None), [0.5] * 4)


@pytest.mark.parametrize(
    ("sample_weight", "message"),
    [
        ([1, 1, 1, -1], "Negative values in data passed to sample_weight"),
        ([1, 1, 1, np.nan], "NaN"),
        ([1, 1], "sample_weight.shape"),
        ([0, 1, 1, 1], r"all images of 1 of 2 classes have the weight 0 \('a'\); leave them out"),
    ],
)
def test_weights_that_make_no_sense(sample_weight, message):
    with pytest.raises(ValueError, match=message):
        join_weights(np.array([0, 1, 1, 1]), np.array(["a", "b"]), sample_weight, None)


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ("balance", r"must be 'balanced', None or a dict \{class: weight\}. Got 'balance' instead"),
        ([1, 2], r"Got \[1, 2\] instead. dict\(zip\(np.unique\(y\).tolist\(\), weights\)\) makes one"),
        ([1, 2, 3], r"Got \[1, 2, 3\] instead.$"),
        ({"cat": 1, "dogs": 2}, "class_weight has 'dogs', which is no label in y; did you mean .*'dog'"),
        ({"cat": -1}, r"class_weight\['cat'\]. parameter must be a number of at least 0"),
        ({"cat": "2"}, r"must be a number of at least 0. Got '2' instead"),
    ],
)
def test_weights_of_classes_that_make_no_sense(class_weight, message):
    with pytest.raises(ValueError, match=message):
        join_weights(np.array([0, 1, 1]), np.array(["cat", "dog"]), None, class_weight)


def test_weights_of_classes_by_numbers_of_numpy():
    weights = join_weights(np.array([0, 1, 1]), np.array([3, 7]), None, {np.int64(3): np.float32(2)})
    np.testing.assert_allclose(weights, [2, 1, 1])
