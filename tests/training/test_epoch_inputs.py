from pathlib import Path

import numpy as np
import pytest

from skcnn import Augmentation
from skcnn.cache._stored_features import StoredFeatures
from skcnn.exceptions import ImageReadError
from skcnn.features import RawPixels
from skcnn.images import as_image_sequence
from skcnn.training._epoch_inputs import FreshViews, SameInputs, StoredViews, WarpedPixels

NOTHING = Augmentation.only().get_params()


@pytest.fixture
def images():
    return as_image_sequence(np.random.default_rng(0).integers(0, 256, (7, 20, 24, 3), dtype=np.uint8))


def fresh(images, *, seed=3, epochs=4, shape=(8, 8, 3)):
    return FreshViews(images, RawPixels(shape), Augmentation(), epochs=epochs, seed=seed, engine="keras")


def read(inputs, epoch, order, batch_size=3):
    return np.concatenate(list(inputs.read(epoch, np.asarray(order), batch_size)))


def test_the_same_inputs():
    inputs = SameInputs(np.arange(14).reshape(7, 2))
    assert len(inputs) == 7
    assert inputs.input_shape == (2,)
    assert [len(batch) for batch in inputs.read(5, np.arange(7), 3)] == [3, 3, 1]
    np.testing.assert_array_equal(read(inputs, 1, [4, 0]), [[8, 9], [0, 1]])
    some = SameInputs(np.arange(14).reshape(7, 2), np.array([5, 2]))
    assert len(some) == 2
    np.testing.assert_array_equal(read(some, 0, [1, 0]), [[4, 5], [10, 11]])


def test_stored_views_take_turns():
    held = np.arange(7 * 3 * 2).reshape(7, 3, 2)  # the view v of image i begins with 6 i + 2 v
    inputs = StoredViews(StoredFeatures(-1 - np.arange(7), None, held, failures={}), seed=0)
    assert len(inputs) == 7
    assert inputs.input_shape == (2,)
    order = np.random.default_rng(0).permutation(7)
    seen = np.array([read(inputs, epoch, order)[:, 0] for epoch in range(4)])
    images, views = seen // 6, seen % 6 // 2
    np.testing.assert_array_equal(images, np.tile(order, (4, 1)))
    assert all(set(column) == {0, 1, 2} for column in views[:3].T)
    np.testing.assert_array_equal(views[3], views[0])
    assert len(set(views[0])) > 1, "images begin at different views"


def test_fresh_views_are_others_in_each_epoch_and_come_back(images):
    inputs = fresh(images)
    assert len(inputs) == 7
    assert inputs.input_shape == (8, 8, 3)
    order = np.array([3, 0, 6, 1, 2, 4, 5])
    epochs = [read(inputs, epoch, order) for epoch in range(4)]
    assert len({view.tobytes() for epoch in epochs for view in epoch}) == 28
    # A view depends on seed, epoch and image alone: not on the order, the batch or what was read before.
    np.testing.assert_array_equal(read(fresh(images), 2, np.sort(order), 7)[order], epochs[2])
    assert (read(fresh(images, seed=4), 2, order) != epochs[2]).any()


def test_copies_of_an_image_have_fresh_views_of_their_own(images):
    views = read(fresh(images[[0, 0, 0]]), 0, np.arange(3))
    assert len({view.tobytes() for view in views}) == 3


def test_grey_trunks(images):
    assert read(fresh(images, shape=(8, 8, 1)), 0, [2, 1]).shape == (2, 8, 8, 1)


def test_an_image_that_vanished_meanwhile_is_named(write_image, photo):
    paths = [Path(write_image(f"{name}.png", photo(seed=seed))) for seed, name in enumerate("abcd")]
    inputs = fresh(as_image_sequence(paths))
    assert len(read(inputs, 0, np.arange(4))) == 4
    paths[2].unlink()
    with pytest.raises(ImageReadError, match=r"c\.png"):
        read(inputs, 1, [3, 2, 1, 0], 4)


def warped(pixels, *, seed=3, **settings):
    stored = StoredFeatures(-1 - np.arange(len(pixels)), None, pixels, failures={})
    return WarpedPixels(stored, Augmentation(**settings).views(1, (8, 8)), seed)


def test_pixels_are_warped_anew_in_each_epoch():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 12, 10, 3), dtype=np.uint8)
    inputs = warped(pixels)
    assert len(inputs) == 7
    assert inputs.input_shape == (8, 8, 3)
    assert [batch.shape for batch in inputs.read(0, np.arange(7), 4)] == [(4, 8, 8, 3), (3, 8, 8, 3)]
    one = read(inputs, 0, range(7))
    assert one.dtype == np.uint8
    assert not np.array_equal(one, read(inputs, 1, range(7)))
    assert not np.array_equal(one, read(warped(pixels, seed=4), 0, range(7)))
    np.testing.assert_array_equal(read(warped(pixels), 0, [6, 2, 0], 2), one[[6, 2, 0]])
    # Equal images have views of their own.
    same = read(warped(np.repeat(pixels[:1], 7, axis=0)), 0, range(7))
    assert len(np.unique(same.reshape(7, -1), axis=0)) == 7


@pytest.mark.parametrize("n_images", [6, 7])
def test_an_image_is_mirrored_in_every_other_epoch(n_images):
    pixels = np.random.default_rng(0).integers(0, 256, (n_images, 8, 8, 3), dtype=np.uint8)
    mirrors = {**NOTHING, "horizontal_flip": "alternate"}
    trunk, settings = RawPixels((8, 8, 3)), {"epochs": 4, "seed": 0, "engine": "keras"}
    of_images = FreshViews(as_image_sequence(pixels), trunk, Augmentation(**mirrors), **settings)
    order = np.random.default_rng(1).permutation(n_images)
    for inputs in (warped(pixels, **mirrors), of_images):
        epochs = np.array([read(inputs, epoch, order) for epoch in range(4)])
        is_mirrored = (epochs == pixels[order][:, :, ::-1]).all(axis=(2, 3, 4))
        assert (is_mirrored ^ (epochs == pixels[order]).all(axis=(2, 3, 4))).all()
        assert (is_mirrored[1:] ^ is_mirrored[:-1]).all()
        assert is_mirrored[0].sum() == n_images // 2


def test_without_changes_the_middle_is_warped():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read(warped(pixels, **NOTHING), 5, range(3)), pixels)
