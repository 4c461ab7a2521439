import subprocess
import sys

import numpy as np
import pytest

from skcnn import Augmentation
from skcnn.exceptions import ImageReadError
from skcnn.images import ResizeCrop, as_image_sequence
from skcnn.inspection import AugmentationDisplay

pytestmark = pytest.mark.usefixtures("pyplot")


def shown(axis):
    return np.asarray(axis.images[0].get_array())


def test_the_image_and_the_views_that_training_sees(image_paths):
    augmentation = Augmentation(brightness=30)
    display = AugmentationDisplay.from_image(image_paths[0], augmentation, n_views=7, size=(20, 30))
    images = as_image_sequence(image_paths[:1])
    np.testing.assert_array_equal(shown(display.axes_[0]), images.with_step(ResizeCrop(20, 30))[0])
    views = images.with_step(augmentation.views(7, (20, 30)))[0]
    for axis, view in zip(display.axes_[1:], views, strict=True):
        np.testing.assert_array_equal(shown(axis), view)
    assert [axis.get_title() for axis in display.axes_[:3]] == ["without", "view 1", "view 2"]
    assert len(display.figure_.axes) == 12
    assert display.figure_.get_figwidth() <= 6.5  # inches: the text of a page
    assert not any(axis.axison for axis in display.figure_.axes)


def test_grey_images_and_floats():
    for image in (np.full((9, 9, 1), 100, np.uint8), np.full((9, 9, 3), 100.0, np.float32)):
        display = AugmentationDisplay.from_image(image, Augmentation(), n_views=1, size=8)
        assert [shown(axis).shape for axis in display.axes_] == [(8, 8, 3)] * 2
        np.testing.assert_array_equal(shown(display.axes_[1]), 100)


def test_bad_input(image_paths):
    with pytest.raises(TypeError, match=r"must be a skcnn\.Augmentation; got 'flip'"):
        AugmentationDisplay.from_image(image_paths[0], "flip")
    with pytest.raises(ValueError, match=r"'n_views'.*Got 0"):
        AugmentationDisplay.from_image(image_paths[0], Augmentation(), n_views=0)
    with pytest.raises(ImageReadError, match=r"nowhere\.png"):
        AugmentationDisplay.from_image("nowhere.png", Augmentation())


@pytest.mark.slow
def test_without_matplotlib():
    code = """
import sys
sys.modules["matplotlib"] = None
import numpy as np
from skcnn.inspection import AugmentationDisplay
try:
    AugmentationDisplay(np.zeros((4, 4, 3)), np.zeros((1, 4, 4, 3))).plot()
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout.startswith("AugmentationDisplay needs matplotlib, which is not installed")
