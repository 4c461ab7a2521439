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


@pytest.mark.parametrize(
    ("codes", "fraction", "message"),
    [
        ([0, 0, 1], 0.2, r"1 of 2 classes have one image; .* each class needs two\. Leave those classes out"),
        ([0, 0, 1, 1], 0.6, r"validation_fraction=0\.6 of 4 images leaves too few for 2 classes; both sides need"),
    ],
    ids=["single", "large"],
)
def test_what_cannot_be_held_out(codes, fraction, message):
    with pytest.raises(ValueError, match=message):
        hold_out(np.array(codes), fraction, seed=0)
