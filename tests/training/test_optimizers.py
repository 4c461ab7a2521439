import keras
import numpy as np
import pytest

from skcnn.training import make_optimizer
from skcnn.training._optimizers import OPTIMIZERS, describe_optimizer


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_name_is_an_optimizer_of_keras(name):
    optimizer = make_optimizer(name)
    assert type(optimizer).__name__.lower() == name
    assert float(optimizer.learning_rate) == pytest.approx(OPTIMIZERS[name].learning_rate)
    assert float(make_optimizer(name.upper(), np.float32(0.25)).learning_rate) == 0.25


def test_sgd_has_nesterov_momentum():
    assert (make_optimizer("sgd").momentum, make_optimizer("sgd").nesterov) == (0.9, True)


def test_a_configured_one_is_copied():
    configured = keras.optimizers.SGD(0.5, momentum=0.3, clipnorm=2.0)
    variable = keras.Variable(np.ones(2, np.float32))
    configured.apply([np.ones(2, np.float32)], [variable])
    copy = make_optimizer(configured)
    assert copy is not configured
    assert (float(copy.learning_rate), copy.momentum, copy.clipnorm) == (0.5, 0.3, 2.0)
    assert not copy.built
    assert float(make_optimizer(configured, 0.125).learning_rate) == 0.125
    assert float(configured.learning_rate) == 0.5


def test_its_schedule_is_kept_unless_a_learning_rate_is_given():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    optimizer = keras.optimizers.Adam(schedule)
    assert isinstance(make_optimizer(optimizer)._learning_rate, type(schedule))
    assert float(make_optimizer(optimizer, 0.25).learning_rate) == 0.25


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (
            "adma",
            r"'head_optimizer' parameter must be one of 'sgd', .*, or a configured Keras optimizer. Got 'adma' instead",
        ),
        (None, r"'head_optimizer' parameter must be the name of an optimizer or a Keras optimizer. Got None instead"),
        (keras.optimizers.Adam, "Got <class"),
    ],
)
def test_what_is_no_optimizer(optimizer, message):
    with pytest.raises(ValueError, match=message):
        make_optimizer(optimizer, parameter="head_optimizer")


@pytest.mark.parametrize("rate", [0, -1, float("nan"), "0.1", True])
def test_what_is_no_learning_rate(rate):
    with pytest.raises(ValueError, match="'learning_rate' parameter must be a number above 0"):
        make_optimizer("adam", rate)
    with pytest.raises(ValueError, match="'head_learning_rate' parameter"):
        make_optimizer("adam", rate, parameter="head_optimizer")


def test_one_inside_another_has_its_learning_rate():
    inner = keras.optimizers.Adam(0.5)
    scaled = keras.optimizers.LossScaleOptimizer(inner)
    assert describe_optimizer(scaled)[1] == 0.5
    made = make_optimizer(scaled, 0.25)
    assert float(made.learning_rate) == 0.25
    assert float(scaled.learning_rate) == 0.5
    assert describe_optimizer(made)[0] == describe_optimizer(make_optimizer(scaled))[0]
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    assert describe_optimizer(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(schedule)))[1] is None
