from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skcnn.images._geometry import Box, centre_box, covering_size, limit_aspect_ratio

sides = st.integers(1, 3000)
sizes = st.tuples(sides, sides)


@pytest.mark.parametrize(
    ("size", "target", "expected"),
    [
        # The shorter side becomes the target's: 600 * 200 / 400 = 300.
        ((400, 600), (200, 200), (200, 300)),
        ((600, 400), (200, 200), (300, 200)),
        # It may have to grow.
        ((50, 100), (224, 224), (224, 448)),
        # A target that is not square: 100 / 640 > 100 / 480, so the width decides; 480 * 100 / 640 = 75 < 100 will not do.
        ((480, 640), (100, 100), (100, 133)),
        ((480, 640), (60, 100), (75, 100)),
        ((480, 640), (100, 60), (100, 133)),
        # 133.33 is rounded down, 166.67 up, and a half up: 5 * 5 / 2 = 12.5.
        ((300, 400), (100, 100), (100, 133)),
        ((300, 500), (100, 100), (100, 167)),
        ((2, 5), (5, 5), (5, 13)),
        ((5, 2), (5, 5), (13, 5)),
        # Nothing to do.
        ((224, 224), (224, 224), (224, 224)),
        ((1, 1), (7, 9), (9, 9)),
        ((224, 225), (224, 224), (224, 225)),
        # 3 * 31 / 31 is 3 exactly, which a float scale would make 2.9999999999999996.
        ((31, 93), (1, 3), (1, 3)),
    ],
)
def test_covering_size_by_hand(size, target, expected):
    assert covering_size(size, target) == expected


@given(sizes, sizes)
def test_covering_size_covers_touches_and_keeps_the_aspect(size, target):
    height, width = covering_size(size, target)
    assert height >= target[0]
    assert width >= target[1]
    assert height == target[0] or width == target[1]
    # One side is exact, so the other is at most half a pixel from where the aspect ratio puts it.
    exact = Fraction(size[1] * height, size[0]) if height == target[0] else Fraction(size[0] * width, size[1])
    free = width if height == target[0] else height
    assert abs(free - exact) <= Fraction(1, 2) or (height, width) == target


@pytest.mark.parametrize(
    ("size", "target", "expected"),
    [
        ((200, 300), (200, 200), Box(0, 50, 200, 200)),
        ((300, 200), (200, 200), Box(50, 0, 200, 200)),
        # The odd pixel stays below and to the right.
        ((201, 303), (200, 200), Box(0, 51, 200, 200)),
        ((5, 6), (2, 1), Box(1, 2, 2, 1)),
        ((7, 9), (7, 9), Box(0, 0, 7, 9)),
    ],
)
def test_centre_box_by_hand(size, target, expected):
    assert centre_box(size, target) == expected


@given(sizes, sizes)
def test_centre_box_is_inside_and_central(size, target):
    target = (min(size[0], target[0]), min(size[1], target[1]))
    top, left, height, width = centre_box(size, target)
    assert (height, width) == target
    below, right = size[0] - top - height, size[1] - left - width
    assert below - top in (0, 1)
    assert right - left in (0, 1)


@pytest.mark.parametrize(
    ("size", "target", "expected"),
    [
        # Eight times the 10 x 10 that a square needs, around the middle.
        ((10, 100_000), (224, 224), Box(0, 49_960, 10, 80)),
        ((100_000, 10), (224, 224), Box(49_960, 0, 80, 10)),
        # An odd side stays odd, so that the centre does not move by half a pixel.
        ((10, 1001), (224, 224), Box(0, 460, 10, 81)),
        # 2:1 needs 10 x 20 of it.
        ((10, 1000), (100, 200), Box(0, 420, 10, 160)),
        # Photographs and panoramas are left whole.
        ((480, 640), (224, 224), Box(0, 0, 480, 640)),
        ((1000, 8000), (224, 224), Box(0, 0, 1000, 8000)),
        ((1, 1), (224, 224), Box(0, 0, 1, 1)),
    ],
)
def test_limited_aspect_ratio_by_hand(size, target, expected):
    assert limit_aspect_ratio(size, target) == expected


@given(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), st.tuples(st.integers(1, 512), st.integers(1, 512)))
def test_limited_aspect_ratio_bounds_what_resizing_makes(size, target):
    top, left, height, width = limit_aspect_ratio(size, target)
    assert size[0] - height - 2 * top == 0
    assert size[1] - width - 2 * left == 0
    assert height == size[0] or width == size[1]
    covering = covering_size((height, width), target)
    assert covering[0] <= 8 * target[0] + 9 * max(target) + 1
    assert covering[1] <= 8 * target[1] + 9 * max(target) + 1
