"""Schedules: how the learning rate changes in the course of a training."""

from __future__ import annotations

import bisect
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from skcnn._parameters import ParameterGroup
from skcnn._validation import Check, check_int, check_parameters, check_real, none_or, one_of, real, whole

# From the step, counted from 0 on, to the learning rate.
Rate = Callable[[int], float]


class Schedule(ParameterGroup, ABC):
    """How the learning rate changes from step to step, or from epoch to epoch.

    One of your own is a dataclass, as those here are: its fields tell it from others when a fit goes on from a
    checkpoint, and searches reach them as ``schedule__name``. With a field ``by: str = "step"`` it changes by epoch
    where that is "epoch".
    """

    by = "step"

    @abstractmethod
    def rate(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> Rate:
        """Return the function from the step, counted from 0 on, to the learning rate.

        Parameters
        ----------
        learning_rate : float
            Of the classifier.
        epochs : int
        steps_per_epoch : int
        """

    def rate_of_steps(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> Rate:
        """Return the same function, which stays the same for an epoch where the rate changes by epoch."""
        if self.by == "step":
            return self.rate(learning_rate, epochs, steps_per_epoch)
        rate = self.rate(learning_rate, epochs, 1)
        return lambda step: rate(step // steps_per_epoch)

    def check(self, epochs: int) -> None:
        """Refuse a number of epochs that this cannot be followed in.

        Raises
        ------
        ValueError
            Saying what to change.
        """


@dataclass
class PolynomialDecay(Schedule):
    """From the learning rate down to a share of it, along a power of the share of steps that are left.

    Parameters
    ----------
    power : float, default=1.0
        1 is a straight line; above 1 it falls faster at first.
    final : float, default=0.0
        Share in [0, 1] of the learning rate that it ends at.
    by : {"step", "epoch"}, default="step"
        Whether the rate changes from step to step, or stays for an epoch what it is at its first step.
    """

    power: float = 1.0
    final: float = 0.0
    by: str = "step"

    _constraints: ClassVar[dict[str, Check]] = {
        "power": real(open_left=True),
        "final": real(most=1),
        "by": one_of("step", "epoch"),
    }

    def rate(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> Rate:
        steps = epochs * steps_per_epoch
        return lambda step: learning_rate * mix(self.final, max(0.0, 1 - step / steps) ** self.power)


@dataclass
class TimeBasedDecay(Schedule):
    """The learning rate divided by ``1 + decay * t``, where t counts the steps so far.

    It is what ``decay`` was in the optimizers of older versions of Keras.

    Parameters
    ----------
    decay : float, default=None
        How fast it falls. None takes the learning rate divided by the number of epochs, as is often recommended.
    by : {"step", "epoch"}, default="step"
        What t counts.
    """

    decay: float | None = None
    by: str = "step"

    _constraints: ClassVar[dict[str, Check]] = {
        "decay": none_or(real()),
        "by": one_of("step", "epoch"),
    }

    def rate(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> Rate:
        decay = learning_rate / epochs if self.decay is None else self.decay
        return lambda step: learning_rate / (1 + decay * step)


def check_rates(name: str, rates: Any) -> None:
    """Refuse any value that is no table from numbers of epochs to learning rates."""
    if not isinstance(rates, Mapping) or not rates:
        msg = f"The {name!r} parameter must be a table of learning rates with at least one entry, such as {{10: 1e-4}}."
        raise ValueError(f"{msg} Got {rates!r} instead.")
    for epoch, rate in rates.items():
        check_int("schedule", epoch, least=0)
        check_real(f"schedule[{epoch}]", rate, open_left=True)


@dataclass
class StepTable(Schedule):
    """Other learning rates after some numbers of epochs. A dict in the place of a schedule is one.

    Parameters
    ----------
    rates : mapping of int to float
        The learning rate after so many epochs; 0 for that of the beginning, which else is the classifier's.
    """

    rates: Mapping[int, float]

    _constraints: ClassVar[dict[str, Check]] = {
        "rates": check_rates,
    }

    def check(self, epochs: int) -> None:
        """Refuse a table whose last rate would never be used."""
        last = max(self.rates)
        if last >= epochs:
            msg = f"the schedule changes the learning rate after {last} epochs, and training ends after {epochs}"
            raise ValueError(f"{msg}; set 'epochs' higher, or leave that entry out")

    def rate(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> Rate:
        table = {0: learning_rate, **{int(epoch): float(rate) for epoch, rate in self.rates.items()}}
        begins = sorted(table)
        return lambda step: table[begins[bisect.bisect_right(begins, step // steps_per_epoch) - 1]]


@dataclass
class CosineDecay(Schedule):
    """Up to the learning rate, then along half a cosine down to a share of it; several times over, if asked.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016, arXiv 1608.03983.

    Parameters
    ----------
    warmup : float, default=0.05
        Share in [0, 1) of all steps in which it rises, in a straight line.
    cycles : int, default=1
        How many times it falls. Cycles are whole epochs; the first ones are an epoch longer where they cannot all be
        equal. The steps of the warm-up are the first of the first cycle.
    final : float, default=0.0
        Share in [0, 1] of the learning rate that each cycle ends at.
    by : {"step", "epoch"}, default="step"
        Whether the rate changes from step to step, or stays for an epoch what it is at its first step.
    """

    warmup: float = 0.05
    cycles: int = 1
    final: float = 0.0
    by: str = "step"

    _constraints: ClassVar[dict[str, Check]] = {
        "warmup": real(below=1),
        "cycles": whole(),
        "final": real(most=1),
        "by": one_of("step", "epoch"),
    }

    def check(self, epochs: int) -> None:
        """Refuse cycles that are shorter than an epoch, and a warm-up that is longer than a cycle."""
        if self.cycles > epochs:
            msg = f"each of {self.cycles} cycles of the learning rate takes at least one epoch, and there are {epochs}"
            raise ValueError(f"{msg}; set 'epochs' higher, or 'cycles' lower")
        longest = split_epochs(epochs, self.cycles)[0]
        if self.warmup * epochs >= longest:
            msg = f"a warm-up of {self.warmup:g} of {epochs} epochs is longer than the first of {self.cycles} cycles"
            raise ValueError(f"{msg}; set 'warmup' below {longest / epochs:g}")

    def rate(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> Rate:
        lengths = [length * steps_per_epoch for length in split_epochs(epochs, self.cycles)]
        warmup = round(self.warmup * sum(lengths))
        falls = [
            falling(learning_rate, length, warmup if number == 0 else 0, final=self.final)
            for number, length in enumerate(lengths)
        ]
        ends = list(itertools.accumulate(lengths))

        def rate(step: int) -> float:
            number = next((number for number, end in enumerate(ends) if step < end), len(ends) - 1)
            return falls[number](step - ends[number] + lengths[number])

        return rate


@dataclass
class OneCycle(Schedule):
    """From a share of the learning rate up to it, then along half a cosine down to next to nothing.

    The momentum stays what it is. Source: Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks
    Using Large Learning Rates", 2017, arXiv 1708.07120.

    Parameters
    ----------
    warmup : float, default=0.3
        Share in [0, 1) of all steps in which it rises, in a straight line.
    start : float, default=0.04
        Share in [0, 1] of the learning rate that it begins with.
    final : float, default=1e-4
        Share in [0, 1] of the learning rate that it ends at.
    by : {"step", "epoch"}, default="step"
        Whether the rate changes from step to step, or stays for an epoch what it is at its first step.
    """

    warmup: float = 0.3
    start: float = 0.04
    final: float = 1e-4
    by: str = "step"

    _constraints: ClassVar[dict[str, Check]] = {
        "warmup": real(below=1),
        "start": real(most=1),
        "final": real(most=1),
        "by": one_of("step", "epoch"),
    }

    def rate(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> Rate:
        steps = epochs * steps_per_epoch
        return falling(learning_rate, steps, round(self.warmup * steps), start=self.start, final=self.final)


# What depends on the phase: see `skcnn.training._plan.Plan.resolve`.
AUTO: Literal["auto"] = "auto"

SCHEDULES: dict[str, Schedule | None] = {
    "constant": None,
    "polynomial": PolynomialDecay(),
    "cosine": CosineDecay(),
    "one_cycle": OneCycle(),
    "time_based": TimeBasedDecay(),
}


def make_schedule(schedule: Any, epochs: int) -> Schedule | Literal["auto"] | None:
    """Return the schedule that a parameter stands for.

    Parameters
    ----------
    schedule : None, str, mapping or Schedule
        None for a learning rate that stays; "auto", which depends on the phase; a name in ``SCHEDULES``; a table of the
        learning rates after some numbers of epochs (`StepTable`); or a schedule.
    epochs : int
        Of the training.

    Raises
    ------
    ValueError
        For anything else, or a schedule that so many epochs cannot follow.
    """
    if isinstance(schedule, str) and schedule == AUTO:
        return AUTO
    if isinstance(schedule, str) and schedule in SCHEDULES:
        schedule = SCHEDULES[schedule]
    elif isinstance(schedule, Mapping):
        schedule = StepTable(schedule)
    elif not isinstance(schedule, Schedule | None):
        names = ", ".join(map(repr, [AUTO, *SCHEDULES]))
        msg = f"The 'schedule' parameter must be one of {names}, None, a table such as {{10: 1e-4}}, or a schedule of"
        raise ValueError(f"{msg} skcnn.training. Got {schedule!r} instead.")
    if schedule is None:
        return None
    check_parameters(schedule, "schedule__")
    if epochs:
        schedule.check(epochs)
    return schedule


def falling(learning_rate: float, steps: int, warmup: int, *, start: float | None = None, final: float) -> Rate:
    """Return a rate that rises in `warmup` steps, from a share or from the first of them, and falls in the others."""
    first = 1 / max(warmup, 1) if start is None else start

    def rate(step: int) -> float:
        if step < warmup:
            return learning_rate * mix(first, step / warmup)
        done = min(1.0, (step - warmup) / max(1, steps - warmup))
        return learning_rate * mix(final, (1 + math.cos(math.pi * done)) / 2)

    return rate


def mix(low: float, share: float) -> float:
    """Return the number that lies by `share` between `low` and 1."""
    return low + (1 - low) * share


def split_epochs(epochs: int, n_cycles: int) -> list[int]:
    shorter, longer = divmod(epochs, n_cycles)
    return [shorter + (cycle < longer) for cycle in range(n_cycles)]
