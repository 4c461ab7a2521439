"""How far trained weights are moved back."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import LeaveOneOut, cross_val_score

from skcnn.training._shrinkage import (
    MAX_IMAGES,
    PENALTIES,
    automatic_shrinkage,
    leave_one_out_accuracy,
    resolve_shrinkage,
)


def features_of(codes, apart, seed=0):
    """Return features whose classes are so far apart."""
    noise = np.random.default_rng(seed).normal(size=(len(codes), 8)).astype(np.float32)
    return noise + apart * np.eye(8, dtype=np.float32)[codes]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_leaving_out_one_image_after_the_other(n_classes):
    codes = np.arange(30) % n_classes
    values = 7 * features_of(codes, 2) - 3
    penalties = [penalty * values.var(axis=0).mean() for penalty in PENALTIES]
    fitted = [cross_val_score(RidgeClassifier(alpha), values, codes, cv=LeaveOneOut()).mean() for alpha in penalties]
    assert leave_one_out_accuracy(values, codes) == pytest.approx(max(fitted))
    assert 0.5 < max(fitted) < 1


def test_features_that_tell_all_nothing_and_equal_ones():
    codes = np.arange(60) % 3
    assert leave_one_out_accuracy(features_of(codes, 20), codes) == 1
    assert leave_one_out_accuracy(features_of(codes, 0), codes) < 0.6
    assert 0 <= leave_one_out_accuracy(np.ones((60, 4), np.float32), codes) <= 1
    # One image of a class is never found by the others.
    assert leave_one_out_accuracy(np.eye(3, dtype=np.float32), np.arange(3)) == 0


def test_of_many_images_some_are_taken_of_each_class():
    codes = np.repeat([0, 1, 2], [3 * MAX_IMAGES, MAX_IMAGES, 2])
    found = leave_one_out_accuracy(features_of(codes, 20), codes)
    assert found > 0.99


def test_the_more_images_and_errors_the_less_is_taken_back():
    assert automatic_shrinkage(20, 10, None) == pytest.approx(1 - 4 / 104)
    assert automatic_shrinkage(100, 10, 0.9) == pytest.approx(1 - 0.5 * 0.5)
    assert automatic_shrinkage(100, 10, 1.0) == 1
    assert automatic_shrinkage(100_000, 10, 0.5) < 0.01
    by_images = [automatic_shrinkage(n, 10, 0.8) for n in (20, 50, 100, 1000)]
    by_accuracy = [automatic_shrinkage(500, 10, accuracy) for accuracy in (1.0, 0.99, 0.9, 0.5)]
    for shares in (by_images, by_accuracy):
        assert sorted(shares, reverse=True) == shares
        assert len(set(shares)) == 4


def test_what_a_parameter_stands_for():
    history = [{"phase": "head", "loo_accuracy": 0.9}, {"phase": "fine-tune"}]
    assert resolve_shrinkage("auto", 100, 10, history) == automatic_shrinkage(100, 10, 0.9)
    assert resolve_shrinkage("auto", 100, 10, history[1:]) == automatic_shrinkage(100, 10, None)
    assert resolve_shrinkage(0.25, 100, 10, history) == 0.25
    assert resolve_shrinkage(None, 100, 10, history) == 0
