import numpy as np

from skcnn.training._epoch_inputs import SameInputs
from skcnn.training._problem import Split

CODES, ROWS = np.array([0, 1, 2, 0, 1]), np.arange(5.0)[:, np.newaxis]


def test_targets_and_weights_go_with_their_images():
    trained, held_out = np.array([0, 2, 3]), np.array([1, 4])
    split = Split(CODES, np.array([1.0, 2, 3, 4, 6]), 4, trained, held_out)
    batches = split.training(SameInputs(ROWS, trained), 2, (0,))
    seen = {}
    for rows, targets, weights in batches.epochs(1):
        for row, target, weight in zip(rows[:, 0], targets, weights, strict=True):
            seen[int(row)] = (int(target.argmax()), float(weight))
            assert target.shape == (4,)
    assert seen == {0: (0, 0.375), 2: (2, 1.125), 3: (0, 1.5)}  # of mean 1
    ((rows, targets, weights),) = split.validation(SameInputs(ROWS, held_out), 8).epochs(1)
    assert sorted(rows[:, 0]) == [1, 4]
    assert targets.argmax(axis=1).tolist() == [1, 1]
    assert sorted(weights) == [0.5, 1.5]
    codes, weights = split.labels(held_out)
    assert codes.tolist() == [1, 1]
    assert weights.tolist() == [2, 6]


def test_without_weights_and_with_nobody_held_out():
    split = Split(CODES, None, 3, np.arange(5), np.zeros(0, int))
    assert split.validation(SameInputs(ROWS, split.held_out), 8) is None
    assert split.training(SameInputs(ROWS), 2, (0,)).weights is None
    assert split.labels(np.array([2]))[1] is None
