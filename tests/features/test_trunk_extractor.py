"""What a network accepts of an image before it runs."""

import numpy as np
import pytest

from skcnn.backbones import FrozenNetwork, resolve_backbone
from skcnn.exceptions import PreprocessingError
from skcnn.features import RawPixels
from skcnn.features._trunk_extractor import TrunkExtractor


@pytest.fixture
def extractor():
    network = FrozenNetwork(resolve_backbone("efficientnet_lite0", None), input_size=(32, 32))
    return TrunkExtractor(network, "keras")


def test_grey_becomes_three_equal_channels(extractor):
    grey = np.arange(1024, dtype=np.uint8).reshape(32, 32, 1)
    prepared = extractor.prepare(grey, "image [0]")
    assert prepared.dtype == np.uint8
    np.testing.assert_array_equal(prepared, np.repeat(grey, 3, axis=2))


@pytest.mark.parametrize(("low", "high"), [(-1, 255), (0, 257), (-120, 130)])
def test_pixels_outside_of_the_range_are_named(extractor, low, high):
    pixels = np.full((32, 32, 3), 100.0)
    pixels[0, 0], pixels[1, 1] = low, high
    with pytest.raises(PreprocessingError, match=rf"got pixel values from {low} to {high} in image \[7\] cat.jpg"):
        extractor.prepare(pixels, "image [7] cat.jpg")


def test_a_rounding_error_above_255_is_none(extractor):
    assert extractor.prepare(np.full((32, 32, 3), 255.0001), "image [0]").dtype == np.float32


def test_only_a_first_batch_that_is_scaled_altogether_is_refused(extractor):
    dark, light = np.full((32, 32, 3), 0.5, np.float32), np.full((32, 32, 3), 200, np.float32)
    with pytest.raises(PreprocessingError, match="no pixel value above 0.5"):
        extractor.run([dark, dark])
    assert extractor.run([dark, light]).shape == (2, 1280)
    assert extractor.run([dark]).shape == (1, 1280)


def test_a_trunk_is_asked_once_for_what_it_takes():
    asked = []

    class Asked(RawPixels):
        @property
        def input_shape(self):
            asked.append("input_shape")
            return (4, 4, 3)

        @input_shape.setter
        def input_shape(self, value):
            pass

        @property
        def normalises(self):
            asked.append("normalises")
            return True

        @normalises.setter
        def normalises(self, value):
            pass

    extractor = TrunkExtractor(Asked(), "keras")
    for _ in range(5):
        extractor.prepare(np.zeros((4, 4, 3), np.float32), "an image")
    assert sorted(asked) == ["input_shape", "normalises"]
