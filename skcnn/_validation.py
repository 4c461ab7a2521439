"""Checks of parameters; their messages name the value given and the values allowed."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

# Takes the name of a parameter, for the message, and its value; raises ValueError where that does not do.
Check = Callable[[str, Any], Any]


def check_parameters(owner: Any, prefix: str = "") -> None:
    """Check the parameters of an estimator, and of the values that some of them are, by the tables of their classes.

    A class has its own table, `_constraints`, from the names of parameters to their checks.
    """
    tables = [vars(kind).get("_constraints", {}) for kind in type(owner).__mro__]
    for name, check in {name: check for table in reversed(tables) for name, check in table.items()}.items():
        value = getattr(owner, name)
        check(prefix + name, value)
        if hasattr(value, "_constraints"):
            check_parameters(value, f"{prefix}{name}__")


def none_or(check: Check) -> Check:
    """Return the check of a parameter that may also be None."""
    return lambda name, value: None if value is None else check(name, value)


def one_of(*options: Any) -> Check:
    """Return the check of a parameter that is one of some values."""
    return lambda name, value: check_choice(name, value, options)


def instance_of(*kinds: type, words: str) -> Check:
    """Return the check of a parameter that is an instance of some classes; `words` are for the message."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, kinds):
            raise ValueError(f"The {name!r} parameter must be {words}. Got {value!r} instead.")

    return check


def whole(*, least: int = 1) -> Check:
    """Return the check of a parameter that is a whole number, as `check_int`."""
    return lambda name, value: check_int(name, value, least=least)


def real(**bounds: Any) -> Check:
    """Return the check of a parameter that is a number within bounds, as `check_real`."""
    return lambda name, value: check_real(name, value, **bounds)


def closest(name: Any, options: Iterable[str], n: int = 3) -> str:
    """Return the options that resemble `name` most, or all of a short list, quoted and separated by commas."""
    options = list(options)
    if len(options) <= 6:
        return ", ".join(map(repr, options))
    by_case = {option.lower(): option for option in options}
    matches = difflib.get_close_matches(str(name).lower(), by_case, n=n, cutoff=0.4)
    return ", ".join(repr(by_case[match]) for match in matches) or ", ".join(map(repr, options[:n]))


def check_choice(name: str, value: Any, options: Iterable[Any]) -> None:
    """Raise ValueError unless `value` is one of `options`."""
    options = list(options)
    # Identity first: comparing an array with a string gives an array.
    if not any(value is option or (isinstance(value, type(option)) and value == option) for option in options):
        allowed = ", ".join(map(repr, options))
        raise ValueError(f"The {name!r} parameter must be one of {allowed}. Got {value!r} instead.")


def check_flag(name: str, value: Any) -> bool:
    """Return `value` as a bool; raise ValueError unless it is True or False, of Python or of NumPy."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"The {name!r} parameter must be True or False. Got {value!r} instead.")
    return bool(value)


def check_int(name: str, value: Any, *, least: int = 1) -> int:
    """Return `value` as an int; raise ValueError unless it is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"The {name!r} parameter must be an int of at least {least}. Got {value!r} instead.")
    return int(value)


def check_real(
    name: str,
    value: Any,
    *,
    least: float = 0.0,
    below: float = math.inf,
    most: float = math.inf,
    open_left: bool = False,
) -> float:
    """Return `value` as a float; raise ValueError unless it is a number of at least `least`, within the other bounds.

    With `open_left` it has to be above `least`.
    """
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not least <= value < below or value > most or (open_left and value == least):
        low = f"above {least:g}" if open_left else f"of at least {least:g}"
        high = "" if below == math.inf else f" and below {below:g}"
        high += "" if most == math.inf else f" and at most {most:g}"
        raise ValueError(f"The {name!r} parameter must be a number {low}{high}. Got {value!r} instead.")
    return float(value)


def check_size(name: str, value: Any) -> tuple[int, int]:
    """Return `value` as (height, width); one number means a square.

    Raises
    ------
    ValueError
        When it is neither a positive int nor a pair of them.
    """
    pair = (value, value) if isinstance(value, numbers.Integral) else value
    try:
        height, width = pair
        sides = [
            isinstance(side, numbers.Integral) and not isinstance(side, bool) and int(side) > 0
            for side in (height, width)
        ]
    except (TypeError, ValueError):
        sides = [False]
    if not all(sides):
        msg = (
            f"The {name!r} parameter must be (height, width) in pixels, two ints of at least 1. Got {value!r} instead."
        )
        raise ValueError(msg)
    return int(height), int(width)
