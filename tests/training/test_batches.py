import numpy as np

from skcnn.training import Batches, epoch_order
from skcnn.training._epoch_inputs import SameInputs


class Rows:
    """Rows that note how many are read at a time."""

    def __init__(self, array):
        self.array = array
        self.read = []

    def __len__(self):
        return len(self.array)

    def __getitem__(self, inputs):
        self.read.append(len(inputs))
        return self.array[inputs]


def test_the_order_is_another_in_each_epoch_and_the_same_for_the_same_seed():
    orders = [epoch_order(9, (seed, 1), epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(9))
    np.testing.assert_array_equal(orders[1], epoch_order(9, (0, 1), 1))


def test_batches_are_the_inputs_in_order_and_read_one_by_one():
    inputs, targets = Rows(np.arange(7, dtype=np.uint8)), np.arange(14, dtype=np.float32).reshape(7, 2)
    batches = Batches(SameInputs(inputs), targets, None, batch_size=3, seed=(5,))
    given = batches.epochs(2)
    assert inputs.read == []
    first = next(given)
    assert inputs.read == [3]
    order = np.concatenate([epoch_order(7, (5,), epoch) for epoch in (0, 1)])
    all_batches = [first, *given]
    assert [len(batch[0]) for batch in all_batches] == [3, 3, 1] * 2
    assert batches.per_epoch == 3
    np.testing.assert_array_equal(np.concatenate([batch[0] for batch in all_batches]), order)
    np.testing.assert_array_equal(np.concatenate([batch[1] for batch in all_batches]), targets[order])
    assert first[0].dtype == np.float32


def test_weights_go_with_their_inputs():
    inputs, weights = np.arange(5.0), np.arange(5, dtype=np.float32) / 2
    for values, _, weight in Batches(
        SameInputs(inputs), np.eye(5, dtype=np.float32), weights, batch_size=2, seed=(0,)
    ).epochs(1):
        np.testing.assert_array_equal(weight, values / 2)
