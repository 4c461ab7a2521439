from dataclasses import dataclass

import numpy as np
import pytest

from skcnn.exceptions import ImageReadError
from skcnn.images import FlipHorizontal, TenCrop, ViewStep
from skcnn.images._views import ViewPicks, apply_step, positions_of


def test_positions_by_hand():
    assert positions_of(slice(1, 2), 5) == slice(1, 2)
    assert positions_of([True, False, True], 3).tolist() == [0, 2]
    assert positions_of([2, -1], 3).tolist() == [2, -1]
    assert positions_of([], 3).dtype == np.intp


def test_picks_of_all_views():
    picks = ViewPicks.of_all(2, 3)
    assert picks.positions.tolist() == [0, 0, 0, 1, 1, 1]
    assert picks.views.tolist() == [0, 1, 2, 0, 1, 2]
    assert picks.runs() == [range(3), range(3, 6)]
    assert ViewPicks.of_all(0, 3).runs() == []


def test_taking_picks_keeps_the_images_that_are_needed_once():
    picks = ViewPicks.of_all(5, 3)
    rows, taken = picks.take(np.array([14, 3, 12, 3, 7]))
    assert rows.tolist() == [4, 1, 2]
    assert taken.positions.tolist() == [0, 1, 0, 1, 2]
    assert taken.views.tolist() == [2, 0, 0, 0, 1]
    assert taken.runs() == [range(1), range(1, 2), range(2, 3), range(3, 4), range(4, 5)]
    rows, none = picks.take(slice(0, 0))
    assert len(rows) == len(none.positions) == len(none.views) == 0


@dataclass(frozen=True)
class Draw(ViewStep):
    n_views: int = 2

    def make_view(self, image, view, random):
        return np.full_like(image, random.integers(0, 256))


def test_steps_are_applied_to_a_view():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_array_equal(apply_step(FlipHorizontal(), image, 1), image[:, ::-1])
    np.testing.assert_array_equal(apply_step(TenCrop(2, 2), image, 5), image[:, ::-1])
    origin = (0, b"digest")
    first = apply_step(Draw(), image, 0, origin)
    np.testing.assert_array_equal(apply_step(Draw(), image, 0, origin), first)
    drawn = {apply_step(Draw(), image, *way)[0, 0, 0] for way in [(0, origin), (1, origin), (0, (1, b"digest"))]}
    assert len(drawn) == 3
    with pytest.raises(ImageReadError, match="TenCrop cannot be applied: .* reaches outside an image of 2 x 2 pixels"):
        apply_step(TenCrop(3, 3), image, 0)
