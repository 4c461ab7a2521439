import io

import cv2
import numpy as np
import pytest
from PIL import Image

from skcnn.exceptions import ImageReadError
from skcnn.images import decode_image
from skcnn.images._jpeg2000 import sample_depth
from skcnn.images._pillow import largest_sample, upright_rgb


def jpeg2000(samples, bits):
    """Return samples as a JPEG 2000 of that depth: written with 8 or 16 bits, then the header is changed.

    Without a transform and a quantisation the codestream is the same for every depth, but for the middle that is
    subtracted from the samples first.
    """
    deep = samples.dtype == np.uint16
    full = 16 if deep else 8
    shifted = samples.astype(int) - (1 << (bits - 1)) + (1 << (full - 1))
    options = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]
    data = bytearray(cv2.imencode(".jp2", shifted.astype(samples.dtype), options)[1].tobytes())
    start = data.index(b"\xff\x4f\xff\x51")
    for channel in range(samples.shape[2] if samples.ndim == 3 else 1):
        assert data[start + 42 + 3 * channel] == full - 1
        data[start + 42 + 3 * channel] = bits - 1
    box = data.index(b"ihdr")
    data[box + 14] = bits - 1
    return bytes(data)


@pytest.mark.parametrize("bits", [2, 4, 7, 8, 9, 10, 12, 15, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_samples_are_scaled_by_their_depth(bits, channels):
    most = (1 << bits) - 1
    samples = (
        np.random.default_rng(0).integers(0, most + 1, (40, 50, channels)).astype(np.uint16 if bits > 8 else np.uint8)
    )
    samples[0, 0], samples[0, 1] = most, 0
    samples[..., 3:] = most
    decoded = decode_image(jpeg2000(samples, bits))
    expected = np.broadcast_to((samples if channels == 1 else samples[..., 2::-1]) * (255 / most), (40, 50, 3))
    assert np.abs(decoded - expected).max() <= 0.51
    assert decoded[0, :2].tolist() == [[255] * 3, [0] * 3]


def test_deep_opacity():
    bgra = np.zeros((40, 40, 4), np.uint16)
    bgra[..., 2], bgra[..., 3] = 200 * 257, 128 * 257
    assert decode_image(jpeg2000(bgra, 16))[0, 0].tolist() == [227, 127, 127]


def test_a_loaded_image_no_longer_tells_its_depth():
    image = Image.open(io.BytesIO(jpeg2000(np.zeros((40, 50), np.uint16), 12)))
    assert (sample_depth(image), largest_sample(image, 12)) == (12, 0xFFF0)
    image.load()
    assert (sample_depth(image), largest_sample(image)) == (None, 0xFFFF)


def test_deep_colour_as_a_pillow_image_is_like_the_file():
    data = jpeg2000(np.full((40, 50, 3), 1023, np.uint16), 10)
    np.testing.assert_array_equal(upright_rgb(Image.open(io.BytesIO(data))), decode_image(data))


def test_deep_colour_that_is_cut_short(capfd):
    data = jpeg2000(np.random.default_rng(0).integers(0, 4096, (40, 50, 3)).astype(np.uint16), 12)
    with pytest.raises(ImageReadError, match="the JPEG 2000 data is cut short or damaged"):
        decode_image(data[: len(data) // 2])
    assert capfd.readouterr().err == ""
