import keras
import numpy as np
import pytest

from skcnn.training import Batches, build_head
from skcnn.training._model import TailAndHead
from skcnn.training._phase import train
from skcnn.training._restarts import CosineRestarts, split_epochs
from skcnn.training._rows import SameRows


def test_snapshots_are_those_of_plain_keras_with_the_rate_set_at_each_step():
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(40, 5)).astype(np.float32), np.eye(3, dtype=np.float32)[np.arange(40) % 3]
    batches = Batches(SameRows(features), targets, None, batch_size=16, seed=(3,))
    model, twin = (TailAndHead(None, build_head(5, 3, hidden_units=8, seed=(0,))) for _ in range(2))
    restarts = CosineRestarts(epochs=5, n_cycles=2)
    records = train("head", model, batches, epochs=5, optimizer=keras.optimizers.Adam(0.01), callbacks=[restarts])

    twin.head.compile(keras.optimizers.Adam(0.01), keras.losses.CategoricalCrossentropy(from_logits=True))
    # Three steps an epoch, and cycles of three and of two epochs.
    rates = [0.005 * (1 + np.cos(np.pi * step / steps)) for steps in (9, 6) for step in range(steps)]
    expected = []
    for step, (rate, batch) in enumerate(zip(rates, batches.epochs(5), strict=True), start=1):
        twin.head.optimizer.learning_rate = rate
        twin.head.train_on_batch(*batch)
        if step in (9, 15):
            expected.append(twin.head.get_weights())

    assert [snapshot.epochs for snapshot in restarts.snapshots] == [3, 5]
    assert [snapshot.tail_weights for snapshot in restarts.snapshots] == [[], []]
    for snapshot, weights in zip(restarts.snapshots, expected, strict=True):
        for ours, theirs in zip(snapshot.head_weights, weights, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_allclose([record["learning_rate"] for record in records], rates[2::3], rtol=1e-5)


@pytest.mark.parametrize(("epochs", "n_cycles", "lengths"), [(20, 5, [4] * 5), (7, 3, [3, 2, 2]), (2, 2, [1, 1])])
def test_cycles_of_whole_epochs(epochs, n_cycles, lengths):
    assert split_epochs(epochs, n_cycles) == lengths


def test_the_rate_of_the_next_training_is_what_it_was():
    features, targets = np.ones((8, 5), np.float32), np.eye(2, dtype=np.float32)[[0, 1] * 4]
    model = TailAndHead(None, build_head(5, 2))
    settings = {"batches": Batches(SameRows(features), targets, None, 4, (0,)), "epochs": 2}
    train("head", model, optimizer=keras.optimizers.Adam(0.01), callbacks=[CosineRestarts(2, 1)], **settings)
    records = train("head", model, optimizer=keras.optimizers.Adam(0.01), **settings)
    np.testing.assert_allclose([record["learning_rate"] for record in records], 0.01)
