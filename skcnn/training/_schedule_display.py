"""`ScheduleDisplay`: learning rates in the course of a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from skcnn._optional import check_matplotlib, new_axes
from skcnn._validation import check_int, check_real
from skcnn.training._schedules import AUTO, Schedule, make_schedule

LARGEST_RATIO = 100


class ScheduleDisplay:
    """The learning rate of one or several schedules, epoch by epoch.

    `from_schedules` computes and draws it; `plot` draws it again.

    Parameters
    ----------
    rates : mapping of str to ndarray of shape (n_steps,)
        The learning rate of each step, by the name of the schedule.
    steps_per_epoch : int

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    lines_ : list of matplotlib.lines.Line2D
        One for each schedule.

    Examples
    --------
    >>> from skcnn.training import CosineDecay, ScheduleDisplay
    >>> schedules = {"cosine": "cosine", "three cycles": CosineDecay(cycles=3), "table": {20: 1e-3}}
    >>> display = ScheduleDisplay.from_schedules(schedules, learning_rate=0.01, epochs=30)  # doctest: +SKIP
    >>> display.figure_.savefig("rates.png")  # doctest: +SKIP
    """

    def __init__(self, rates: Mapping[str, Any], steps_per_epoch: int):
        self.rates = {name: np.asarray(values, np.float64) for name, values in rates.items()}
        self.steps_per_epoch = steps_per_epoch

    @classmethod
    def from_schedules(
        cls,
        schedules: Any,
        *,
        learning_rate: float,
        epochs: int,
        steps_per_epoch: int = 100,
        ax: Any = None,
        **line_options: Any,
    ) -> ScheduleDisplay:
        """Plot the learning rates of schedules.

        Parameters
        ----------
        schedules : schedule, or mapping of str to schedule
            What the parameter `schedule` of a classifier takes, but for "auto": a name, a table such as ``{10: 1e-3}``,
            None or a `Schedule`; of several by the name that the legend gives them. A mapping of numbers is a table.
        learning_rate : float
        epochs : int
        steps_per_epoch : int, default=100
            The number of images divided by the batch size.
        ax, **line_options
            As of `plot`.

        Returns
        -------
        ScheduleDisplay

        Raises
        ------
        ValueError
            For what is no schedule, or one that so many epochs cannot follow.
        ImportError
            When matplotlib is not installed.
        """
        check_real("learning_rate", learning_rate, open_left=True)
        check_int("epochs", epochs)
        check_int("steps_per_epoch", steps_per_epoch)
        is_several = isinstance(schedules, Mapping) and not all(isinstance(key, int) for key in schedules)
        named = dict(schedules) if is_several else {name_of(schedules): schedules}
        rates = {name: rates_of(each, learning_rate, epochs, steps_per_epoch) for name, each in named.items()}
        return cls(rates, steps_per_epoch).plot(ax=ax, **line_options)

    def plot(self, *, ax: Any = None, **line_options: Any) -> ScheduleDisplay:
        """Plot the learning rates.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw. None makes a figure.
        **line_options
            For `matplotlib.axes.Axes.plot`, such as ``linestyle``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            When there is no schedule.
        ImportError
            When matplotlib is not installed.
        """
        if not self.rates:
            raise ValueError("there is nothing to plot: no schedule was given")
        check_matplotlib(type(self).__name__)
        (self.ax_,) = [ax] if ax is not None else new_axes(1, size=(5, 3))
        self.figure_ = self.ax_.figure
        self.lines_ = []
        for name, values in self.rates.items():
            epochs = np.arange(len(values)) / self.steps_per_epoch
            self.lines_ += self.ax_.plot(epochs, values, **{"label": name, **line_options})
        self.ax_.set(xlabel="epochs", ylabel="learning rate")
        largest = [values.max() for values in self.rates.values()]
        if max(largest) > LARGEST_RATIO * min(largest):
            self.ax_.set_yscale("log")
        self.ax_.legend(fontsize="small")
        return self


def name_of(schedule: Any) -> str:
    """Return what the legend calls a schedule without a name."""
    if isinstance(schedule, Schedule):
        return type(schedule).__name__
    return "constant" if schedule is None else str(schedule)


def rates_of(schedule: Any, learning_rate: float, epochs: int, steps_per_epoch: int) -> np.ndarray:
    """Return the learning rate of each step."""
    made = make_schedule(schedule, epochs)
    if made == AUTO:
        raise ValueError("schedule='auto' depends on what is trained; it is 'cosine' or 'constant'")
    steps = range(epochs * steps_per_epoch)
    if made is None:
        return np.full(len(steps), float(learning_rate))
    rate = made.rate_of_steps(learning_rate, epochs, steps_per_epoch)
    return np.array([rate(step) for step in steps])
