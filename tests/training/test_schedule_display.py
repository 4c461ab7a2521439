import numpy as np
import pytest

from skcnn.training import CosineDecay, PolynomialDecay, ScheduleDisplay, TimeBasedDecay

pytestmark = pytest.mark.usefixtures("pyplot")
SETTINGS = {"learning_rate": 0.1, "epochs": 4, "steps_per_epoch": 5}


def test_several_schedules_are_drawn_beside_each_other():
    schedules = {"cosine": "cosine", "by epoch": PolynomialDecay(by="epoch"), "table": {2: 0.05}, "none": None}
    display = ScheduleDisplay.from_schedules(schedules, **SETTINGS)
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == [*schedules]
    cosine, by_epoch, table, constant = display.lines_
    np.testing.assert_allclose(cosine.get_xdata(), np.arange(20) / 5)
    rate = CosineDecay().rate(0.1, 4, 5)
    np.testing.assert_allclose(cosine.get_ydata(), [rate(step) for step in range(20)])
    np.testing.assert_allclose(by_epoch.get_ydata(), np.repeat([0.1, 0.075, 0.05, 0.025], 5))
    np.testing.assert_allclose(table.get_ydata(), [0.1] * 10 + [0.05] * 10)
    np.testing.assert_allclose(constant.get_ydata(), 0.1)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("epochs", "learning rate")


@pytest.mark.parametrize(
    ("schedule", "name"),
    [("one_cycle", "one_cycle"), (None, "constant"), (TimeBasedDecay(1), "TimeBasedDecay"), ({2: 0.01}, "{2: 0.01}")],
)
def test_one_schedule(schedule, name, pyplot):
    _, ax = pyplot.subplots()
    display = ScheduleDisplay.from_schedules(schedule, **SETTINGS, ax=ax, color="red")
    (line,) = display.lines_
    assert (line.get_label(), line.get_color(), display.ax_) == (name, "red", ax)


def test_rates_of_different_size_are_seen_by_their_logarithms():
    schedules = {"large": None, "small": {0: 1e-4}}
    assert ScheduleDisplay.from_schedules(schedules, **SETTINGS).ax_.get_yscale() == "log"
    assert ScheduleDisplay.from_schedules({"large": None}, **SETTINGS).ax_.get_yscale() == "linear"


@pytest.mark.parametrize(
    ("schedules", "settings", "message"),
    [
        ({}, {}, "must be a table of learning rates with at least one entry"),
        ("auto", {}, "depends on what is trained"),
        ("cosin", {}, "'schedule' parameter must be one of"),
        (CosineDecay(cycles=5), {}, "each of 5 cycles"),
        (PolynomialDecay(by="batch"), {}, "'schedule__by' parameter must be one of 'step', 'epoch'"),
        (None, {"epochs": 0}, "epochs"),
        (None, {"learning_rate": 0}, "learning_rate"),
    ],
)
def test_what_cannot_be_drawn(schedules, settings, message):
    with pytest.raises(ValueError, match=message):
        ScheduleDisplay.from_schedules(schedules, **{**SETTINGS, **settings})
    with pytest.raises(ValueError, match="nothing to plot: no schedule"):
        ScheduleDisplay({}, 5).plot()
