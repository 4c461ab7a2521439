"""Images of every format, mode and depth against the samples they were made of, and damaged ones of every format."""

import io
from contextlib import suppress

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from skcnn.exceptions import ImageReadError
from skcnn.images import decode_image

# What Pillow can write without losing anything: format, options, modes.
PILLOW_WRITES = {
    "PNG": (["1", "L", "LA", "I;16", "P", "RGB", "RGBA"], {}),
    "GIF": (["1", "L", "P"], {}),
    "WEBP": (["RGB", "RGBA"], {"lossless": True, "exact": True}),
    "BMP": (["1", "L", "P", "RGB"], {}),
    "TIFF": (["1", "L", "LA", "I;16", "P", "RGB", "RGBA", "CMYK"], {}),
    "TIFF of LZW": (["1", "L", "LA", "I;16", "P", "RGB", "RGBA", "CMYK"], {"compression": "tiff_lzw"}),
    "TIFF of deflate": (["1", "L", "LA", "I;16", "P", "RGB", "RGBA", "CMYK"], {"compression": "tiff_adobe_deflate"}),
    "JPEG2000": (["L", "LA", "I;16", "RGB", "RGBA"], {"no_jp2": False, "num_resolutions": 1}),
    "JPEG2000 codestream": (["L", "I;16", "RGB"], {"no_jp2": True, "num_resolutions": 1}),
    "PPM": (["1", "L", "I;16", "RGB"], {}),
}
# What OpenCV can write without losing anything, by the number of channels.
OPENCV_WRITES = {
    ".png": {np.uint8: (1, 3, 4), np.uint16: (1, 3, 4)},
    ".tiff": {np.uint8: (1, 3, 4), np.uint16: (1, 3, 4)},
    ".bmp": {np.uint8: (1, 3, 4)},
    ".webp": {np.uint8: (3, 4)},
    ".jp2": {np.uint8: (1, 3, 4), np.uint16: (1, 3, 4)},
    ".pgm": {np.uint8: (1,), np.uint16: (1,)},
    ".ppm": {np.uint8: (3,), np.uint16: (3,)},
}

sizes = st.tuples(st.integers(1, 33), st.integers(1, 33))
seeds = st.integers(0, 2**32 - 1)


def random_samples(seed, size, channels, dtype=np.uint8):
    samples = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (*size, channels), dtype=dtype)
    samples.flat[0], samples.flat[-1] = 0, np.iinfo(dtype).max
    return samples


def over_white(samples):
    """Return what is to be seen of RGB and opacity, both in [0, 1]."""
    return samples[..., :3] * samples[..., 3:] + 1 - samples[..., 3:]


def pillow_image(mode, size, seed):
    """Return a random Pillow image and what is to be seen of it, in [0, 255]."""
    if mode == "I;16":
        samples = random_samples(seed, size, 1, np.uint16)[..., 0]
        return Image.fromarray(samples), np.repeat(samples[..., np.newaxis] / 257, 3, axis=2)
    channels = {"LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}.get(mode, 1)
    samples = random_samples(seed, size, channels)
    if mode == "1":
        return Image.fromarray(samples[..., 0] > 127), np.repeat((samples > 127) * 255.0, 3, axis=2)
    if mode == "P":
        palette = random_samples(seed + 1, (256,), 3)
        image = Image.fromarray(samples[..., 0])
        image.putpalette(palette.tobytes())
        return image, palette[samples[..., 0]].astype(float)
    image = Image.fromarray(samples[..., 0] if channels == 1 else samples, mode if channels == 2 else None)
    if mode == "CMYK":
        image = Image.frombytes("CMYK", size[::-1], samples.tobytes())
        return image, np.asarray(image.convert("RGB")).astype(float)
    if channels == 2:
        return image, 255 * over_white(samples[..., [0, 0, 0, 1]] / 255)
    if channels == 4:
        return image, 255 * over_white(samples / 255)
    return image, np.broadcast_to(samples, (*size, 3)).astype(float)


@pytest.mark.parametrize(
    ("format", "mode"), [(format, mode) for format in PILLOW_WRITES for mode in PILLOW_WRITES[format][0]]
)
@given(size=sizes, seed=seeds)
def test_what_pillow_writes(format, mode, size, seed):
    image, expected = pillow_image(mode, size, seed)
    data = io.BytesIO()
    image.save(data, format.split()[0], **PILLOW_WRITES[format][1])
    decoded = decode_image(data.getvalue())
    assert decoded.shape == (*size, 3)
    assert np.abs(decoded - expected).max() <= (1 if mode == "RGBA" else 0.51)


@pytest.mark.parametrize(
    ("suffix", "dtype", "channels"),
    [
        (suffix, dtype, n)
        for suffix, dtypes in OPENCV_WRITES.items()
        for dtype, counts in dtypes.items()
        for n in counts
    ],
)
@given(size=sizes, seed=seeds)
def test_what_opencv_writes(suffix, dtype, channels, size, seed):
    options = {".webp": [cv2.IMWRITE_WEBP_QUALITY, 101], ".jp2": [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]}
    if suffix == ".jp2":  # it cannot write smaller ones
        size = (size[0] + 32, size[1] + 32)
    samples = random_samples(seed, size, channels, dtype)
    encoded = cv2.imencode(suffix, samples, options.get(suffix, []))[1].tobytes()
    unit = (samples if channels == 1 else samples[..., [2, 1, 0, 3][:channels]]) / np.iinfo(dtype).max
    # Before OpenCV 4.13, the header of its BMPs has no place for transparency, and says nothing of it.
    is_opaque = channels != 4 or (suffix == ".bmp" and encoded[14] == 40)
    expected = 255 * (
        np.broadcast_to(unit[..., :3] if channels == 4 else unit, (*size, 3)) if is_opaque else over_white(unit)
    )
    decoded = decode_image(encoded)
    assert np.abs(decoded - expected).max() <= (1 if dtype == np.uint8 else 2.5)  # Pillow cuts 16 bits of colour to 8


def small_files():
    """Return small files of every format, with metadata that can be damaged."""
    noise = Image.fromarray(random_samples(0, (6, 7), 3)).resize((40, 30), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[274], exif[271] = 6, "maker"
    options = {
        "JPEG": {"exif": exif, "xmp": b"<x tiff:Orientation='8'/>", "icc_profile": bytes(200)},
        "progressive JPEG": {"progressive": True},
        "PNG": {"exif": exif},
        "GIF": {},
        "WEBP": {"exif": exif},
        "BMP": {},
        "TIFF": {"exif": exif},
        "lzw TIFF": {"compression": "tiff_lzw"},
        "jpeg TIFF": {"compression": "jpeg"},
        "AVIF": {"exif": exif},
        "JPEG2000": {},
        "PPM": {},
    }
    files = {}
    for name, each in options.items():
        data = io.BytesIO()
        noise.filter(ImageFilter.BLUR).save(data, name.split()[-1], **each)
        files[name] = data.getvalue()
    return files


FILES = small_files()


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
def test_damaged_files(name, data):
    """A picture or an ImageReadError, no crash, no warning, and the same answer twice."""
    content = bytearray(FILES[name])
    # Most of what can go wrong is announced at the beginning.
    place = st.integers(0, min(len(content), 300) - 1) | st.integers(0, len(content) - 1)
    for where, value in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), max_size=5)):
        content[where] = value
    content = bytes(content[: data.draw(st.integers(1, len(content)) | st.just(len(content)))])
    answers = []
    for _ in range(2):
        answer = None
        with suppress(ImageReadError):
            answer = decode_image(content, max_pixels=100_000)
            assert answer.dtype == np.uint8
            assert answer.ndim == 3
            assert answer.shape[2] == 3
        answers.append(answer)
    assert (answers[0] is None) == (answers[1] is None)
    if answers[0] is not None:
        np.testing.assert_array_equal(*answers)
