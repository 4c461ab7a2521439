"""What MeanSubtract learns, and that each image is decoded once for it."""

from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.model_selection import KFold

from skcnn import MeanSubtract
from skcnn.exceptions import ImageReadError
from skcnn.images import Crop, Step, as_image_sequence


def test_a_search_decodes_each_image_once(image_paths, decodes, later):
    folds = list(KFold(3, shuffle=True, random_state=0).split(image_paths))
    expected = MeanSubtract(std=True, cache=None).fit([image_paths[i] for i in folds[0][0]])
    decodes.clear()
    for _ in range(5):
        for train, _ in folds:
            learned = MeanSubtract(std=True).fit([image_paths[i] for i in train])
            if train is folds[0][0]:
                np.testing.assert_array_equal(learned.mean_, expected.mean_)
                np.testing.assert_array_equal(learned.std_, expected.std_)
    assert len(decodes) == len(image_paths)


def test_the_order_of_the_images_changes_no_bit(image_paths):
    one, other = (MeanSubtract(std=True).fit(paths) for paths in (image_paths, image_paths[::-1]))
    np.testing.assert_array_equal(one.mean_, other.mean_)
    np.testing.assert_array_equal(one.std_, other.std_)


def test_other_steps_have_other_sums(image_paths):
    images = as_image_sequence(image_paths)
    whole = MeanSubtract().fit(images).mean_
    cropped = MeanSubtract().fit(images.with_step(Crop(0, 0, 10, 10))).mean_
    np.testing.assert_array_equal(cropped, MeanSubtract(cache=None).fit(images.with_step(Crop(0, 0, 10, 10))).mean_)
    assert (cropped != whole).any()


def test_without_a_cache_nothing_is_written(image_paths, private_cache):
    MeanSubtract(cache=None).fit(image_paths)
    assert not private_cache.exists()


def test_progress_is_shown_on_request(image_paths, capsys):
    MeanSubtract(verbose=1).fit(image_paths)
    assert "averaging channels" in capsys.readouterr().err


@dataclass(frozen=True)
class SpoilDark(Step):
    """Makes NaN of every image whose first pixel is below a limit."""

    limit: int

    def __call__(self, image):
        return image.astype(np.float32) * (np.nan if image[0, 0, 0] < self.limit else 1)


@pytest.mark.parametrize("limit", [1, 256])
def test_images_of_which_a_step_makes_nan_are_named_not_left_out(limit):
    pixels = np.random.default_rng(0).integers(1, 256, (6, 4, 4, 3), dtype=np.uint8)
    pixels[[2, 4], 0, 0, 0] = 0
    images = as_image_sequence(list(pixels)).with_step(SpoilDark(limit))
    with pytest.raises(ImageReadError, match=r"the steps made NaN or infinite pixels of it") as caught:
        MeanSubtract().fit(images)
    assert sorted(caught.value.failures) == ([2, 4] if limit == 1 else [*range(6)])
