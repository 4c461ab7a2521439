import math
from datetime import timedelta

import pytest

from skcnn.cache._units import format_age, format_bytes, parse_age, parse_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20 GB", 20e9),
        ("20G", 20e9),
        ("1.5gb", 1.5e9),
        (".5 MB", 5e5),
        ("512 MiB", 512 * 2**20),
        ("2Ti", 2 * 2**40),
        ("1000", 1000),
        ("100 B", 100),
        (" 3 kB ", 3000),
        ("inf", math.inf),
        (5, 5),
        (2.5e9, 2.5e9),
        (math.inf, math.inf),
    ],
)
def test_sizes(text, expected):
    assert parse_bytes(text, "it") == expected


@pytest.mark.parametrize(
    "value", ["", "lots", "20 XB", "-1 GB", "0", 0, -1, math.nan, "nan", None, True, "1e9x", [1, 2]]
)
def test_what_is_no_size_is_refused(value):
    with pytest.raises(ValueError, match=r"it must be a size above 0 such as '20 GB', or 'inf' for no limit. Got "):
        parse_bytes(value, "it")


@pytest.mark.parametrize(("text", "hours"), [("12h", 12), ("30d", 720), ("1.5 D", 36), ("4w", 672), ("0h", 0)])
def test_ages(text, hours):
    assert parse_age(text, "it") == timedelta(hours=hours)
    assert parse_age(timedelta(hours=hours), "it") == timedelta(hours=hours)


@pytest.mark.parametrize("value", ["", "30", "30m", "d", "-1d", None, 30])
def test_what_is_no_age_is_refused(value):
    with pytest.raises(ValueError, match="it must be hours, days or weeks such as '12h', '30d' or '4w'. Got "):
        parse_age(value, "it")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1234, "1.23 kB"), (999_900, "1 MB"), (12_345_678, "12.3 MB"), (2e9, "2 GB"),
     (1.5e12, "1.5 TB"), (2e15, "2e+03 TB")],
)  # fmt: skip
def test_sizes_are_written_in_three_digits(number, text):
    assert format_bytes(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "just now"), (59, "just now"), (60, "1 minute ago"), (7200, "2 hours ago"), (90_000, "1 day ago"),
     (40 * 86_400, "40 days ago")],
)  # fmt: skip
def test_ages_are_written_in_words(seconds, text):
    assert format_age(seconds) == text
