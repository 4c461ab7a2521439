import copy
import dataclasses
import json
import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone

from skcnn import Augmentation, CNNFeatureExtractor
from skcnn.exceptions import PreprocessingError
from skcnn.images import ResizeCrop, as_image_sequence
from skcnn.images._augmentation import Colours, change_colours, check_levels_of

NOTHING = Augmentation.only().get_params()


@pytest.fixture
def photograph():
    return np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)


def make_views(image, n_views=6, size=(32, 32), **ranges):
    return np.asarray(as_image_sequence([image]).with_step(Augmentation(**ranges).views(n_views, size)))[0]


def draws(count=200, **ranges):
    random = np.random.default_rng(0)
    return [Augmentation(**ranges).draw(random, view, (32, 32)) for view in range(count)]


def test_views_are_many_and_come_back(photograph):
    views = make_views(photograph, crop=(0.5, 1), brightness=20, contrast=0.2)
    assert views.shape == (6, 32, 32, 3)
    assert views.dtype == np.uint8
    assert len({view.tobytes() for view in views}) == 6
    np.testing.assert_array_equal(views, make_views(photograph, crop=(0.5, 1), brightness=20, contrast=0.2))
    assert (views != make_views(photograph, crop=(0.5, 1), brightness=20, contrast=0.2, seed=1)).any()


@pytest.mark.slow
def test_equal_images_have_equal_views_wherever_they_are(photograph):
    other = 255 - photograph
    step = Augmentation().views(3, (16, 16))
    images = as_image_sequence([other, photograph, photograph, other]).with_step(step)
    views = np.asarray(images)
    np.testing.assert_array_equal(views[1], views[2])
    np.testing.assert_array_equal(views[0], views[3])
    np.testing.assert_array_equal(np.asarray(images[[2, 3]]), views[2:])
    np.testing.assert_array_equal(np.asarray(images.with_view(2)), views[:, 2])
    in_processes = joblib.Parallel(2)(joblib.delayed(lambda part: np.asarray(part))(images[i : i + 2]) for i in (0, 2))
    np.testing.assert_array_equal(np.concatenate(in_processes), views)


def test_no_global_random_numbers_are_used(photograph):
    before = np.random.get_state()[1].copy()
    make_views(photograph)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_a_cutout_is_part_of_what_views_are_stored_by():
    described = [Augmentation(cutout=cutout).views(2, (8, 8)).describe() for cutout in (0, 0.25, 2)]
    assert [each["augmentation"].get("cutout") for each in described] == [None, 0.25, 2]


def test_without_ranges_it_is_resizing():
    y, x = np.mgrid[:80, :120]
    smooth = np.stack([2 * x, 3 * y, x + y], axis=2).astype(np.uint8)
    for view in make_views(smooth, **NOTHING):
        np.testing.assert_allclose(view.astype(int), ResizeCrop(32, 32)(smooth), atol=2)


def test_draws_keep_within_their_ranges_and_reach_their_ends():
    ranges = {"rotation": 20, "width_shift": 0.1, "height_shift": 0.3, "shear": 0.4, "zoom": (0.5, 3), "invert": 0.25,
              "crop": (0.2, 0.6), "brightness": (10, 30), "contrast": 0.5, "channel_shift": 8}  # fmt: skip
    placements, colours, _ = zip(*draws(1000, **ranges), strict=True)
    expected = {"angle": (-20, 20), "shift_x": (-0.1, 0.1), "shift_y": (-0.3, 0.3), "shear": (-0.4, 0.4),
                "zoom": (0.5, 3), "share": (0.2, 0.6), "across": (0, 1), "down": (0, 1)}  # fmt: skip
    for name, (low, high) in expected.items():
        drawn = np.array([getattr(placement, name) for placement in placements])
        assert low <= drawn.min() < low + (high - low) / 50, name
        assert high - (high - low) / 50 < drawn.max() <= high, name
    contrast = np.array([each.contrast for each in colours])
    offsets = np.array([each.offsets for each in colours])
    assert 0.5 <= contrast.min() < contrast.max() <= 1.5
    assert 2 <= offsets.min() < 5
    assert 35 < offsets.max() <= 38
    assert 0.2 < np.mean([each.is_inverted for each in colours]) < 0.3
    assert 0.45 < np.mean([placement.flip_x for placement in placements]) < 0.55
    assert not any(placement.flip_y for placement in placements)


def test_whole_pixels_are_shifted_each_as_often():
    placements = [placement for placement, *_ in draws(1000, width_shift=2, height_shift=1)]
    across, down = (32 * np.array([getattr(each, name) for each in placements]) for name in ("shift_x", "shift_y"))
    for shifts, most in ((across, 2), (down, 1)):
        found, counts = np.unique(shifts, return_counts=True)
        np.testing.assert_array_equal(found, np.arange(-most, most + 1))
        assert counts.min() > 0.8 * len(shifts) / len(found)


def test_views_that_are_shifted_by_whole_pixels_and_mirrored_are_sharp():
    image = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    around = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="symmetric")
    shifted = [around[y : y + 12, x : x + 12] for y in range(5) for x in range(5)]
    settings = {**NOTHING, "width_shift": 2, "height_shift": 2, "fill_mode": "reflect"}
    for number, view in enumerate(make_views(image, 20, (12, 12), **{**settings, "horizontal_flip": "alternate"})):
        assert any(np.array_equal(view[:, ::-1] if number % 2 else view, each) for each in shifted)


def test_one_range_leaves_the_draws_of_the_others_alone():
    for (one, *_), (two, *_) in zip(draws(20), draws(20, zoom=0, vertical_flip=True), strict=True):
        assert one._replace(zoom=1.0, flip_y=two.flip_y) == two


@pytest.mark.parametrize("cutout", [6, 0.25])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_square_is_cut_out_anywhere(channels, dtype, cutout):
    image = np.random.default_rng(0).choice([0, 255], (24, 32, channels)).astype(dtype)
    views = make_views(image, 600, (24, 32), **{**NOTHING, "cutout": cutout})
    changed = (views != image).any(axis=3)
    mean = image.mean(axis=(0, 1))
    for view, place in zip(views, changed, strict=True):
        np.testing.assert_allclose(view[place], np.broadcast_to(mean, view[place].shape), atol=1)
    heights, widths = changed.any(axis=2).sum(axis=1), changed.any(axis=1).sum(axis=1)
    assert max(heights) == max(widths) == 6
    assert min(min(heights), min(widths)) == 3
    assert changed.any(axis=0).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_colours(dtype, channels):
    image = np.random.default_rng(0).integers(60, 160, (8, 9, channels)).astype(dtype)
    offsets = np.array([10.0, 20.0, -30.0])

    def changed(contrast=1.0, offsets=(0, 0, 0), is_inverted=False):
        result = change_colours(image, Colours(contrast, np.array(offsets, float), is_inverted))
        assert result.dtype == dtype
        assert result.shape == image.shape
        return result.astype(float)

    assert change_colours(image, Colours(1.0, np.zeros(3), False)) is image
    np.testing.assert_allclose(changed(offsets=offsets), image + offsets[:channels], atol=0.5)
    mean = image.mean()
    np.testing.assert_allclose(changed(contrast=0.5), (image - mean) / 2 + mean, atol=0.51)
    np.testing.assert_allclose(changed(is_inverted=True), 255.0 - image, atol=0.5)
    assert changed(offsets=np.full(3, 200.0)).max() == 255


def test_floats_that_were_centred_keep_their_range():
    image = np.array([[[-100.0], [300.0]]], np.float32)
    np.testing.assert_allclose(change_colours(image, Colours(1.0, np.full(3, 50.0), False)), [[[-50], [300]]])


def test_a_value_with_an_identity():
    one, two = Augmentation(rotation=30, zoom=[0.8, 1.2]), Augmentation(rotation=np.float64(30), zoom=(0.8, 1.2))
    assert one.views(3, (8, 8)) == two.views(3, (8, 8))
    assert clone(one, safe=False) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one
    descriptions = [augmentation.views(3, (8, 8)).describe() for augmentation in (one, two)]
    assert json.dumps(descriptions[0]) == json.dumps(descriptions[1])
    assert one.views(3, (8, 8)).describe() != one.views(4, (8, 8)).describe()
    assert one.views(3, (8, 8)).describe() != dataclasses.replace(one, invert=0.5).views(3, (8, 8)).describe()
    assert eval(repr(one)) == one


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"rotation": 200}, r"'rotation'.*at least 0 and at most 180\. Got 200"),
        ({"rotation": (-20, 20)}, r"'rotation' parameter must be a number"),
        ({"width_shift": 1.5}, r"'width_shift'.*share below 1, or a whole number of pixels. Got 1\.5"),
        ({"height_shift": -1}, r"'height_shift'.*at least 0"),
        ({"height_shift": -0.1}, r"'height_shift'.*at least 0"),
        ({"shear": 20}, r"'shear'.*at most 1\. Got 20"),
        ({"zoom": 1.5}, r"'zoom'.*below 1"),
        ({"zoom": (0, 2)}, r"'zoom' parameter must be a range \(low, high\) of factors.*above 0.*Got \(0, 2\)"),
        ({"zoom": (2, 1)}, r"'zoom'.*\(low, high\)"),
        ({"contrast": -1}, r"'contrast'"),
        ({"brightness": 300}, r"'brightness'.*at most 255"),
        ({"brightness": 0.2}, r"'brightness'.*levels of 0 to 255.*brightness=20; 'contrast' is a factor"),
        ({"brightness": (0.8, 1.2)}, r"'brightness'.*levels of 0 to 255"),
        ({"channel_shift": (1, 2)}, r"'channel_shift' parameter must be one number"),
        ({"channel_shift": "much"}, r"'channel_shift'"),
        ({"invert": 1.1}, r"'invert'.*at most 1"),
        ({"crop": 0.5}, r"'crop' parameter must be a range \(low, high\) of the area.*Got 0\.5"),
        ({"crop": (0, 1)}, r"'crop'.*above 0"),
        ({"crop": (0.5, 1.1)}, r"'crop'.*at most 1"),
        ({"crop": (float("nan"), 1)}, r"'crop'"),
        ({"fill_mode": "mirror"}, r"'fill_mode'.*'nearest', 'reflect', 'wrap', 'constant'"),
        ({"horizontal_flip": 2}, r"'horizontal_flip'.*True, False or 'alternate'. Got 2"),
        ({"horizontal_flip": "both"}, r"'horizontal_flip'.*True, False or 'alternate'"),
        ({"seed": -1}, r"'seed'"),
    ],
)
def test_ranges_out_of_bounds(ranges, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**ranges).views(1, (8, 8))


def test_number_of_views():
    with pytest.raises(ValueError, match=r"'n_views'.*Got 0"):
        Augmentation().views(0, (8, 8))


def test_needed_size_is_that_of_the_smallest_crop_without_a_margin():
    assert Augmentation(**NOTHING).views(1, (100, 50)).needed_size() == (100, 50)
    assert Augmentation(**{**NOTHING, "zoom": (0.5, 0.8)}).views(1, (100, 50)).needed_size() == (100, 50)
    assert Augmentation(**{**NOTHING, "zoom": 0.25}).views(1, (100, 50)).needed_size() == (125, 63)


def test_sufficient_size_is_that_of_the_smallest_crop():
    assert Augmentation(**NOTHING).views(1, (100, 50)).sufficient_size() == (150, 75)
    assert Augmentation(**{**NOTHING, "zoom": (1, 2), "crop": (0.25, 1)}).views(1, (100, 50)).sufficient_size() == (
        600,
        300,
    )


def test_views_of_large_photographs_are_decoded_small(photograph, tmp_path):
    import cv2

    path = tmp_path / "large.jpg"
    y, x = np.mgrid[:1600, :2000]
    cv2.imwrite(str(path), np.stack([x / 8, y / 7, (x + y) / 15], axis=2).astype(np.uint8))
    images = as_image_sequence([path]).with_step(Augmentation(crop=(0.5, 1)).views(4, (64, 64)))
    fast, exact = (np.asarray(images.with_decode(decode)).astype(int) for decode in ("fast", "exact"))
    assert abs(fast - exact).max() <= 4


def test_grey_images():
    grey = np.random.default_rng(0).integers(0, 256, (40, 50, 1), dtype=np.uint8)
    step = Augmentation(brightness=30, channel_shift=20, contrast=0.3).views(2, (16, 20))
    assert np.asarray(as_image_sequence([grey]).with_step(step)).shape == (1, 2, 16, 20, 1)


def test_features_of_views_are_stored(photograph, tmp_path):
    images = as_image_sequence([photograph, 255 - photograph]).with_step(Augmentation().views(3, (32, 32)))
    extractor = CNNFeatureExtractor(weights=None, input_size=32, cache=tmp_path)
    rows = extractor.fit_transform(images.with_views_apart())
    assert rows.shape == (6, 1280)
    assert extractor.cache_info().misses == 2
    np.testing.assert_array_equal(extractor.transform(images[::-1].with_view(1)), rows[[4, 1]])
    assert extractor.cache_info().misses == 2


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"brightness": 20}, "brightness"), ({"channel_shift": 9, "invert": 0.5}, "channel_shift and invert")],
)
def test_changes_of_levels_are_not_for_pixels_in_0_to_1(settings, named):
    scaled = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    augmentation = Augmentation(**settings)
    with pytest.raises(PreprocessingError, match=rf"no pixel value is above [01]\.?\d*, and {named} of .* multiply"):
        check_levels_of(as_image_sequence(scaled), augmentation)
    check_levels_of(as_image_sequence(scaled), Augmentation(contrast=0.5))
    for right in (
        scaled * 255,
        (scaled * 255).astype(np.uint8),
        scaled - 0.5,
        np.concatenate([scaled, [255 * scaled[0]]]),
    ):
        check_levels_of(as_image_sequence(right), augmentation)
    check_levels_of(as_image_sequence(np.zeros((2, 8, 8, 3), np.float32)), augmentation)
