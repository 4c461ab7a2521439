import numpy as np
import pytest

from skcnn.images import ResizeCrop
from skcnn.images._warp import Placement, source_map, warp


def placed(image, size, fill_mode="nearest", **placement):
    return warp(image, source_map(image.shape[:2], size, Placement(**placement)), size, fill_mode)


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)


def test_without_a_change_the_image_is_as_it_was(noise):
    np.testing.assert_array_equal(placed(noise, (24, 24)), noise)
    assert placed(noise, (24, 24)).flags.c_contiguous


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        ({"angle": 90.0}, lambda image: np.rot90(image)),
        ({"angle": 180.0}, lambda image: image[::-1, ::-1]),
        ({"flip_x": True}, lambda image: image[:, ::-1]),
        ({"flip_y": True}, lambda image: image[::-1]),
        ({"shift_x": 0.25}, lambda image: np.concatenate([np.repeat(image[:, :1], 6, 1), image[:, :-6]], axis=1)),
        ({"shift_y": -0.5}, lambda image: np.concatenate([image[12:], np.repeat(image[-1:], 12, 0)])),
        ({"shift_x": 0.25, "flip_x": True}, lambda image: np.pad(image[:, :5:-1], ((0, 0), (6, 0), (0, 0)), "edge")),
    ],
    ids=["quarter turn", "half turn", "flip_x", "flip_y", "shift right", "shift up", "shift and flip"],
)
def test_changes_by_whole_pixels_are_exact(noise, placement, expected):
    if placement.get("flip_x") and "shift_x" in placement:
        # What is shown moves; it is the mirror image that does.
        mirrored = np.ascontiguousarray(noise[:, ::-1])
        np.testing.assert_array_equal(placed(noise, (24, 24), **placement), placed(mirrored, (24, 24), shift_x=0.25))
        return
    np.testing.assert_array_equal(placed(noise, (24, 24), **placement), expected(noise))


def test_zoom_enlarges_the_middle(noise):
    small = np.zeros((40, 40, 1), np.uint8)
    small[15:25, 15:25] = 200
    zoomed = placed(small, (40, 40), zoom=2.0)
    assert zoomed[11:29, 11:29].min() == 200
    assert zoomed[:9].max() == zoomed[:, 31:].max() == 0


def test_shear_slants_upright_lines():
    line = np.zeros((41, 41, 1), np.uint8)
    line[:, 20] = 255
    sheared = placed(line, (41, 41), shear=0.5)
    columns = sheared[..., 0].argmax(axis=1)
    np.testing.assert_allclose(np.diff(columns[::2]), -1)
    assert columns[20] == 20


@pytest.mark.parametrize(("source", "size"), [((300, 400), (60, 60)), ((91, 50), (30, 45)), ((40, 30), (60, 80))])
def test_the_whole_is_what_resizing_gives(source, size):
    # A smooth picture, on which kinds of interpolation agree.
    y, x = np.mgrid[: source[0], : source[1]]
    image = np.stack([255 * x / source[1], 255 * y / source[0], 128 + 0 * x], axis=2).astype(np.float32)
    np.testing.assert_allclose(placed(image, size), ResizeCrop(*size)(image), atol=3)


@pytest.mark.parametrize(("across", "down", "corner"), [(0, 0, (0, 0)), (1, 0, (0, 50)), (0.5, 1, (50, 25))])
def test_crop_is_a_box_of_that_share_at_that_place(across, down, corner):
    image = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    cropped = placed(image, (50, 50), share=0.25, across=across, down=down)
    top, left = corner
    np.testing.assert_array_equal(cropped, image[top : top + 50, left : left + 50])


def test_crop_fits_in_the_image():
    image = np.random.default_rng(0).integers(0, 256, (50, 200, 3), dtype=np.uint8)
    np.testing.assert_array_equal(placed(image, (50, 50), share=1.0, across=1.0), image[:, 150:])


@pytest.mark.parametrize("size", [(32, 32), (20, 29)])
@pytest.mark.parametrize("angle", [0.0, 30.0])
def test_nothing_aliases_where_an_image_shrinks(size, angle):
    checks = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., np.newaxis]
    # An average of all is grey; taking every 16th pixel would be black, white or stripes.
    shrunk = placed(checks, size, angle=angle).astype(int)
    assert abs(shrunk - 127).max() <= 3


@pytest.mark.parametrize(
    ("fill_mode", "columns"),
    [
        ("nearest", lambda row: np.repeat(row[:1], 6, 0)),
        ("reflect", lambda row: row[5::-1]),
        ("wrap", lambda row: row[-6:]),
        ("constant", lambda row: np.zeros_like(row[:6])),
    ],
    ids=["nearest", "reflect", "wrap", "constant"],
)
@pytest.mark.parametrize("factor", [1, 4])
def test_fill_modes(noise, fill_mode, columns, factor):
    image = np.repeat(np.repeat(noise, factor, 0), factor, 1)
    moved = placed(image, (24, 24), fill_mode, shift_x=0.25)
    for row in range(24):
        np.testing.assert_array_equal(moved[row, :6], columns(noise[row]))
    np.testing.assert_array_equal(moved[:, 6:], noise[:, :18])


def test_large_images_and_far_shifts(noise):
    image = np.full((700, 1000, 1), 90, np.float32)
    for fill_mode in ("nearest", "reflect", "wrap"):
        warped = placed(image, (20, 30), fill_mode, angle=45.0, shift_x=0.9, shift_y=-0.9, zoom=0.2)
        assert warped.shape == (20, 30, 1)
        assert warped.dtype == np.float32
        np.testing.assert_allclose(warped, 90, atol=1e-3)
