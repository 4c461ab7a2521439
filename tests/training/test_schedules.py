import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone

from skcnn._keras import keras
from skcnn.training import CosineDecay, OneCycle, PolynomialDecay, StepTable, TimeBasedDecay, make_schedule
from skcnn.training._schedules import SCHEDULES, split_epochs


def rates(schedule, epochs=4, steps=5, learning_rate=0.1):
    rate = schedule.rate(learning_rate, epochs, steps)
    return np.array([rate(step) for step in range(epochs * steps)])


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_polynomial_decay(power):
    left = 1 - np.arange(20) / 20
    np.testing.assert_allclose(rates(PolynomialDecay(power)), 0.1 * left**power, rtol=1e-5)
    np.testing.assert_allclose(rates(PolynomialDecay(power, 0.2)), 0.02 + 0.08 * left**power, rtol=1e-5)


def test_a_table_holds_from_the_first_step_after_so_many_epochs():
    table = rates(StepTable({3: 0.001, 1: 0.01}))
    np.testing.assert_allclose(table, [0.1] * 5 + [0.01] * 10 + [0.001] * 5, rtol=1e-6)
    np.testing.assert_allclose(rates(StepTable({0: 0.5})), 0.5)
    np.testing.assert_allclose(rates(StepTable({0: 0.5, 2: 0.05})), [0.5] * 10 + [0.05] * 10, rtol=1e-6)


def test_cosine_with_a_warm_up():
    values = rates(CosineDecay(warmup=0.2))  # 4 of 20 steps
    np.testing.assert_allclose(values[:4], [0.025, 0.025 + 0.075 / 4, 0.0625, 0.025 + 0.75 * 0.075], rtol=1e-5)
    np.testing.assert_allclose(values[4:], 0.05 * (1 + np.cos(np.pi * np.arange(16) / 16)), atol=1e-8)


def test_cosine_with_restarts_in_cycles_of_whole_epochs():
    values = rates(CosineDecay(warmup=0, cycles=3))
    assert split_epochs(4, 3) == [2, 1, 1]
    expected = [0.05 * (1 + np.cos(np.pi * step / steps)) for steps in (10, 5, 5) for step in range(steps)]
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    warm = rates(CosineDecay(warmup=0.1, cycles=3, final=0.5))
    assert warm[0] == pytest.approx(0.05)
    assert warm[2] == pytest.approx(0.1)
    np.testing.assert_allclose(warm[10:], 0.05 + np.array(expected[10:]) / 2, rtol=1e-5)


def test_time_based_decay_is_that_of_the_old_optimizers():
    np.testing.assert_allclose(rates(TimeBasedDecay(0.01)), 0.1 / (1 + 0.01 * np.arange(20)))
    np.testing.assert_allclose(rates(TimeBasedDecay()), 0.1 / (1 + 0.1 / 4 * np.arange(20)))
    np.testing.assert_allclose(rates(TimeBasedDecay(0)), 0.1)


@pytest.mark.parametrize(
    "kind", [PolynomialDecay, lambda by: CosineDecay(0.3, 2, by=by), OneCycle, lambda by: TimeBasedDecay(0.5, by=by)]
)
def test_by_epoch_the_rate_stays_for_an_epoch(kind):
    of_steps = kind(by="epoch").rate_of_steps(0.1, 6, 5)
    of_epochs = kind(by="step").rate(0.1, 6, 1)
    values = [of_steps(step) for step in range(30)]
    np.testing.assert_allclose(values, np.repeat([of_epochs(epoch) for epoch in range(6)], 5))
    assert len({*values}) > 2
    by_step = kind(by="step")
    assert [by_step.rate_of_steps(0.1, 6, 5)(step) for step in range(30)] == [*rates(by_step, epochs=6)]


def test_polynomial_decay_by_epoch_is_that_of_the_publications():
    rate = PolynomialDecay(by="epoch").rate_of_steps(5e-3, 70, 10)
    np.testing.assert_allclose([rate(step) for step in range(700)], np.repeat(5e-3 * (1 - np.arange(70) / 70), 10))


def test_one_cycle_rises_and_falls():
    values = rates(OneCycle(), epochs=10, steps=10)
    assert values[0] == pytest.approx(0.004)
    assert values.argmax() == 30
    assert values[30] == pytest.approx(0.1)
    assert (np.diff(values[:31]) > 0).all()
    assert (np.diff(values[30:]) < 0).all()
    assert values[-1] < 2e-4


def test_schedules_are_those_of_keras():
    of_keras = keras.optimizers.schedules
    for ours, theirs in [
        (PolynomialDecay(1.5, 0.1), of_keras.PolynomialDecay(0.1, 20, 0.01, 1.5)),
        (StepTable({1: 0.02, 3: 0.01}), of_keras.PiecewiseConstantDecay([4, 14], [0.1, 0.02, 0.01])),
        (CosineDecay(0.0, final=0.2), of_keras.CosineDecay(0.1, 20, 0.2)),
        (OneCycle(), of_keras.CosineDecay(0.004, 14, 1e-4, warmup_target=0.1, warmup_steps=6)),
    ]:
        np.testing.assert_allclose(rates(ours), [float(theirs(step)) for step in range(20)], rtol=1e-5)


@pytest.mark.parametrize(("epochs", "n_cycles", "lengths"), [(20, 5, [4] * 5), (7, 3, [3, 2, 2]), (2, 2, [1, 1])])
def test_cycles_of_whole_epochs(epochs, n_cycles, lengths):
    assert split_epochs(epochs, n_cycles) == lengths


@pytest.mark.parametrize("schedule", [*filter(None, SCHEDULES.values()), StepTable({2: 0.1})])
def test_schedules_are_values(schedule):
    assert copy.deepcopy(schedule) == pickle.loads(pickle.dumps(schedule)) == schedule
    assert clone(schedule, safe=False) == schedule
    one_step = rates(schedule, epochs=3, steps=1)
    assert np.isfinite(one_step).all()
    assert (one_step >= 0).all()


def test_what_a_parameter_stands_for():
    assert make_schedule(None, 10) is make_schedule("constant", 10) is None
    assert make_schedule("cosine", 10) == CosineDecay()
    assert make_schedule("one_cycle", 10) == OneCycle()
    assert make_schedule({5: 0.1}, 10) == StepTable({5: 0.1})
    assert make_schedule(PolynomialDecay(3.0), 10) == PolynomialDecay(3.0)
    assert make_schedule({5: 0.1}, 0) == StepTable({5: 0.1}), "nothing is trained"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_schedule("cosin", 5), r"'schedule'.*'one_cycle', 'time_based', None, a table .*Got 'cosin'"),
        (lambda: make_schedule(0.1, 5), r"'schedule'.*Got 0\.1"),
        (lambda: make_schedule({}, 5), r"at least one entry, such as \{10: 1e-4\}"),
        (lambda: make_schedule({-1: 0.1}, 5), r"'schedule' parameter must be an int of at least 0\. Got -1"),
        (lambda: make_schedule({0.5: 0.1}, 5), r"'schedule' parameter must be an int"),
        (lambda: make_schedule({2: 0}, 5), r"'schedule\[2\]' parameter must be a number above 0"),
        (lambda: make_schedule({5: 0.1}, 5), r"after 5 epochs, and training ends after 5; set 'epochs' higher"),
        (lambda: make_schedule(CosineDecay(cycles=6), 5), r"each of 6 cycles .* there are 5; set 'epochs' higher"),
        (lambda: make_schedule(CosineDecay(warmup=0.5, cycles=2), 4), r"warm-up of 0\.5 .*set 'warmup' below 0\.5"),
        (lambda: make_schedule(CosineDecay(warmup=1), 5), r"'schedule__warmup'.*below 1"),
        (lambda: make_schedule(CosineDecay(cycles=0), 5), r"'schedule__cycles'.*at least 1"),
        (lambda: make_schedule(CosineDecay(final=2), 5), r"'schedule__final'.*at most 1"),
        (lambda: make_schedule(PolynomialDecay(power=0), 5), r"'schedule__power'.*above 0"),
        (lambda: make_schedule(OneCycle(start=-1), 5), r"'schedule__start'"),
    ],
)
def test_schedules_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()
