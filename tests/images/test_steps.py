import json
from dataclasses import FrozenInstanceError, dataclass

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skcnn.images import Crop, FlipHorizontal, ResizeCrop, Step, SubtractMean, TenCrop, ToGrey, ViewStep
from skcnn.images._geometry import centre_box, covering_size
from skcnn.images._steps import INTERPOLATIONS, describe_steps

STEPS = [
    ResizeCrop(20, 30),
    ResizeCrop(20, 30, "cubic"),
    ResizeCrop(90, 70),
    Crop(2, 3, 10, 12),
    FlipHorizontal(),
    ToGrey(),
    SubtractMean((1.0, 2.0, 3.0)),
    SubtractMean((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
]


def ramp(height, width, channels=3):
    """Return an image that grows from left to right."""
    row = np.linspace(0, 255, width).round().astype(np.uint8)
    return np.repeat(np.tile(row, (height, 1))[..., np.newaxis], channels, axis=2)


# ResizeCrop


@given(
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.sampled_from([1, 3]),
    st.sampled_from([np.uint8, np.float32]),
    st.sampled_from(INTERPOLATIONS),
)
def test_resize_crop_gives_exactly_the_size(size, target, channels, dtype, interpolation):
    image = np.random.default_rng(0).integers(0, 256, (*size, channels)).astype(dtype)
    result = ResizeCrop(*target, interpolation)(image)
    assert result.shape == (*target, channels)
    assert result.dtype == dtype
    assert result.flags.c_contiguous
    if interpolation in ("area", "linear", "nearest"):
        assert image.min() <= result.min()
        assert result.max() <= image.max()


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_identity_gives_equal_pixels(interpolation, photo):
    image = photo(31, 47)
    np.testing.assert_array_equal(ResizeCrop(31, 47, interpolation)(image), image)


def test_of_an_image_long_enough_only_the_middle_is_cut(photo):
    image = photo(31, 47)
    np.testing.assert_array_equal(ResizeCrop(31, 31)(image), image[:, 8:39])
    np.testing.assert_array_equal(ResizeCrop(47, 47)(photo(90, 47)), photo(90, 47)[21:68])


def test_aspect_is_kept():
    # A disc stays a disc: its width and its height shrink alike.
    y, x = np.mgrid[:200, :400]
    disc = np.where((y - 100) ** 2 + (x - 200) ** 2 < 80**2, 255, 0).astype(np.uint8)
    small = ResizeCrop(50, 50)(np.repeat(disc[..., np.newaxis], 3, axis=2))[..., 0] > 127
    assert small.any(axis=1).sum() == 40
    assert small.any(axis=0).sum() == 40
    assert small[:, 24:26].all(axis=1).sum() == 40


def test_the_centre_stays_in_the_centre():
    image = np.zeros((60, 180, 3), np.uint8)
    image[28:32, 88:92] = 255
    small = ResizeCrop(30, 30)(image)[..., 0]
    assert np.argwhere(small > 0).tolist() == [[14, 14], [14, 15], [15, 14], [15, 15]]


def test_area_averages_by_hand():
    image = np.array([[[0], [10], [20], [30]], [[40], [50], [60], [70]]], np.uint8)
    # Each target pixel is the mean of four: (0 + 10 + 40 + 50) / 4 = 25, (20 + 30 + 60 + 70) / 4 = 45.
    assert ResizeCrop(1, 2)(image).tolist() == [[[25], [45]]]


def test_area_does_not_flicker():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(ResizeCrop(16, 16)(stripes).astype(int) - 128).max() <= 1
    assert set(np.unique(ResizeCrop(16, 16, "nearest")(stripes))) <= {0, 255}


def test_enlarging_is_smooth():
    image = ramp(8, 8)
    enlarged = ResizeCrop(40, 40)(image)[20, :, 0].astype(int)
    assert (np.diff(enlarged) >= 0).all()
    # Blocks would repeat the 8 values five times each.
    assert len(np.unique(enlarged)) > 30
    assert np.diff(enlarged).max() <= 8


def test_interpolations_differ(photo):
    image = photo(90, 100)
    results = {name: ResizeCrop(31, 31, name)(image).tobytes() for name in INTERPOLATIONS}
    assert len(set(results.values())) == len(INTERPOLATIONS)


@pytest.mark.parametrize("target", [(10, 10), (40, 40), (20, 30)])
def test_grey_stays_one_channel(target, photo):
    assert ResizeCrop(*target)(photo(20, 30)[..., :1]).shape == (*target, 1)


@pytest.mark.parametrize("shape", [(2, 60_000), (60_000, 2)])
def test_a_long_thin_strip_is_not_blown_up(shape, monkeypatch):
    import cv2

    made = []

    def resize(image, size, **options):
        made.append(size[0] * size[1])
        return original(image, size, **options)

    original = cv2.resize
    monkeypatch.setattr(cv2, "resize", resize)
    image = np.zeros((*shape, 3), np.uint8)
    axis = shape.index(60_000)
    np.moveaxis(image, axis, 0)[29_990:30_010] = 200
    result = ResizeCrop(224, 224)(image)
    assert result.shape == (224, 224, 3)
    assert (result == 200).all()
    assert made[0] <= 10 * 224 * 224


def test_views_read_only_and_mirrored_arrays(photo):
    image = photo(40, 60)
    expected = ResizeCrop(20, 20)(image)
    locked = image.copy()
    locked.flags.writeable = False
    np.testing.assert_array_equal(ResizeCrop(20, 20)(locked), expected)
    mirrored = np.ascontiguousarray(image[:, ::-1, ::-1])[:, ::-1, ::-1]
    assert not mirrored.flags.c_contiguous
    np.testing.assert_array_equal(ResizeCrop(20, 20)(mirrored), expected)
    np.testing.assert_array_equal(ToGrey()(mirrored), ToGrey()(image))


# The other steps


def test_crop_by_hand():
    image = np.arange(4 * 5).reshape(4, 5, 1).astype(np.uint8)
    box = Crop(1, 2, 2, 3)(image)
    assert box[..., 0].tolist() == [[7, 8, 9], [12, 13, 14]]
    assert box.flags.c_contiguous


@pytest.mark.parametrize("box", [(0, 0, 5, 5), (0, 0, 4, 6), (-1, 0, 2, 2), (0, -1, 2, 2), (3, 0, 2, 2), (0, 4, 2, 2)])
def test_crop_outside(box):
    with pytest.raises(ValueError, match=r"Crop\(top=.*\) reaches outside an image of 4 x 5 pixels; resize it first"):
        Crop(*box)(np.zeros((4, 5, 3), np.uint8))


def test_flip_by_hand():
    image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    assert FlipHorizontal()(image).tolist() == [[[3, 4, 5], [0, 1, 2]]]
    np.testing.assert_array_equal(FlipHorizontal()(FlipHorizontal()(image)), image)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_grey_by_hand(dtype):
    image = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [100, 100, 100]]], dtype)
    grey = ToGrey()(image)
    assert grey.shape == (1, 4, 1)
    assert grey.dtype == dtype
    # 0.299, 0.587 and 0.114 of 255
    np.testing.assert_allclose(grey[0, :, 0], [76.2, 149.7, 29.1, 100], atol=0.5 if dtype is np.uint8 else 0.1)


def test_grey_of_grey_is_itself():
    image = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    np.testing.assert_array_equal(ToGrey()(image), image)


def test_subtract_mean_by_hand():
    image = np.array([[[10, 20, 30], [0, 0, 255]]], np.uint8)
    centred = SubtractMean((10.0, 30.0, 5.0))(image)
    assert centred.dtype == np.float32
    assert centred.tolist() == [[[0, -10, 25], [-10, -30, 250]]]
    assert SubtractMean((10.0, 30.0, 5.0), (2.0, 5.0, 10.0))(image).tolist() == [[[0, -2, 2.5], [-5, -6, 25]]]


def test_one_mean_fits_all_channels():
    assert SubtractMean((10.0,), (2.0,))(np.array([[[10, 20, 30]]], np.uint8)).tolist() == [[[0, 5, 10]]]
    assert SubtractMean((10.0,))(np.array([[[30]]], np.uint8)).tolist() == [[[20]]]


@pytest.mark.parametrize("channels", [1, 2])
def test_mean_of_other_channels(channels):
    # The first of three would be the mean of red, which a grey image does not have.
    match = rf"a mean of 3 channels does not fit an image of {channels} channels"
    with pytest.raises(ValueError, match=match):
        SubtractMean((1.0, 2.0, 3.0))(np.zeros((2, 2, channels), np.uint8))


# All of them


@pytest.mark.parametrize("step", STEPS, ids=repr)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_image_given_is_left_as_it_is(step, dtype, photo):
    image = photo(40, 50).astype(dtype)
    kept = image.copy()
    step(image)
    np.testing.assert_array_equal(image, kept)


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_output_size_is_what_comes_out(step, photo):
    assert step.output_size((40, 50)) == step(photo(40, 50)).shape[:2]


@pytest.mark.parametrize(
    ("step", "size"),
    [(ResizeCrop(2, 3), (2, 3)), (Crop(0, 0, 4, 5), (4, 5)), (FlipHorizontal(), None), (ToGrey(), None)],
)
def test_output_size_of_unknown_images(step, size):
    assert step.output_size(None) == size


def test_steps_are_values():
    assert ResizeCrop(20, 30) == ResizeCrop(20, 30, "area")
    assert hash(ResizeCrop(20, 30)) == hash(ResizeCrop(20, 30, "area"))
    assert ResizeCrop(20, 30) != ResizeCrop(30, 20)
    assert FlipHorizontal() != ToGrey()
    assert len({*STEPS, *STEPS}) == len(STEPS)
    with pytest.raises(FrozenInstanceError):
        ResizeCrop(20, 30).height = 40


@pytest.mark.parametrize(("height", "width"), [(1800, 2400), (1801, 2400), (1800, 2401), (700, 900)])
@pytest.mark.parametrize("channels", [1, 3])
def test_shrinking_a_photograph_is_close_to_averaging_all_of_it(height, width, channels):
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, channels), dtype=np.uint8)
    image = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)
    size = covering_size((height, width), (100, 120))
    expected = Crop(*centre_box(size, (100, 120)))(
        cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA).reshape(*size, channels)
    )
    resized = ResizeCrop(100, 120)(image)
    assert resized.shape == (100, 120, channels)
    difference = np.abs(resized.astype(int) - expected)
    assert difference.max() <= (2 if (height, width) == (1800, 2400) else 0)
    assert difference.mean() < 0.3


def test_descriptions_are_json_and_tell_steps_apart():
    texts = [json.dumps(step.describe(), sort_keys=True) for step in STEPS]
    assert len(set(texts)) == len(STEPS)
    assert describe_steps([ResizeCrop(20, 30), FlipHorizontal()]) == [
        {"step": "ResizeCrop", "version": 2, "height": 20, "width": 30, "interpolation": "area"},
        {"step": "FlipHorizontal", "version": 1},
    ]
    assert json.loads(texts[7])["mean"] == [1.0, 2.0, 3.0]


def test_the_version_is_part_of_the_description():
    @dataclass(frozen=True)
    class Newer(FlipHorizontal):
        version = 2

    assert Newer().describe()["version"] == 2


def test_a_step_must_say_what_it_does():
    with pytest.raises(TypeError, match="Step does not say what it does to an image"):
        Step()(np.zeros((2, 2, 3), np.uint8))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_resized_floats_stay_in_the_range_they_had(interpolation):
    image = np.zeros((20, 20, 3), np.float32)
    image[5:15, 5:15] = 255
    for size in (13, 57):
        resized = ResizeCrop(size, size, interpolation)(image)
        assert resized.min() >= 0
        assert resized.max() <= 255


# Several views --------------------------------------------------------------------------------------------------------


def test_ten_crop_by_hand():
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    step = TenCrop(2, 3)
    views = [step.make_view(image, view, None) for view in range(step.n_views)]
    assert len(views) == 10
    expected = [image[:2, :3], image[:2, 2:], image[2:, :3], image[2:, 2:], image[1:3, 1:4]]
    for view, box in zip(views, [*expected, *(box[:, ::-1] for box in expected)], strict=True):
        np.testing.assert_array_equal(view, box)
        assert view.flags.c_contiguous


def test_ten_crop_without_mirror_images():
    assert TenCrop(2, 3, horizontal_flips=False).n_views == 5
    assert TenCrop(2, 3).describe() == {
        "step": "TenCrop",
        "version": 1,
        "height": 2,
        "width": 3,
        "horizontal_flips": True,
        "corners": True,
    }
    assert TenCrop(2, 3).output_size((9, 9)) == (2, 3)


def test_the_centre_alone_and_its_mirror_image():
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    step = TenCrop(2, 3, corners=False)
    assert step.n_views == 2
    np.testing.assert_array_equal(step.make_view(image, 0, None), image[1:3, 1:4])
    np.testing.assert_array_equal(step.make_view(image, 1, None), image[1:3, 1:4][:, ::-1])
    assert TenCrop(2, 3, horizontal_flips=False, corners=False).n_views == 1


def test_ten_crop_larger_than_the_image():
    with pytest.raises(ValueError, match="reaches outside an image of 4 x 5 pixels; resize it first"):
        TenCrop(6, 3).make_view(np.zeros((4, 5, 3), np.uint8), 0, None)


def test_a_view_step_is_no_function_of_the_image_alone():
    with pytest.raises(TypeError, match="TenCrop makes views of an image; ImageSequence.with_step applies it"):
        TenCrop(2, 2)(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(TypeError, match="ViewStep does not say how it makes a view"):
        ViewStep().make_view(np.zeros((4, 4, 3), np.uint8), 0, None)


@dataclass(frozen=True)
class Levels(Step):
    """Other levels, by a table."""

    table: dict
    counts: tuple = ()

    def __call__(self, image):
        return image


def test_numbers_of_numpy_describe_a_step_as_those_of_python_do():
    one = Levels({np.int64(3): np.float64(0.5)}, (np.int32(1), np.bool_(True)))
    assert json.dumps(one.describe()) == json.dumps(Levels({3: 0.5}, (1, True)).describe())
    assert ResizeCrop(np.int64(8), np.int32(8)).describe() == ResizeCrop(8, 8).describe()
