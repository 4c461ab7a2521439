"""Fixtures for the tests of images: a counter of decodes, comparisons with Pillow, EXIF blocks, TIFF files."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from skcnn.images import _sequence, decode_image


@pytest.fixture
def decodes(monkeypatch):
    """Return the list that grows by one with every image an ImageSequence decodes."""
    seen = []

    def count(data, **options):
        seen.append(options)
        return decode_image(data, **options)

    monkeypatch.setattr(_sequence, "decode_image", count)
    return seen


@pytest.fixture
def pillow_pixels():
    """Return the function that gives what Pillow alone makes of an image file, RGB over white."""
    return read_with_pillow


def read_with_pillow(data, *, upright=False):
    """Return what Pillow makes of an image file, RGB over white."""
    image = Image.open(io.BytesIO(data))
    if upright:
        image = ImageOps.exif_transpose(image)
    if "transparency" in image.info or "A" in image.mode:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


@pytest.fixture
def assert_close():
    """Return the function that compares decoded pixels: assert_close(decoded, expected, tolerance)."""
    return compare_pixels


def compare_pixels(decoded, expected, tolerance):
    assert decoded.dtype == np.uint8
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(int) - expected).max() <= tolerance


@pytest.fixture
def with_exif():
    """Return the function that makes an EXIF block of an orientation."""
    return exif_of


def exif_of(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    return exif


@pytest.fixture
def make_tiff():
    """Return the function that writes an uncompressed TIFF: make_tiff(samples, bits, photometric, tags)."""
    return tiff_of


def tiff_of(samples, bits=8, photometric=2, tags=None, *, planes=False):
    """Return samples of shape (height, width, channels) as a TIFF.

    `tags` adds to the directory, or replaces what it says; None takes a tag out.
    """
    height, width, channels = samples.shape
    parts = [samples[..., i : i + 1] for i in range(channels)] if planes else [samples]
    strips = [pack_samples(part, bits) for part in parts]
    offsets = [8 + sum(map(len, strips[:i])) for i in range(len(strips))]
    entries = {
        256: width,
        257: height,
        258: [bits] * channels,
        259: 1,
        262: photometric,
        273: offsets,
        277: channels,
        278: height,
        279: [len(strip) for strip in strips],
        284: 2 if planes else 1,
        **(tags or {}),
    }
    lists = {
        tag: value if isinstance(value, list) else [value]
        for tag, value in sorted(entries.items())
        if value is not None
    }
    start = 8 + sum(map(len, strips))
    after, rows, tail = start + 2 + 12 * len(lists) + 4, b"", b""
    for tag, values in lists.items():
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            packed, tail = struct.pack("<I", after + len(tail)), tail + packed
        rows += struct.pack("<HHI", tag, 4, len(values)) + packed
    directory = struct.pack("<H", len(lists)) + rows + bytes(4)
    return b"II*\0" + struct.pack("<I", start) + b"".join(strips) + directory + tail


def pack_samples(samples, bits):
    """Return samples as bytes, the first bit first; each row begins a new byte."""
    if bits in (16, 32, 64):
        return samples.astype(f"<u{bits // 8}").tobytes()
    as_bits = (samples.reshape(len(samples), -1)[..., np.newaxis] >> np.arange(bits)[::-1]) & 1
    return np.packbits(as_bits.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()
