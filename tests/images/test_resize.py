import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from skcnn import AspectAwareResize, ImageSequence, MeanSubtract
from skcnn.exceptions import ImageReadError
from skcnn.images import ResizeCrop, ToGrey, as_image_sequence
from skcnn.images._steps import describe_steps


def test_an_array_gives_an_array(photo):
    X = np.stack([photo(40, 60, seed=seed) for seed in range(3)])
    resized = AspectAwareResize((10, 20)).fit_transform(X)
    assert isinstance(resized, np.ndarray)
    assert resized.shape == (3, 10, 20, 3)
    assert resized.dtype == np.uint8
    np.testing.assert_array_equal(resized[2], ResizeCrop(10, 20)(X[2]))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    ("shape", "channels"), [((2, 9, 9), 1), ((2, 9, 9, 1), 1), ((2, 9, 9, 3), 3), ((2, 9, 9, 4), 3)]
)
def test_channels_and_dtype_of_arrays(shape, channels, dtype):
    resized = AspectAwareResize(6).fit_transform(np.full(shape, 255, dtype))
    assert resized.shape == (2, 6, 6, channels)
    assert resized.dtype == dtype
    assert (resized == 255).all()


@pytest.mark.parametrize("kind", ["paths", "bytes", "list of arrays", "object array", "sequence"])
def test_sources_give_a_sequence(kind, image_paths, decodes):
    data = [Path(path).read_bytes() for path in image_paths]
    arrays = as_image_sequence(image_paths).load()
    objects = np.empty(len(arrays), object)
    objects[:] = arrays
    decodes.clear()
    X = {
        "paths": image_paths,
        "bytes": data,
        "list of arrays": arrays,
        "object array": objects,
        "sequence": as_image_sequence(image_paths),
    }[kind]
    resized = AspectAwareResize((10, 20)).fit(X).transform(X)
    assert isinstance(resized, ImageSequence)
    assert not decodes
    assert resized.image_size == (10, 20)
    np.testing.assert_array_equal(np.asarray(resized)[5], ResizeCrop(10, 20)(arrays[5]))


def test_the_sequence_given_is_left_as_it_is(image_paths):
    X = as_image_sequence(image_paths)
    AspectAwareResize(8, on_error="nan").fit_transform(X)
    assert X.steps == ()
    assert X.on_error == "raise"


def test_one_number_is_a_square(image_paths):
    assert AspectAwareResize(8).fit_transform(image_paths).image_size == (8, 8)
    assert AspectAwareResize().fit_transform(image_paths).image_size == (224, 224)
    assert AspectAwareResize([np.int64(8), 9]).fit_transform(image_paths).image_size == (8, 9)


def test_numpy_numbers_give_the_same_fingerprint(image_paths):
    steps = [AspectAwareResize(size).fit_transform(image_paths).steps for size in (8, np.int32(8), np.array([8, 8]))]
    assert len({json.dumps(describe_steps(each)) for each in steps}) == 1


def test_grey(image_paths, photo):
    grey = AspectAwareResize(8, channels="grey").fit_transform(image_paths)
    assert grey.steps == (ResizeCrop(8, 8), ToGrey())
    assert np.asarray(grey).shape == (12, 8, 8, 1)
    X = np.stack([photo(20, 30)])
    np.testing.assert_array_equal(
        AspectAwareResize(8, channels="grey").fit_transform(X), AspectAwareResize(8, channels="grey").transform(list(X))
    )


def test_interpolation_is_used(photo):
    X = photo(20, 30)[np.newaxis]
    nearest = AspectAwareResize(7, interpolation="nearest").fit_transform(X)
    np.testing.assert_array_equal(nearest[0], ResizeCrop(7, 7, "nearest")(X[0]))
    assert (nearest != AspectAwareResize(7).fit_transform(X)).any()


def test_no_fit_is_needed(image_paths):
    resize = AspectAwareResize(8)
    check_is_fitted(resize)
    assert not get_tags(resize).requires_fit
    assert len(resize.transform(image_paths)) == 12


@pytest.mark.parametrize(
    "parameters",
    [{}, {"size": 32}, {"size": [3, 4], "interpolation": "cubic", "channels": "grey", "on_error": "nan"}],
)
def test_clone_and_pickle_keep_every_parameter(parameters):
    resize = AspectAwareResize(**parameters)
    for other in (clone(resize), pickle.loads(pickle.dumps(resize)), AspectAwareResize().set_params(**parameters)):
        assert other.get_params() == resize.get_params()
    assert {**resize.get_params(), **parameters} == resize.get_params()
    assert set(resize.get_params()) == {"size", "interpolation", "channels", "on_error"}


def test_fit_never_writes_to_a_parameter(image_paths):
    resize = AspectAwareResize([8, 9])
    resize.fit(image_paths)
    assert resize.size == [8, 9]
    assert set(vars(resize)) == {"size", "interpolation", "channels", "on_error"}


@pytest.mark.parametrize("size", [0, -1, (8, 0), (8,), (8, 8, 3), 8.0, (8, 8.5), "8", None, True, (True, 8)], ids=repr)
def test_bad_size(size, image_paths):
    match = r"The 'size' parameter must be \(height, width\) in pixels, two ints of at least 1. Got .* instead."
    with pytest.raises(ValueError, match=match):
        AspectAwareResize(size).fit(image_paths)
    with pytest.raises(ValueError, match=match):
        AspectAwareResize(size).transform(image_paths)


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"interpolation": "bicubic"}, "'interpolation' parameter must be one of 'area', .*, 'nearest'. Got 'bicubic'"),
        ({"interpolation": None}, "'interpolation' .* Got None"),
        ({"channels": "gray"}, "'channels' parameter must be one of 'rgb', 'grey'. Got 'gray' instead"),
        ({"channels": 1}, "'channels' .* Got 1 instead"),
        ({"on_error": "skip"}, "'on_error' parameter must be one of 'raise', 'nan'. Got 'skip' instead"),
    ],
)
def test_bad_choices(parameters, match, image_paths):
    with pytest.raises(ValueError, match=match):
        AspectAwareResize(**parameters).fit(image_paths)


def test_labels_of_another_length(image_paths):
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: .*12.*11"):
        AspectAwareResize(8).fit(image_paths, np.zeros(11))
    AspectAwareResize(8).fit(image_paths, np.zeros(12))


def test_bad_images_are_refused_at_fit():
    with pytest.raises(ValueError, match=r"got the single path 'cat.jpg'"):
        AspectAwareResize().fit("cat.jpg")
    with pytest.raises(ValueError, match="found 0 images"):
        AspectAwareResize().transform([])


# Errors


def test_nan_images(image_paths, tmp_path):
    missing = str(tmp_path / "missing.jpg")
    resized = AspectAwareResize(8, on_error="nan").fit_transform([image_paths[0], missing])
    assert np.isnan(np.asarray(resized)).all(axis=(1, 2, 3)).tolist() == [False, True]
    grey = AspectAwareResize(8, on_error="nan", channels="grey").fit_transform([missing])
    assert np.asarray(grey).shape == (1, 8, 8, 1)


def test_raising_is_the_default(image_paths, tmp_path):
    missing = str(tmp_path / "missing.jpg")
    resized = AspectAwareResize(8).fit_transform([missing, image_paths[0], missing])
    with pytest.raises(ImageReadError, match="2 of 3 images cannot be read"):
        np.asarray(resized)


def test_nan_is_not_taken_back_by_a_later_step(tmp_path):
    pipeline = make_pipeline(AspectAwareResize(8, on_error="nan"), AspectAwareResize(6), MeanSubtract("imagenet"))
    array = np.asarray(pipeline.fit_transform([str(tmp_path / "missing.jpg")]))
    assert array.shape == (1, 6, 6, 3)
    assert np.isnan(array).all()


def test_invalid_pixels_of_an_array():
    X = np.ones((3, 9, 9, 3))
    X[1, 2, 3, 0] = np.nan
    with pytest.raises(ImageReadError, match=r"1 of 3 images cannot be read:\n  \[1\] <array .*NaN or infinite"):
        AspectAwareResize(6).fit_transform(X)
    resized = AspectAwareResize(6, on_error="nan").fit_transform(X)
    assert np.isnan(resized).all(axis=(1, 2, 3)).tolist() == [False, True, False]


@pytest.mark.parametrize("shape", [(2, 9, 9), (2, 9, 9, 1), (2, 9, 9, 3), (2, 9, 9, 4)])
def test_nan_images_have_the_channels_of_the_others(shape):
    X = np.ones(shape)
    X[1, 2, 3] = np.nan
    channels = 1 if len(shape) == 3 or shape[3] == 1 else 3
    for images in (X, list(X)):
        resized = np.asarray(AspectAwareResize(6, on_error="nan").fit_transform(images))
        assert resized.shape == (2, 6, 6, channels)
        assert np.isnan(resized).all(axis=(1, 2, 3)).tolist() == [False, True]


# Beside scikit-learn


def test_in_a_pipeline(image_paths):
    pipeline = Pipeline([("resize", AspectAwareResize((16, 16))), ("mean", MeanSubtract())])
    centred = np.asarray(pipeline.fit_transform(image_paths))
    assert centred.shape == (12, 16, 16, 3)
    np.testing.assert_allclose(centred.mean(axis=(0, 1, 2)), 0, atol=1e-3)
    check_is_fitted(pipeline)
    with pytest.raises(NotFittedError):
        check_is_fitted(clone(pipeline))
