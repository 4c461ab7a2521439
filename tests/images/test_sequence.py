import multiprocessing
import os
import pickle
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import ImageFile
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_val_score, train_test_split
from sklearn.utils import _safe_indexing, shuffle

from skcnn import AspectAwareResize, ImageSequence
from skcnn.cache._digests import DigestMemo, digest_bytes
from skcnn.exceptions import ImageReadError
from skcnn.images import (
    Crop,
    FlipHorizontal,
    ResizeCrop,
    SubtractMean,
    TenCrop,
    ToGrey,
    ViewStep,
    _sequence,
    as_image_sequence,
    decode_image,
)
from skcnn.images._paths import missing_file

LABELS = np.repeat(["apple", "leaf", "sea"], 4)


class MostFrequent(ClassifierMixin, BaseEstimator):
    """Predict the commonest label; keep what fit was given."""

    def __init__(self, n_looks=0):
        self.n_looks = n_looks

    def fit(self, X, y):
        self.classes_, counts = np.unique(y, return_counts=True)
        self.label_ = self.classes_[counts.argmax()]
        self.names_ = names(X)
        for index in range(self.n_looks):
            X[index]
        return self

    def predict(self, X):
        assert isinstance(X, ImageSequence)
        return np.full(len(X), self.label_)


def names(images):
    return [images.sources.name(index) for index in range(len(images))]


@pytest.fixture
def images(image_paths):
    return as_image_sequence(image_paths)


@pytest.fixture
def with_bad_files(write_image, tmp_path):
    """Return five paths, of which the second is missing and the fourth holds text."""
    paths = [write_image(f"{number}.png") for number in range(5)]
    os.unlink(paths[1])
    (tmp_path / "3.png").write_text("no image")
    return paths


# One image


def test_an_integer_decodes_one(images, image_paths, decodes):
    for index in (0, 5, -1, np.int64(3), np.uint8(2)):
        expected = cv2.imread(image_paths[index])[..., ::-1]
        np.testing.assert_array_equal(images[index], expected)
    assert len(decodes) == 5


def test_shape(images):
    assert len(images) == 12
    assert images.shape == (12,)
    assert images.ndim == 1


@pytest.mark.parametrize("index", [12, -13, 10**9])
def test_out_of_range(index, images):
    with pytest.raises(IndexError):
        images[index]
    with pytest.raises(IndexError):
        images[[0, index]]


def test_iterating_decodes_in_order(images, decodes):
    shapes = [image.shape for image in images]
    # The folder's images are 40 + 3 i high and 70 - 2 i wide.
    assert shapes == [(40 + 3 * i, 70 - 2 * i, 3) for i in range(12)]
    assert len(decodes) == 12


# Many


@pytest.mark.parametrize(
    "key",
    [
        slice(2, 9, 3),
        slice(None, None, -1),
        slice(100, None),
        [3, 1, 1],
        [-1, 0],
        (5, 2),
        [],
        np.array([], np.intp),
        np.array([7, 7, 2], np.uint8),
        np.arange(12) % 3 == 0,
        [True, False] * 6,
        np.zeros(12, bool),
    ],
    ids=str,
)
def test_indexes_like_an_array(key, images, image_paths, decodes):
    expected = np.array(image_paths)[list(key) if isinstance(key, tuple) else key]
    taken = images[key]
    assert isinstance(taken, ImageSequence)
    assert names(taken) == expected.tolist()
    assert names(images) == image_paths
    assert not decodes


def test_a_slice_keeps_the_settings(images):
    images = ImageSequence(images.sources, [FlipHorizontal()], decode="exact", max_pixels=7, on_error="nan")
    for other in (images[2:4], images[[1]], images.with_step(ToGrey()).without_last_step()):
        assert other.steps == (FlipHorizontal(),)
        assert (other.decode_mode, other.max_pixels, other.on_error) == ("exact", 7, "nan")
    assert images.with_decode("exact").decode_mode == "exact"
    assert images.with_on_error("raise").on_error == "raise"


def test_the_index_of_a_table_goes_with_its_rows(image_paths):
    labels = [f"row {number}" for number in range(12)]
    images = as_image_sequence(pd.Series(image_paths, index=labels)).with_step(ToGrey())
    assert list(images.index) == labels
    assert list(images[[7, 2]].index) == list(pickle.loads(pickle.dumps(images[[7, 2]])).index) == ["row 7", "row 2"]
    views = images[3:5].with_step(TenCrop(8, 8, horizontal_flips=False)).with_views_apart()
    assert list(views.index) == ["row 3"] * 5 + ["row 4"] * 5
    assert list(views[[9, 0, 1]].index) == ["row 4", "row 3", "row 3"]
    assert (
        list(views[[9, 0]].with_views_together().index) == list(views[[9, 0]].with_view(2).index) == ["row 4", "row 3"]
    )
    assert as_image_sequence(image_paths).with_step(TenCrop(8, 8)).with_views_apart().index is None


@pytest.mark.parametrize(
    ("key", "match"),
    [
        ([True, False], "a mask of length 2 does not fit a sequence of 12 images"),
        (np.ones(13, bool), "a mask of length 13 does not fit"),
        ("apple", "is indexed by integers, slices, masks or positions, not by 'apple'"),
        ([0.5], r"not by \[0.5\]"),
        (np.zeros((2, 2), int), "is indexed by"),
        (None, "not by None"),
        ((slice(None), 0), "is indexed by|inhomogeneous"),
    ],
    ids=str,
)
def test_other_keys(key, match, images):
    with pytest.raises((IndexError, ValueError), match=match):
        images[key]


# scikit-learn


def test_splitters_never_decode(images, image_paths, decodes):
    seen = []
    for train, test in KFold(3, shuffle=True, random_state=0).split(images):
        assert names(images[train]) == [image_paths[row] for row in train]
        seen += names(images[test])
    assert sorted(seen) == image_paths
    assert len(list(StratifiedKFold(4).split(images, LABELS))) == 4
    assert not decodes


def test_train_test_split_never_decodes(images, decodes):
    train, test, y_train, y_test = train_test_split(images, LABELS, test_size=3, stratify=LABELS, random_state=0)
    assert isinstance(train, ImageSequence)
    assert (len(train), len(test)) == (9, 3)
    for part, labels in ((train, y_train), (test, y_test)):
        assert [name.split(os.sep)[-2] for name in names(part)] == labels.tolist()
    assert not decodes


@pytest.mark.parametrize("rows", [[4, 0], np.array([4, 0]), slice(1, 3), np.arange(12) > 9, range(2)], ids=str)
def test_safe_indexing_never_decodes(rows, images, image_paths, decodes):
    taken = _safe_indexing(images, list(rows) if isinstance(rows, range) else rows)
    assert names(taken) == np.array(image_paths)[rows].tolist()
    assert not decodes


def test_shuffle_never_decodes(images, decodes):
    shuffled, labels = shuffle(images, LABELS, random_state=0)
    assert [name.split(os.sep)[-2] for name in names(shuffled)] == labels.tolist()
    assert names(shuffled) != names(images)
    assert not decodes


def test_cross_validation_never_decodes(images, decodes):
    scores = cross_val_score(MostFrequent(), images, LABELS, cv=4)
    assert scores.tolist() == [1 / 3] * 4
    assert not decodes


def test_grid_search_decodes_only_what_is_looked_at(images, image_paths, decodes):
    search = GridSearchCV(MostFrequent(), {"n_looks": [0, 2]}, cv=2).fit(images, LABELS)
    assert search.best_estimator_.names_ == image_paths
    # Two of each training half of the second candidate; the first is refitted.
    assert len(decodes) == 4
    assert search.best_params_ == {"n_looks": 0}


# All at once


def test_load(images, image_paths):
    loaded = images.load()
    assert len(loaded) == 12
    for image, path in zip(loaded, image_paths, strict=True):
        np.testing.assert_array_equal(image, cv2.imread(path)[..., ::-1])


def test_as_an_array(images):
    images = images.with_step(ResizeCrop(8, 9))
    array = np.asarray(images)
    assert array.shape == (12, 8, 9, 3)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array[3], images[3])
    assert np.asarray(images, np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.array(images[:2]), array[:2])


def test_images_of_several_sizes_make_no_array(images):
    match = r"the images have 12 different shapes, such as \(40, 70, 3\) and \(73, 48, 3\), .* skcnn\.AspectAwareResize"
    with pytest.raises(ValueError, match=match):
        np.asarray(images)


def test_an_array_without_copying_is_impossible(images):
    with pytest.raises(ValueError, match="holds no pixels: making an array of it always decodes"):
        np.asarray(images, copy=False)


def test_no_images_make_an_empty_array(images):
    assert len(images[:0]) == 0
    assert images[:0].load() == []
    assert np.asarray(images[:0]).shape == (0,)


def test_steps_are_taken_in_order(images):
    steps = [ResizeCrop(20, 20), Crop(0, 0, 20, 10), FlipHorizontal(), SubtractMean((1.0, 2.0, 3.0))]
    image = images[0]
    for step in steps:
        images = images.with_step(step)
        image = step(image)
    assert images.steps == tuple(steps)
    np.testing.assert_array_equal(images[0], image)
    np.testing.assert_array_equal(images.load()[0], image)


def test_image_size(images):
    assert images.image_size is None
    assert images.with_step(FlipHorizontal()).image_size is None
    resized = images.with_step(ResizeCrop(20, 30))
    assert resized.image_size == (20, 30)
    assert resized.with_step(Crop(0, 0, 4, 5)).with_step(ToGrey()).image_size == (4, 5)
    assert images.image_size is None


def test_max_pixels(images):
    small = ImageSequence(images.sources, max_pixels=40 * 70)
    assert small[0].shape == (40, 70, 3)
    with pytest.raises(ImageReadError, match="more than max_pixels=2800"):
        small[5]


def test_pickle_is_small_and_equal(images):
    images = images.with_step(ResizeCrop(8, 8))[2:7].with_on_error("nan").with_decode("exact")
    data = pickle.dumps(images)
    assert len(data) < sum(map(len, names(images))) + 1500
    again = pickle.loads(data)
    assert names(again) == names(images)
    assert vars(again).keys() == vars(images).keys()
    assert again.steps == images.steps
    assert (again.decode_mode, again.max_pixels, again.on_error) == ("exact", images.max_pixels, "nan")
    np.testing.assert_array_equal(np.asarray(again), np.asarray(images))


def test_repr(images):
    assert repr(images) == f"ImageSequence of 12 images ({names(images)[0]}, ...), steps: none"
    assert repr(images[:1].with_step(ToGrey())) == f"ImageSequence of 1 image ({names(images)[0]}), steps: ToGrey()"
    assert repr(images[:0]) == "ImageSequence of 0 images, steps: none"


@pytest.mark.parametrize("parameter", ["decode", "on_error"])
def test_unknown_settings(parameter, images):
    with pytest.raises(ValueError, match=rf"The '{parameter}' parameter must be one of '.*'. Got 'NaN' instead"):
        ImageSequence(images.sources, **{parameter: "NaN"})


def test_a_hundred_thousand_paths_cost_little(decodes):
    paths = [f"/data/images/{number:06}.jpg" for number in range(100_000)]
    tracemalloc.start()
    images = AspectAwareResize((224, 224)).fit_transform(paths)
    half = images[np.arange(0, 100_000, 2)]
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(half) == 50_000
    # Eight bytes for each path are one pointer: the strings are the caller's.
    assert kept < 3_000_000
    assert peak < 8_000_000
    assert not decodes


# Digests


def test_digests(images, image_paths, later):
    memo = DigestMemo(None)
    for index, path in enumerate(image_paths):
        content = images.read(index, memo)
        with open(path, "rb") as file:
            assert content.digest == digest_bytes(file.read())
    pair = images[3:5].with_step(ToGrey())
    recalled = pair.sources.recall(memo)
    digests = recalled.digests
    assert recalled.known.all()
    assert recalled.unchanged(np.arange(2)).all()
    assert [bytes(row) for row in digests] == [images.read(3).digest, images.read(4).digest]


def test_decode_what_was_read(images):
    images = images.with_step(ResizeCrop(6, 7))
    np.testing.assert_array_equal(images.decode(images.read(2)), images[2])


# Errors


def test_load_names_every_bad_file(with_bad_files):
    with pytest.raises(ImageReadError, match=r"^2 of 5 images cannot be read:\n") as caught:
        as_image_sequence(with_bad_files).load()
    assert str(caught.value).splitlines()[1:] == [
        f"  [1] {with_bad_files[1]}: {missing_file(with_bad_files[1])}",
        f"  [3] {with_bad_files[3]}: not an image of a known format "
        "(JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF, JPEG 2000, PNM, HEIC)",
    ]
    assert list(caught.value.failures) == [1, 3]
    with pytest.raises(ImageReadError, match="2 of 5"):
        np.asarray(as_image_sequence(with_bad_files))


def test_one_bad_file_keeps_its_cause(with_bad_files):
    with pytest.raises(ImageReadError, match=r"1 of 5 images cannot be read:\n  \[1\] .*no such file") as caught:
        as_image_sequence(with_bad_files)[1]
    assert caught.value.failures == {1: missing_file(with_bad_files[1])}
    assert isinstance(caught.value.__cause__, ImageReadError)
    assert isinstance(caught.value.__cause__.__cause__, FileNotFoundError)


def test_negative_index_is_named_by_its_position(with_bad_files):
    with pytest.raises(ImageReadError, match=r"\[3\] ") as caught:
        as_image_sequence(with_bad_files)[-2]
    assert list(caught.value.failures) == [3]


def test_stream_yields_errors_in_place(with_bad_files):
    results = list(as_image_sequence(with_bad_files).stream())
    assert [isinstance(result, ImageReadError) for result in results] == [False, True, False, True, False]
    assert str(results[1]) == missing_file(with_bad_files[1])


def test_nan_for_the_unreadable(with_bad_files, decodes):
    images = as_image_sequence(with_bad_files).with_step(ResizeCrop(6, 7)).with_on_error("nan")
    array = np.asarray(images)
    assert array.shape == (5, 6, 7, 3)
    assert array.dtype == np.float32
    assert np.isnan(array).all(axis=(1, 2, 3)).tolist() == [False, True, False, True, False]
    assert np.isfinite(array[[0, 2, 4]]).all()
    np.testing.assert_array_equal(array[0], images[0])
    assert np.isnan(images[1]).all()
    assert images[1].shape == (6, 7, 3)
    assert images.with_step(ToGrey())[1].shape == (6, 7, 1)
    assert np.asarray(images.with_step(ToGrey())).shape == (5, 6, 7, 1)


def test_nan_needs_a_size(with_bad_files):
    images = as_image_sequence(with_bad_files).with_on_error("nan")
    with pytest.raises(ImageReadError, match="2 of 5"):
        images.load()
    with pytest.raises(ImageReadError, match="1 of 5"):
        images[1]


# Fast decoding


@pytest.fixture
def photograph(write_image, photo):
    return write_image("large.jpg", photo(600, 800), quality=95)


def test_fast_decoding_reads_less_and_looks_the_same(photograph, decodes):
    fast = as_image_sequence([photograph]).with_step(ResizeCrop(64, 96))
    exact = fast.with_decode("exact")
    difference = np.abs(fast[0].astype(int) - exact[0])
    assert [options["at_least"] for options in decodes] == [(96, 144), None]
    assert fast[0].shape == (64, 96, 3)
    assert 0 < difference.mean() < 1.5


@pytest.mark.parametrize("first", [Crop(300, 300, 64, 64), FlipHorizontal(), ResizeCrop(64, 96, "nearest")])
def test_fast_decoding_only_where_resizing_by_area_comes_first(first, photograph):
    # A box cut out of a smaller picture would be another part of it.
    fast = as_image_sequence([photograph]).with_step(first).with_step(ResizeCrop(32, 32))
    np.testing.assert_array_equal(fast[0], fast.with_decode("exact")[0])


def test_files_cut_short_that_the_user_wants_have_descriptions_of_their_own(photograph, monkeypatch):
    data = Path(photograph).read_bytes()
    images = as_image_sequence([data[: len(data) // 2]])
    with pytest.raises(ImageReadError, match="cut short"):
        images[0]
    usual = images.describe()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert images[0].shape == (600, 800, 3)
    assert images.describe() != usual


def test_fast_decoding_without_steps(photograph):
    images = as_image_sequence([photograph]).with_decode("fast")
    assert images[0].shape == (600, 800, 3)


# Several views --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Noise(ViewStep):
    """Adds random numbers, a new draw for each view."""

    n_views: int = 4
    seed: int = 0

    def make_view(self, image, view, random):
        return image + random.integers(0, 100, image.shape, dtype=np.uint8)


@pytest.fixture
def noisy(pixels):
    return as_image_sequence(pixels // 3).with_step(Noise())


def test_views_are_read_together_or_one_by_one(noisy):
    together = np.asarray(noisy)
    assert together.shape == (12, 4, 16, 16, 3)
    assert noisy.n_views == 4
    for view in range(4):
        one = noisy.with_view(view)
        assert one[0].shape == (16, 16, 3)
        np.testing.assert_array_equal(np.asarray(one), together[:, view])
    assert repr(one).endswith("steps: Noise(n_views=4, seed=0), view 3 of 4")
    np.testing.assert_array_equal(np.asarray(one.with_view(None)), together)


def test_random_views_depend_on_the_seed_the_image_and_the_view(noisy, pixels):
    views = np.asarray(noisy)
    noise = views - (pixels // 3)[:, np.newaxis]
    assert len(np.unique(noise.reshape(48, -1), axis=0)) == 48
    again = as_image_sequence(pixels // 3).with_step(Noise())
    np.testing.assert_array_equal(np.asarray(again[::-1])[::-1], views)
    other = as_image_sequence(pixels // 3).with_step(Noise(seed=1))
    assert (np.asarray(other) != views).any(axis=(1, 2, 3, 4)).all()


@pytest.mark.slow
def test_random_views_are_the_same_in_another_process(files):
    images = as_image_sequence(files).with_step(ResizeCrop(8, 8)).with_step(Noise(2))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(np.asarray, (images,)), np.asarray(images))


def test_two_random_steps_draw_different_numbers(pixels):
    images = as_image_sequence(np.zeros_like(pixels[:1])).with_step(Noise(1)).with_step(Noise(1))
    once = as_image_sequence(np.zeros_like(pixels[:1])).with_step(Noise(1))
    assert images.n_views == 1
    assert images[0].shape == (16, 16, 3)
    assert not np.array_equal(images[0], 2 * once[0])


def test_steps_around_one_that_makes_views(files, monkeypatch):
    resized = []
    resize = ResizeCrop.__call__
    monkeypatch.setattr(ResizeCrop, "__call__", lambda self, image: resized.append(self) or resize(self, image))
    images = as_image_sequence(files).with_step(ResizeCrop(12, 12)).with_step(Noise()).with_step(ToGrey())
    assert images.with_step(ResizeCrop(6, 5)).image_size == (6, 5)
    assert images[0].shape == (4, 12, 12, 1)
    assert len(resized) == 1
    assert images.with_step(ResizeCrop(6, 5))[0].shape == (4, 6, 5, 1)
    assert len(resized) == 6


def test_the_chosen_view_decides_nothing_that_is_stored(noisy):
    assert noisy.with_view(2).describe() == noisy.describe()
    assert noisy.describe() != ImageSequence(noisy.sources, [Noise(seed=1)]).describe()
    assert noisy.describe() != ImageSequence(noisy.sources, [Noise(5)]).describe()


def test_a_choice_stays_with_what_is_taken_from_it(noisy):
    one = noisy.with_view(2)[3:5].with_step(ToGrey()).with_on_error("nan")
    assert one.picks.views.tolist() == [2, 2]
    assert pickle.loads(pickle.dumps(one)).picks.views.tolist() == [2, 2]
    assert noisy.with_view(2).without_last_step().picks is None
    assert set(noisy.with_view(2).with_step(ToGrey()).without_last_step().picks.views) == {2}


def test_views_apart_are_images_of_their_own(noisy):
    together = np.asarray(noisy)
    apart = noisy.with_views_apart()
    assert apart.shape == (48,)
    np.testing.assert_array_equal(np.asarray(apart), together.reshape(48, 16, 16, 3))
    np.testing.assert_array_equal(apart[13], together[3, 1])
    assert apart.with_views_together() is not apart
    np.testing.assert_array_equal(np.asarray(apart.with_views_together()), together)
    assert repr(apart).endswith("each of them one of 4 views")
    np.testing.assert_array_equal(np.asarray(apart.with_view(2)), np.repeat(together[:, 2], 4, axis=0))


def test_any_of_the_views_apart_can_be_taken(noisy):
    together = np.asarray(noisy)
    apart = noisy.with_views_apart()
    items = np.array([46, 3, 44, 3, 17])
    taken = apart[items]
    np.testing.assert_array_equal(np.asarray(taken), together.reshape(48, 16, 16, 3)[items])
    assert [taken.name(i) for i in range(5)] == [apart.name(i) for i in items]
    # Only the images that are needed are kept, each once.
    assert len(taken.sources) == 3
    np.testing.assert_array_equal(np.asarray(taken[[4, 1]]), together.reshape(48, 16, 16, 3)[[17, 3]])
    mask = np.zeros(48, bool)
    mask[5:9] = True
    np.testing.assert_array_equal(np.asarray(apart[mask]), together.reshape(48, 16, 16, 3)[5:9])
    assert len(apart[:0]) == 0
    np.testing.assert_array_equal(np.asarray(taken.with_view(None)), together[items // 4])


def test_views_apart_take_one_decode_of_each_image(files, decodes):
    crops = as_image_sequence(files).with_step(ResizeCrop(12, 12)).with_step(TenCrop(8, 8)).with_views_apart()
    assert np.asarray(crops).shape == (120, 8, 8, 3)
    assert len(decodes) == 12


def test_images_of_one_view_are_apart_already(images):
    assert len(images.with_views_apart()) == len(images)
    assert images.with_views_apart().picks is None


def test_an_unreadable_image_is_named_once_for_all_its_views(with_bad_files):
    crops = as_image_sequence(with_bad_files).with_step(ResizeCrop(12, 12)).with_step(TenCrop(8, 8)).with_views_apart()
    with pytest.raises(ImageReadError, match=r"^2 of 5 images cannot be read:\n") as caught:
        crops.load()
    assert set(caught.value.failures) == {1, 3}
    with pytest.raises(ImageReadError, match=r"^1 of 5 images cannot be read:\n  \[3\]"):
        crops[39]


@pytest.mark.parametrize("view", [4, -1, 100])
def test_a_view_that_is_not_there(noisy, view):
    with pytest.raises(IndexError, match=f"there is no view {view} of these images; they have 4"):
        noisy.with_view(view)


def test_only_one_step_makes_several_views(noisy):
    with pytest.raises(ValueError, match=r"only one step may make several views of an image. Got Noise.* and TenCrop"):
        noisy.with_step(TenCrop(4, 4))
    with pytest.raises(ValueError, match=r"Noise\(n_views=0, seed=0\) makes 0 views of an image; expected at least 1"):
        noisy.without_last_step().with_step(Noise(0))


def test_unreadable_images_have_blank_views(tmp_path):
    images = ImageSequence(
        as_image_sequence([str(tmp_path / "gone.png")]).sources, [ResizeCrop(4, 6), Noise()], on_error="nan"
    )
    assert images[0].shape == (4, 4, 6, 3)
    assert np.isnan(images.with_view(1)[0]).all()
    assert images.with_view(1)[0].shape == (4, 6, 3)


@dataclass(frozen=True)
class Uneven(ViewStep):
    n_views: ClassVar[int] = 2

    def make_view(self, image, view, random):
        return image[view:]


def test_views_of_different_shapes_do_not_fit_in_one_row(pixels):
    images = as_image_sequence(pixels).with_step(Uneven())
    assert images.with_view(1)[0].shape == (15, 16, 3)
    with pytest.raises(ImageReadError, match=r"its views have different shapes, such as \(15, 16, 3\) and \(16, 16,"):
        images[0]
    assert images.with_step(ResizeCrop(8, 8))[0].shape == (2, 8, 8, 3)


@pytest.mark.parametrize("on_error", ["raise", "nan"])
def test_memory_that_runs_out_at_one_image_names_it(image_paths, monkeypatch, on_error):
    def fail(data, **options):
        if data == Path(image_paths[1]).read_bytes():
            raise MemoryError
        return decode_image(data, **options)

    monkeypatch.setattr(_sequence, "decode_image", fail)
    resize = AspectAwareResize((8, 8), on_error=on_error)
    if on_error == "raise":
        with pytest.raises(ImageReadError, match=rf"1 of 12 .*\n  \[1\] {image_paths[1]}: memory ran out"):
            resize.fit_transform(image_paths).load()
    else:
        images = np.asarray(resize.fit_transform(image_paths))
        assert np.isnan(images).any(axis=(1, 2, 3)).tolist() == [index == 1 for index in range(12)]
