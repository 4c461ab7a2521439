import numpy as np
import pytest

from skcnn.exceptions import ImageReadError, PreprocessingError
from skcnn.features import RawPixels, extract
from skcnn.features._extract import fit_trunk
from skcnn.features._stream import stream
from skcnn.features._trunk_extractor import TrunkExtractor
from skcnn.images import as_image_sequence


def streamed(images, trunk, batch_size):
    return list(stream(fit_trunk(as_image_sequence(images), trunk), TrunkExtractor(trunk, "keras"), batch_size))


@pytest.mark.parametrize("trunk", [RawPixels((8, 8, 3)), RawPixels((8, 8, 1))], ids=["rgb", "grey"])
def test_features_are_those_of_an_extraction(files, trunk):
    batches = streamed(files, trunk, 5)
    assert [len(batch) for batch in batches] == [5, 5, 2]
    np.testing.assert_array_equal(np.concatenate(batches), np.asarray(extract(files, trunk, cache=None)))


def test_nothing_of_nothing():
    trunk = RawPixels((8, 8, 3))
    images = as_image_sequence(np.zeros((2, 8, 8, 3), np.uint8))[:0]
    assert list(stream(images, TrunkExtractor(trunk, "keras"), 5)) == []


def test_all_unreadable_images_of_a_batch_are_named(files, tmp_path):
    for bad in (1, 3, 7):
        files[bad] = str(tmp_path / f"none{bad}.png")
    with pytest.raises(ImageReadError, match="none1") as caught:
        streamed(files, RawPixels((8, 8, 3)), 5)
    assert set(caught.value.failures) == {1, 3}


def test_pixels_that_were_centred_are_refused():
    with pytest.raises(PreprocessingError, match="pixel values from -5"):
        streamed(np.full((2, 8, 8, 3), -5.0, np.float32), RawPixels((8, 8, 3), normalises=True), 2)
