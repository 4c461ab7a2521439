import keras
import numpy as np
import pytest
import tensorflow as tf

from skcnn.training import Batches, build_head, make_optimizer
from skcnn.training._epoch_inputs import SameInputs
from skcnn.training._loop import train
from skcnn.training._model import TrainedModel
from skcnn.training._optimizers import OPTIMIZERS
from skcnn.training._plan import Plan
from skcnn.training._state import Weights


def test_the_tail_keeps_its_statistics_and_drops_nothing():
    inputs = keras.Input((4,))
    tail = keras.Model(inputs, keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(inputs)))
    head = build_head(4, 2)
    inputs = np.random.default_rng(0).normal(3, 2, size=(20, 4)).astype(np.float32)
    model = TrainedModel(tail, head)
    np.testing.assert_array_equal(model(inputs, training=True), model(inputs, training=False))
    targets = np.eye(2, dtype=np.float32)[np.arange(20) % 2]
    before = tail.layers[1].gamma.numpy()
    train("tail", model, Batches(SameInputs(inputs), targets, None, 8, (0,)), Plan(2, keras.optimizers.Adam(0.1)))
    norm = tail.layers[1]
    np.testing.assert_array_equal(norm.moving_mean, np.zeros(4))
    np.testing.assert_array_equal(norm.moving_variance, np.ones(4))
    assert not np.allclose(norm.gamma, before)


def test_logits_do_not_depend_on_the_batch_size():
    inputs = np.random.default_rng(0).normal(size=(11, 5)).astype(np.float32)
    head = build_head(5, 3, units=8, batch_norm=True)
    model = TrainedModel(None, head)
    expected = head.predict_on_batch(inputs)
    for batch_size in (1, 4, 11, 50):
        logits = model.logits(inputs, batch_size)
        assert logits.dtype == np.float64
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


# One model for many fits --------------------------------------------------------------------------------------------------

ROWS = np.random.default_rng(1).normal(size=(20, 6)).astype(np.float32)
TARGETS = np.eye(3, dtype=np.float32)[np.arange(20) % 3]


def new_head(seed=0):
    return build_head(5, 3, units=4, dropout=0.4, batch_norm=True, seed=(seed,))


def new_model():
    inputs = keras.Input((6,))
    dense = keras.layers.Dense(5, kernel_initializer=keras.initializers.GlorotUniform(7), name="dense")
    norm = keras.layers.BatchNormalization(name="norm")
    return TrainedModel(keras.Model(inputs, norm(dense(inputs))), new_head())


def fit(model, optimizer, *, seed=0, learning_rate=None, **settings):
    """Train a model from the start; return all that was trained."""
    model.start((seed,))
    batches = Batches(SameInputs(ROWS), TARGETS, None, 6, (seed,))
    train("tail", model, batches, Plan(2, make_optimizer(optimizer, learning_rate), **settings))
    return [*model.tail_weights(), *model.head.get_weights()]


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_start_at_random_is_the_head_that_this_seed_builds():
    model = new_model()
    fit(model, "sgd", seed=3)
    model.start((5,))
    for variable, other in zip(model.head.variables, new_head(5).variables, strict=True):
        np.testing.assert_array_equal(variable, other)
    assert_same(model.tail_weights(), new_model().tail_weights())


def test_a_start_from_an_earlier_phase_goes_on_with_its_dropout():
    model, later = new_model(), new_model()
    fit(model, "sgd", seed=3)
    trained = model.trained_weights()
    later.start((5,), trained)
    for variable, other in zip(later.head.variables, model.head.variables, strict=True):
        np.testing.assert_array_equal(variable, other)
    later.start((5,), Weights(trained.head))
    anew = new_model()
    anew.start((5,))
    assert_same(later.trained_weights().dropout, anew.trained_weights().dropout)


def test_batch_normalisation_of_the_tail_is_kept_unless_it_is_live():
    kept = new_model()
    live = TrainedModel(new_model().tail, new_head(), live_norm=True)
    for model, moves in ((kept, False), (live, True)):
        before = model.tail.get_layer("norm").moving_mean.numpy()
        fit(model, "sgd")
        after = model.tail.get_layer("norm").moving_mean.numpy()
        assert (after != before).any() == moves


@pytest.fixture
def traces(monkeypatch):
    """Count how often a model is traced."""
    counted = []
    call = TrainedModel.call

    def counting(self, inputs, training=False):
        if not tf.executing_eagerly():
            counted.append(training)
        return call(self, inputs, training)

    monkeypatch.setattr(TrainedModel, "call", counting)
    return counted


QUICK = {"adam", "averaged"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in (*OPTIMIZERS, "scheduled", "averaged")
    ],
)
def test_a_fit_does_not_depend_on_the_fits_before(optimizer, traces):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    own = {
        "scheduled": keras.optimizers.SGD(schedule, momentum=0.9),
        "averaged": keras.optimizers.Adam(0.1, amsgrad=True, use_ema=True, ema_overwrite_frequency=3),
    }
    optimizer = own.get(optimizer, optimizer)
    used = new_model()
    fit(used, optimizer, seed=1)
    traced = len(traces)
    second = fit(used, optimizer)
    assert len(traces) == traced > 0
    assert_same(second, fit(new_model(), optimizer))


@pytest.mark.slow
def test_another_learning_rate_is_not_traced_again(traces):
    model = new_model()
    slow = fit(model, "adam", learning_rate=1e-3)
    traced = len(traces)
    fast = fit(model, "adam", learning_rate=1e-1)
    assert len(traces) == traced
    assert not np.allclose(slow[0], fast[0])
    assert_same(fast, fit(new_model(), "adam", learning_rate=1e-1))


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [
        pytest.param("sgd", {}, marks=pytest.mark.slow),
        pytest.param(keras.optimizers.AdamW(1e-2, weight_decay=0.5), {}, marks=pytest.mark.slow),
        pytest.param(
            keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.1, 3)), {}, marks=pytest.mark.slow
        ),
        pytest.param("adamw", {"label_smoothing": 0.3}, marks=pytest.mark.slow),
    ],
    ids=["class", "configuration", "schedule", "smoothing"],
)
def test_other_settings_take_effect(optimizer, settings):
    model = new_model()
    fit(model, keras.optimizers.AdamW(1e-2))
    assert_same(fit(model, optimizer, **settings), fit(new_model(), optimizer, **settings))


@pytest.mark.slow
def test_an_optimizer_that_cannot_be_compared_is_compiled_each_time(traces):
    class Odd(keras.optimizers.SGD):
        def __init__(self, learning_rate=0.1, note=None, **settings):
            super().__init__(learning_rate, **settings)
            self.note = note

        def get_config(self):
            return super().get_config() | {"note": self.note}

    model = new_model()
    first = fit(model, Odd(note=object()))
    traced = len(traces)
    assert_same(fit(model, Odd(note=object())), first)
    assert len(traces) == 2 * traced
