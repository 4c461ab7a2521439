import warnings

import numpy as np
import pytest

from skcnn.training._holdout import hold_out


def test_every_class_keeps_its_share_on_both_sides():
    codes = np.repeat([0, 1, 2], [50, 30, 20])
    training, held_out = hold_out(codes, 0.2, seed=3)
    np.testing.assert_array_equal(np.sort(np.concatenate([training, held_out])), np.arange(100))
    np.testing.assert_array_equal(np.bincount(codes[held_out]), [10, 6, 4])
    np.testing.assert_array_equal(training, np.sort(training))
    again, other = hold_out(codes, 0.2, seed=3), hold_out(codes, 0.2, seed=4)
    np.testing.assert_array_equal(held_out, again[1])
    assert not np.array_equal(held_out, other[1])


def test_of_few_images_one_of_each_class_is_held_out():
    codes = np.array([0, 1, 2, 2, 1, 0])
    training, held_out = hold_out(codes, 0.1, seed=0)
    assert sorted(codes[training]) == sorted(codes[held_out]) == [0, 1, 2]


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("seed", range(5))
def test_rare_classes_are_on_both_sides(fraction, seed):
    counts = [120, 60, 40, 30, 20, 12, 9, 6, 4, 4, 3, 3, 3, 2, 2, 2]
    codes = np.repeat(np.arange(16), counts)
    training, held_out = hold_out(codes, fraction, seed=seed)
    assert set(codes[training]) == set(codes[held_out]) == set(range(16))
    of_class = np.bincount(codes[held_out])
    assert (abs(of_class - fraction * np.array(counts)) <= 1).all()
    if 0.1 <= fraction <= 0.7:
        assert len(held_out) == pytest.approx(fraction * 320, abs=8)


def test_the_whole_share_is_held_out():
    codes = np.repeat(np.arange(10), 14)
    _, held_out = hold_out(codes, 0.1, seed=0)
    assert len(held_out) == 14
    assert set(np.bincount(codes[held_out])) == {1, 2}


def test_images_of_one_group_stay_together():
    random = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], 40)
    groups = np.repeat(np.arange(24), 5)  # 8 of each class
    shuffled = random.permutation(120)
    for seed in range(10):
        training, held_out = hold_out(codes[shuffled], 0.25, seed, groups=groups[shuffled])
        assert not set(groups[shuffled][training]) & set(groups[shuffled][held_out])
        assert np.bincount(codes[shuffled][held_out]).tolist() == [10, 10, 10]


def test_a_large_group_is_not_taken_for_a_small_share():
    groups = np.array([0] * 90 + list(range(1, 11)) + list(range(11, 111)))
    codes = np.repeat([0, 1], 100)
    for seed in range(10):
        _, held_out = hold_out(codes, 0.05, seed, groups=groups)
        assert len(held_out) == 10


def test_a_class_of_copies_of_one_image_is_named():
    codes, groups = np.repeat([0, 1], 4), np.array([0, 1, 2, 3, 4, 4, 4, 4])
    with pytest.warns(UserWarning, match=r"1 of 2 classes have no image that is held out \('dog'\): theirs are copies"):
        training, held_out = hold_out(codes, 0.25, 0, groups=groups, names=np.array(["cat", "dog"]))
    assert codes[held_out].tolist() == [0]
    assert set(codes[training]) == {0, 1}


@pytest.mark.parametrize("seed", range(10))
def test_copies_under_two_labels_leave_no_class_untrained(seed):
    # All images of class 1 are copies of some of class 0.
    codes, groups = np.array([0] * 6 + [1] * 2), np.array([0, 1, 2, 3, 4, 5, 0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        training, held_out = hold_out(codes, 0.5, seed, groups=groups)
    assert set(codes[training]) == {0, 1}
    assert len(held_out)
    assert not set(groups[training]) & set(groups[held_out])


def test_images_of_weight_0_are_not_held_out():
    codes = np.repeat([0, 1], 10)
    weights = np.tile([1.0, 0.0], 10)
    training, held_out = hold_out(codes, 0.4, 0, weights=weights)
    assert weights[held_out].all()
    assert np.bincount(codes[held_out]).tolist() == [2, 2]
    assert len(training) == 16


def test_what_cannot_be_held_out():
    with pytest.raises(
        ValueError, match=r"1 of 2 classes have one image; .* each class needs two\. Leave those classes"
    ):
        hold_out(np.array([0, 0, 1]), 0.2, seed=0)
    with pytest.raises(ValueError, match="1 of 2 classes have one image"):
        hold_out(np.array([0, 0, 1, 1]), 0.2, seed=0, weights=np.array([1, 1, 1, 0]))
    with pytest.raises(ValueError, match="no image can be held out: those of each class are all copies"):
        hold_out(np.array([0, 0, 1, 1]), 0.2, seed=0, groups=np.array([0, 0, 1, 1]))
