"""Accuracy on changed images, as a table and as a picture."""

import functools

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from skcnn import Augmentation
from skcnn._source_code import UnknownCodeError
from skcnn.exceptions import ImageReadError, PreprocessingError
from skcnn.images import FlipHorizontal, as_image_sequence
from skcnn.inspection import CHANGES, RobustnessDisplay, robustness_scores
from skcnn.inspection._robustness_scores import FunctionStep, changed_images


class Corner(ClassifierMixin, BaseEstimator):
    """The class of an image is whether its upper left pixel is bright."""

    def __init__(self, column=0):
        self.column = column
        self.classes_ = np.array(["dark", "light"])

    def predict(self, X):
        first = np.array([image[0, self.column].mean() for image in as_image_sequence(X).stream()])
        return self.classes_[(first > 127).astype(int)]


@pytest.fixture
def pixels():
    images = np.zeros((4, 6, 6, 3), np.uint8)
    images[2:, 0, 0] = 255
    return images


Y = ["dark", "dark", "light", "light"]
SEVERAL = {
    "inverted": Augmentation.only(invert=1),
    "mirrored": FlipHorizontal(),
    "turned": np.flipud,
    "same": lambda image: image,
}


def test_each_classifier_is_judged_on_each_change(pixels):
    scores = robustness_scores({"left": Corner(), "right": Corner(-1)}, pixels, Y, changes=SEVERAL)
    assert scores.rows == ["left", "right"]
    assert scores.row("left") == {"as they are": 1, "inverted": 0, "mirrored": 0.5, "turned": 0.5, "same": 1}
    assert scores.row("right") == {"as they are": 0.5, "inverted": 0.5, "mirrored": 1, "turned": 0.5, "same": 0.5}
    weighted = robustness_scores(Corner(), pixels, Y, changes={"turned": np.flipud}, sample_weight=[3, 3, 1, 1])
    assert weighted.row("Corner") == {"as they are": 1, "turned": 0.75}


def test_the_changes_of_before_the_user_says_which():
    images = np.random.default_rng(0).integers(60, 200, (3, 32, 24, 3), dtype=np.uint8)
    changed = changed_images(images)
    assert list(changed) == ["as they are", *CHANGES]
    assert changed["as they are"] is images
    for name in CHANGES:
        assert isinstance(changed[name], np.ndarray)
        assert changed[name].shape == images.shape
        assert (changed[name] != images).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(changed["inverted"], 255 - images)
    np.testing.assert_array_equal(changed["darker"], np.maximum(images.astype(int) - 80, 0))


def test_photographs_stay_lazy_and_keep_their_sizes(image_paths):
    changed = changed_images(image_paths)
    for name in CHANGES:
        assert [image.shape for image in changed[name]] == [image.shape for image in as_image_sequence(image_paths)]
        for one, two in zip(changed[name], changed_images(image_paths)[name], strict=True):
            np.testing.assert_array_equal(one, two)


def test_functions_are_told_apart_where_they_can_be():
    def shifted(by):
        return lambda image: np.roll(image, by, axis=1)

    known = [shifted(1), shifted(2), lambda image: image[::-1]]
    assert len({str(FunctionStep(function).describe()) for function in known}) == 3
    assert FunctionStep(shifted(1)).describe() == FunctionStep(shifted(1)).describe()
    for unknown in (np.flipud, functools.partial(np.roll, shift=1)):
        with pytest.raises(UnknownCodeError, match="not known"):
            FunctionStep(unknown).describe()


def test_bad_input(pixels):
    with pytest.raises(
        TypeError, match=r"change 'more' must be a skcnn\.Augmentation, a step or a function; got 'red'"
    ):
        robustness_scores(Corner(), pixels, Y, changes={"more": "red"})
    with pytest.raises(ValueError, match="no classifier was given"):
        robustness_scores({}, pixels, Y)
    with pytest.raises(PreprocessingError, match="multiply the pixels by 255"):
        robustness_scores(Corner(), pixels / 255, Y)
    with pytest.raises(ImageReadError, match="cannot be applied"):
        robustness_scores(Corner(), pixels, Y, changes={"broken": lambda image: image[1_000_000]})
    with pytest.raises(ValueError, match="inconsistent numbers"):
        robustness_scores(Corner(), pixels, Y[:3])


@pytest.mark.usefixtures("pyplot")
def test_examples_above_the_table(pixels):
    display = RobustnessDisplay.from_estimator({"left": Corner(), "right": Corner(-1)}, pixels + 1, Y, changes=SEVERAL)
    titles = ["as they are", *SEVERAL]
    assert [axis.get_title() for axis in display.axes_[:-1]] == titles
    for name, axis in zip(titles, display.axes_, strict=False):
        np.testing.assert_array_equal(axis.images[0].get_array(), changed_images(pixels + 1, SEVERAL)[name][0])
    table = display.axes_[-1]
    assert [label.get_text() for label in table.get_yticklabels()] == ["left", "right"]
    expected = [f"{value:.3f}" for row in display.scores.rows for value in display.scores.row(row).values()]
    assert [text.get_text() for text in table.texts] == expected
    first = display.figure_
    assert display.plot().figure_ is not first
