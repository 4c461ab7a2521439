"""Bytes and ages, as people write and read them."""

from __future__ import annotations

import contextlib
import math
import re
from datetime import timedelta

POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
BYTES = re.compile(r"([0-9]*\.?[0-9]+)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
HOURS = {"h": 1, "d": 24, "w": 168}
AGE = re.compile(r"([0-9]*\.?[0-9]+)\s*([hdw])", re.IGNORECASE)


def parse_bytes(value: float | str, name: str) -> float:
    """Return a number of bytes, above 0: of a number, or of a text like "20 GB", "500MiB" or "inf" for no limit.

    Parameters
    ----------
    value : int, float or str
    name : str
        What to call it in an error.

    Raises
    ------
    ValueError
        When it is none.
    """
    number = math.nan
    if isinstance(value, str):
        text = value.strip()
        if match := BYTES.fullmatch(text):
            number = float(match[1]) * (1024 if match[3] else 1000) ** POWERS[match[2].lower()]
        elif text.lower() == "inf":
            number = math.inf
    elif not isinstance(value, bool):
        with contextlib.suppress(TypeError, ValueError):
            number = float(value)
    if not number > 0:
        msg = f"{name} must be a size above 0 such as '20 GB', or 'inf' for no limit"
        raise ValueError(f"{msg}. Got {value!r} instead.")
    return number


def parse_age(value: timedelta | str, name: str) -> timedelta:
    """Return a span of time: as it is, or of a text like "12h", "30d" or "4w".

    Raises
    ------
    ValueError
        When it is none.
    """
    if isinstance(value, timedelta):
        return value
    match = AGE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{name} must be hours, days or weeks such as '12h', '30d' or '4w'. Got {value!r} instead.")
    return timedelta(hours=float(match[1]) * HOURS[match[2].lower()])


def format_bytes(number: float) -> str:
    """Return a size in three digits, such as "1.23 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def format_age(seconds: float) -> str:
    """Return how long ago something was, such as "3 hours ago"."""
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count = int(seconds // length)
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
