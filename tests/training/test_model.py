import keras
import numpy as np

from skcnn.training import Batches, build_head
from skcnn.training._model import TailAndHead
from skcnn.training._phase import train


def test_the_tail_keeps_its_statistics_and_drops_nothing():
    inputs = keras.Input((4,))
    tail = keras.Model(inputs, keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(inputs)))
    head = build_head(4, 2)
    rows = np.random.default_rng(0).normal(3, 2, size=(20, 4)).astype(np.float32)
    model = TailAndHead(tail, head)
    np.testing.assert_array_equal(model(rows, training=True), model(rows, training=False))
    targets = np.eye(2, dtype=np.float32)[np.arange(20) % 2]
    before = tail.layers[1].gamma.numpy()
    train("tail", model, Batches(rows, targets, None, 8, (0,)), epochs=2, optimizer=keras.optimizers.Adam(0.1))
    norm = tail.layers[1]
    np.testing.assert_array_equal(norm.moving_mean, np.zeros(4))
    np.testing.assert_array_equal(norm.moving_variance, np.ones(4))
    assert not np.allclose(norm.gamma, before)


def test_logits_do_not_depend_on_the_batch_size():
    rows = np.random.default_rng(0).normal(size=(11, 5)).astype(np.float32)
    head = build_head(5, 3, hidden_units=8, batch_norm=True)
    model = TailAndHead(None, head)
    expected = head.predict_on_batch(rows)
    for batch_size in (1, 4, 11, 50):
        logits = model.logits(rows, batch_size)
        assert logits.dtype == np.float64
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
