import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from skcnn import AspectAwareResize, ImageSequence, MeanSubtract
from skcnn.exceptions import ImageReadError
from skcnn.images import SubtractMean, TenCrop, as_image_sequence
from skcnn.images._mean import IMAGENET_MEAN, IMAGENET_STD


@pytest.fixture
def pixels(image_paths):
    """Return all pixels of all images, one row each."""
    return np.concatenate([image.reshape(-1, 3) for image in as_image_sequence(image_paths).load()]).astype(np.float64)


# What is learned


def test_learned_over_all_pixels_of_images_of_many_sizes(image_paths, pixels):
    mean = MeanSubtract(std=True).fit(image_paths)
    np.testing.assert_allclose(mean.mean_, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(mean.std_, pixels.std(axis=0), rtol=1e-10)
    assert mean.mean_.dtype == mean.std_.dtype == np.float64
    # A mean of the images' means would be another: the sizes differ.
    images = as_image_sequence(image_paths).load()
    of_means = np.mean([image.mean(axis=(0, 1)) for image in images], axis=0)
    assert np.abs(of_means - mean.mean_).max() > 0.1
    # Red comes first: the first four images are reddish.
    assert np.argmax(MeanSubtract().fit(image_paths[:4]).mean_) == 0
    assert np.argmax(MeanSubtract().fit(image_paths[8:]).mean_) == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_learned_from_an_array(dtype, photo):
    X = np.stack([photo(seed=seed) for seed in range(3)]).astype(dtype)
    mean = MeanSubtract(std=True).fit(X)
    np.testing.assert_allclose(mean.mean_, X.mean(axis=(0, 1, 2), dtype=np.float64), rtol=1e-9)
    np.testing.assert_allclose(mean.std_, X.std(axis=(0, 1, 2), dtype=np.float64), rtol=1e-7)
    assert MeanSubtract().fit(X).std_ is None


def test_learned_from_grey(photo):
    X = photo()[np.newaxis, ..., 0]
    mean = MeanSubtract(std=True).fit(X)
    assert mean.mean_.shape == (1,)
    np.testing.assert_allclose([*mean.mean_, *mean.std_], [X.mean(), X.std()])
    np.testing.assert_allclose(mean.transform(X).mean(), 0, atol=1e-4)


def test_learned_after_the_steps_before(image_paths):
    pipeline = make_pipeline(AspectAwareResize(9), MeanSubtract()).fit(image_paths)
    resized = np.asarray(AspectAwareResize(9).transform(image_paths))
    np.testing.assert_allclose(pipeline[-1].mean_, resized.mean(axis=(0, 1, 2)))


def test_a_spread_around_a_given_mean_is_learned(image_paths, pixels):
    mean = MeanSubtract((1, 2, 3), std=True).fit(image_paths)
    assert mean.mean_.tolist() == [1, 2, 3]
    np.testing.assert_allclose(mean.std_, pixels.std(axis=0), rtol=1e-10)


# What is given


@pytest.mark.parametrize(
    ("parameters", "mean", "std"),
    [
        ({"mean": (1, 2.5, 3)}, [1, 2.5, 3], None),
        ({"mean": [1, 2, 3]}, [1, 2, 3], None),
        ({"mean": np.array([1, 2, 3])}, [1, 2, 3], None),
        ({"mean": {"B": 3, "R": 1, "G": 2}}, [1, 2, 3], None),
        ({"mean": "imagenet"}, [123.675, 116.28, 103.53], None),
        ({"mean": "imagenet", "std": True}, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
        ({"mean": (1, 2, 3), "std": (4, 5, 6)}, [1, 2, 3], [4, 5, 6]),
        ({"mean": "imagenet", "std": (4, 5, 6)}, [123.675, 116.28, 103.53], [4, 5, 6]),
        ({"mean": (0, 0, 0), "std": False}, [0, 0, 0], None),
        ({"mean": 127, "std": 128}, [127], [128]),
    ],
)
def test_given_figures(parameters, mean, std, image_paths, decodes):
    fitted = MeanSubtract(**parameters).fit(image_paths)
    assert fitted.mean_.tolist() == mean
    assert (None if fitted.std_ is None else fitted.std_.tolist()) == std
    assert not decodes
    image = as_image_sequence(image_paths)[0].astype(np.float64)
    expected = (image - mean) / (1 if std is None else std)
    np.testing.assert_allclose(fitted.transform(image_paths)[0], expected, atol=1e-4)


def test_imagenet_figures_are_the_published_ones():
    np.testing.assert_allclose(np.array(IMAGENET_MEAN) / 255, [0.485, 0.456, 0.406])
    np.testing.assert_allclose(np.array(IMAGENET_STD) / 255, [0.229, 0.224, 0.225])


# Transforming


def test_an_array_gives_an_array(photo):
    X = np.stack([photo(seed=seed) for seed in range(3)])
    kept = X.copy()
    centred = MeanSubtract((10, 20, 30)).fit_transform(X)
    assert isinstance(centred, np.ndarray)
    assert centred.dtype == np.float32
    np.testing.assert_array_equal(centred, X.astype(np.float32) - np.float32([10, 20, 30]))
    np.testing.assert_array_equal(X, kept)


def test_sources_give_a_sequence(image_paths, decodes):
    centred = MeanSubtract((10, 20, 30), std=(2, 2, 2)).fit(image_paths).transform(image_paths)
    assert isinstance(centred, ImageSequence)
    assert centred.steps == (SubtractMean((10.0, 20.0, 30.0), (2.0, 2.0, 2.0)),)
    assert not decodes
    assert centred[0].dtype == np.float32


def test_a_list_of_arrays_of_many_sizes(photo):
    arrays = [photo(8, 9), photo(7, 5)]
    centred = MeanSubtract((10, 20, 30)).fit_transform(arrays)
    assert [image.shape for image in centred] == [(8, 9, 3), (7, 5, 3)]


def test_inverse_of_a_sequence(image_paths):
    resized = AspectAwareResize(8).transform(image_paths)
    mean = MeanSubtract(std=True).fit(resized)
    back = mean.inverse_transform(mean.transform(resized))
    assert isinstance(back, ImageSequence)
    assert back.steps == resized.steps
    np.testing.assert_array_equal(np.asarray(back), np.asarray(resized))


@pytest.mark.parametrize("std", [None, True, (58.395, 57.12, 57.375)])
def test_inverse_of_an_array(std, photo):
    X = np.stack([photo(seed=seed) for seed in range(3)])
    mean = MeanSubtract(std=std).fit(X)
    back = mean.inverse_transform(mean.transform(X))
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, X)
    np.testing.assert_array_equal(mean.inverse_transform(list(mean.transform(X))), X)


def test_inverse_stays_in_range():
    mean = MeanSubtract((100, 100, 100)).fit([np.zeros((1, 1, 3))])
    assert mean.inverse_transform(np.array([[[[-500.0, 0.4, 500.0]]]])).tolist() == [[[[0, 100, 255]]]]


def test_inverse_of_other_images(image_paths):
    mean = MeanSubtract((10, 20, 30)).fit(image_paths)
    for other in (as_image_sequence(image_paths), MeanSubtract((1, 2, 3)).fit_transform(image_paths)):
        with pytest.raises(ValueError, match=r"the last step of these images is not SubtractMean\(mean=\(10.0, .*undo"):
            mean.inverse_transform(other)


def test_grey_images_have_no_mean_of_red(photo):
    grey = AspectAwareResize(8, channels="grey").transform([photo()])
    mean = MeanSubtract("imagenet").fit(grey)
    with pytest.raises(
        ImageReadError, match="SubtractMean cannot be applied: a mean of 3 channels does not fit an image of 1 channels"
    ):
        mean.transform(grey)[0]


# Errors


def test_not_fitted(image_paths):
    for method in (MeanSubtract().transform, MeanSubtract().inverse_transform):
        with pytest.raises(NotFittedError, match="This MeanSubtract instance is not fitted yet"):
            method(image_paths)


def test_every_unreadable_image_is_named(image_paths, tmp_path):
    X = [str(tmp_path / "one.jpg"), *image_paths, str(tmp_path / "two.jpg")]
    with pytest.raises(ImageReadError, match=r"2 of 14 images cannot be read:\n.*one\.jpg.*\n.*two\.jpg") as caught:
        MeanSubtract().fit(X)
    assert list(caught.value.failures) == [0, 13]


def test_unreadable_images_may_be_left_out(image_paths, tmp_path):
    X = [str(tmp_path / "one.jpg"), *image_paths]
    mean = MeanSubtract().fit(as_image_sequence(X).with_on_error("nan"))
    np.testing.assert_array_equal(mean.mean_, MeanSubtract().fit(image_paths).mean_)
    with pytest.raises(ImageReadError, match="1 of 1 image cannot be read"):
        MeanSubtract().fit(as_image_sequence(X[:1]).with_on_error("nan"))


def test_images_of_different_channels(photo):
    with pytest.raises(ValueError, match=r"image \[2\] has 1 channels, those before it 3; give all the same"):
        MeanSubtract().fit([photo(), photo(), photo()[..., 0]])


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"mean": "cifar"}, r"'mean' parameter must be None, 'imagenet', \(r, g, b\) or a dict. Got 'cifar' instead"),
        (
            {"mean": {"r": 1, "g": 2, "b": 3}},
            r"a mean given as a dict has the keys 'R', 'G' and 'B'. Got \['b', 'g', 'r'\]",
        ),
        ({"mean": {"R": 1, "G": 2}}, r"Got \['G', 'R'\]"),
        (
            {"mean": (1, 2)},
            r"'mean' parameter must be one finite number per channel, \(r, g, b\). Got \(1, 2\) instead",
        ),
        ({"mean": (1, 2, "x")}, r"'mean' parameter .* Got \(1, 2, 'x'\)"),
        ({"mean": (1, 2, np.nan)}, r"'mean' parameter must be one finite number .*nan"),
        ({"mean": (1, 2, 3), "std": "unit"}, r"'std' parameter must be one finite number per channel.* Got 'unit'"),
        ({"mean": (1, 2, 3), "std": (1, np.inf, 1)}, r"'std' parameter must be one finite"),
        ({"mean": (1, 2, 3), "std": (1, 0, 1)}, r"std needs 3 numbers above 0, one per .*; got \(1.0, 0.0, 1.0\)"),
        ({"mean": (1, 2, 3), "std": 5}, r"std needs 3 numbers above 0, one per channel of the mean; got \(5.0,\)"),
    ],
)
def test_bad_parameters(parameters, match, image_paths):
    with pytest.raises(ValueError, match=match):
        MeanSubtract(**parameters).fit(image_paths)


def test_no_spread_to_divide_by():
    with pytest.raises(ValueError, match=r"std needs 3 numbers above 0, .*got \(0.0, 0.0, 0.0\)"):
        MeanSubtract(std=True).fit(np.full((2, 4, 4, 3), 7, np.uint8))


def test_labels_of_another_length(image_paths):
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples"):
        MeanSubtract((1, 2, 3)).fit(image_paths, np.zeros(11))


@pytest.mark.parametrize("parameters", [{}, {"mean": {"R": 1, "G": 2, "B": 3}, "std": True}, {"mean": [1, 2, 3]}])
def test_clone_keeps_every_parameter(parameters, image_paths):
    mean = MeanSubtract(**parameters)
    expected = {"mean": None, "std": None, "cache": True, "verbose": None, **parameters}
    assert clone(mean).get_params() == mean.get_params() == expected
    mean.fit(image_paths)
    assert mean.get_params() == expected
    assert not hasattr(clone(mean), "mean_")


def test_pickle(image_paths):
    mean = MeanSubtract(std=True).fit(image_paths)
    again = pickle.loads(pickle.dumps(mean))
    np.testing.assert_array_equal(again.transform(image_paths)[3], mean.transform(image_paths)[3])
    assert len(pickle.dumps(mean)) < 1500


def test_two_fits_do_not_mix(image_paths):
    mean = MeanSubtract(std=True).fit(image_paths[:4])
    mean.fit(image_paths[4:])
    np.testing.assert_array_equal(mean.mean_, MeanSubtract().fit(image_paths[4:]).mean_)


def test_the_mean_of_images_with_several_views_is_over_all_views():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 12, 13, 3), dtype=np.uint8)
    crops = as_image_sequence(pixels).with_step(TenCrop(8, 9))
    views = np.asarray(crops).reshape(-1, 3).astype(np.float64)
    learned = MeanSubtract(std=True).fit(crops)
    np.testing.assert_allclose(learned.mean_, views.mean(axis=0))
    np.testing.assert_allclose(learned.std_, views.std(axis=0))
    one = MeanSubtract().fit(crops.with_view(4))
    np.testing.assert_allclose(one.mean_, np.asarray(crops)[:, 4].reshape(-1, 3).mean(axis=0))
