import numpy as np

from skcnn.training._epoch_inputs import SameInputs
from skcnn.training._problem import Problem, Targets

CODES, ROWS = np.array([0, 1, 2, 0, 1]), np.arange(5.0)[:, np.newaxis]


def test_targets_and_weights_go_with_their_images():
    targets = Targets(CODES, np.array([1.0, 2, 3, 4, 6]), 4).of(np.array([0, 2, 3]))
    seen = {}
    for rows, one_hot, weights in targets.batches(SameInputs(ROWS, np.array([0, 2, 3])), 2, (0,)).epochs(1):
        for row, target, weight in zip(rows[:, 0], one_hot, weights, strict=True):
            seen[int(row)] = (int(target.argmax()), float(weight))
            assert target.shape == (4,)
    assert seen == {0: (0, 0.375), 2: (2, 1.125), 3: (0, 1.5)}  # of mean 1


def test_without_weights():
    targets = Targets(CODES, None, 3)
    assert targets.of(np.array([2])).weights is None
    assert targets.batches(SameInputs(ROWS), 2).weights is None


def problem(fraction, validation=None):
    names = np.array(["a", "b"])
    return Problem(Targets(np.arange(12) % 2, None, 2), names, fraction, lambda: np.arange(12), validation)


def test_images_are_held_out_with_their_targets():
    split = problem(0.25).split(7)
    assert sorted([*split.trained, *split.held_out]) == [*range(12)]
    np.testing.assert_array_equal(split.training.codes, split.trained % 2)
    np.testing.assert_array_equal(split.validation.codes, split.held_out % 2)


def test_nobody_is_held_out_where_nothing_is_judged_or_images_of_ones_own_are():
    own = Targets(np.array([0, 1, 1]), None, 2)
    for validation in (None, own):
        split = problem(None, validation).split(7)
        assert (split.trained.tolist(), split.held_out.tolist()) == ([*range(12)], [])
        assert split.validation is validation
