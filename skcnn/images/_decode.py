"""Encoded bytes become upright RGB pixels. OpenCV's BGR order never leaves this file."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import re
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

from skcnn.exceptions import ImageReadError
from skcnn.images._header import Header, avif_transforms, check_png_chunks, read_header, tiff_tags

__all__ = ["DECODE_VERSION", "MAX_PIXELS", "decode_image", "lay_over_white"]

# Part of every fingerprint: raise it when the same bytes would decode to other pixels.
DECODE_VERSION = 1

# A 24 x 7 thousand pixel panorama fits; what is larger is nearly always a decompression bomb.
MAX_PIXELS = 178_956_970

# Pixels that are laid over white at a time.
BLEND_PIXELS = 1 << 18

BITS_PER_SAMPLE_TAG, ORIENTATION_TAG, EXTRA_SAMPLES_TAG = 258, 274, 338
# OpenCV turns these upright by itself and they have neither alpha nor palette to lose.
OPAQUE_FORMATS = frozenset({"JPEG", "BMP"})
JPEG_SCALES = (8, 4, 2)


@functools.cache
def opencv_major_version() -> str:
    """Return OpenCV's major version, without importing it where its package has a version file.

    Decoding and resizing may give slightly other values in another one.
    """
    spec = importlib.util.find_spec("cv2")
    if "cv2" not in sys.modules and spec is not None and spec.origin:
        with contextlib.suppress(OSError):
            text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
            if found := re.search(r"""opencv_version\s*=\s*["'](\d+)\.""", text):
                return found[1]
    import cv2

    return cv2.__version__.partition(".")[0]


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS, at_least: tuple[int, int] | None = None) -> np.ndarray:
    """Decode an image file's bytes.

    Grey, palette, CMYK and 16-bit images become 8-bit RGB, transparency is laid over white, EXIF rotation is applied,
    and of an animation the first frame is taken.

    Parameters
    ----------
    data : bytes
        The whole encoded image: JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF, JPEG 2000 or PNM.
    max_pixels : int, default=178_956_970
        An image that announces more pixels is refused before it is decoded.
    at_least : (int, int), default=None
        Height and width that are enough for the caller. A JPEG is then decoded at the smallest of the scales 1/8, 1/4
        and 1/2 that is still at least as large on both sides, which is faster for large photographs.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
        RGB in [0, 255].

    Raises
    ------
    ImageReadError
        When the bytes are no image, are cut short or damaged, or announce no or too many pixels.
    """
    header = read_header(data)
    check_size(header, max_pixels)
    import cv2

    try:
        if header.format in OPAQUE_FORMATS:
            return decode_opaque(data, header, at_least)
        return decode_any(data, header)
    except cv2.error as error:
        raise ImageReadError(f"the {header.format} data is damaged: {error.err}") from error


def check_size(header: Header, max_pixels: int) -> None:
    """Refuse an image whose header announces no pixels or more than `max_pixels`."""
    if header.width <= 0 or header.height <= 0:
        raise ImageReadError(
            f"the header announces {header.width} x {header.height} pixels: there is nothing to decode"
        )
    if header.width * header.height > max_pixels:
        msg = (
            f"the header announces {header.width} x {header.height} pixels, more than max_pixels={max_pixels}; "
            "if the image can be trusted, make it smaller first"
        )
        raise ImageReadError(msg)


def decode_opaque(data: bytes, header: Header, at_least: tuple[int, int] | None) -> np.ndarray:
    """Decode a format that OpenCV turns into upright RGB by itself."""
    import cv2

    flags = cv2.IMREAD_COLOR_RGB
    if at_least is not None and header.format == "JPEG":
        flags = reduced_flags(header, at_least)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None:
        raise ImageReadError(f"the {header.format} data is cut short or damaged")
    if not flags & cv2.IMREAD_COLOR_RGB:
        cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    return pixels


def reduced_flags(header: Header, at_least: tuple[int, int]) -> int:
    """Choose the smallest libjpeg scale that still covers `at_least` whichever way EXIF turns the image."""
    import cv2

    # libjpeg rounds up; EXIF may yet swap the sides, so the shorter one must cover both.
    shorter = min(header.height, header.width)
    for scale in JPEG_SCALES:
        if shorter // scale >= max(at_least):
            return getattr(cv2, f"IMREAD_REDUCED_COLOR_{scale}")
    return cv2.IMREAD_COLOR_RGB


def decode_any(data: bytes, header: Header) -> np.ndarray:
    """Decode a format that may hold alpha, a palette or 16 bits, and turn it upright."""
    import cv2

    if header.format == "PNG":
        check_png_chunks(data)
    if header.format == "TIFF":
        check_sample_size(data)
    pixels, kinds, blocks = cv2.imdecodeWithMetadata(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ImageReadError(f"the {header.format} data is cut short or damaged")
    premultiplied = header.format == "TIFF" and is_premultiplied(data, pixels)
    rgb = to_rgb(to_8_bits(pixels, header), premultiplied=premultiplied)
    if header.format == "AVIF":
        return turn_avif(rgb, *avif_transforms(data))
    return turn_upright(rgb, exif_orientation(kinds, blocks))


def check_sample_size(data: bytes) -> None:
    """Refuse a TIFF of wide samples before it is decoded: in float64, four channels take 32 bytes a pixel."""
    bits = tiff_tags(data).get(BITS_PER_SAMPLE_TAG, 1)
    if bits > 16:
        msg = (
            f"the TIFF holds samples of {bits} bits, whose range is not fixed; read it with a library of your choice, "
            "scale it to [0, 255] and pass the arrays"
        )
        raise ImageReadError(msg)


def is_premultiplied(data: bytes, pixels: np.ndarray) -> bool:
    """Whether the colours of a decoded TIFF are already multiplied by their opacity."""
    # 1: so in the file; 2: not there, but the function of libtiff through which OpenCV reads 8 bits multiplies.
    extra_samples = tiff_tags(data).get(EXTRA_SAMPLES_TAG)
    return extra_samples == 1 or (extra_samples == 2 and pixels.dtype == np.uint8)


def to_8_bits(pixels: np.ndarray, header: Header) -> np.ndarray:
    """Scale 16-bit samples to 8; refuse samples that have no fixed range."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16:
        import cv2

        return cv2.convertScaleAbs(pixels, alpha=1 / 257)
    msg = (
        f"the {header.format} holds {pixels.dtype} samples, whose range is not fixed; "
        "read it with a library of your choice, scale it to [0, 255] and pass the arrays"
    )
    raise ImageReadError(msg)


def to_rgb(pixels: np.ndarray, *, premultiplied: bool = False) -> np.ndarray:
    """Turn grey, BGR or BGRA into RGB; transparency is laid over white."""
    import cv2

    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    if pixels.shape[2] == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    rgba = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA)
    return cv2.add(rgba[..., :3], cv2.bitwise_not(rgba[..., [3, 3, 3]])) if premultiplied else lay_over_white(rgba)


def lay_over_white(rgba: np.ndarray) -> np.ndarray:
    """Blend an RGBA image with a white background.

    Parameters
    ----------
    rgba : ndarray of shape (height, width, 4), uint8 or float32
        Colour and opacity in [0, 255].

    Returns
    -------
    ndarray of shape (height, width, 3), same dtype
    """
    blended = np.empty((*rgba.shape[:2], 3), rgba.dtype)
    # A few rows at a time: in float32 a whole image would take 16 times its size.
    rows = max(1, BLEND_PIXELS // rgba.shape[1])
    for top in range(0, len(rgba), rows):
        strip = rgba[top : top + rows]
        colour, opacity = strip[..., :3].astype(np.float32), strip[..., 3:].astype(np.float32) / 255
        result = colour * opacity + 255 * (1 - opacity)
        blended[top : top + rows] = np.rint(result) if rgba.dtype == np.uint8 else result
    return blended


def exif_orientation(kinds: Any, blocks: Any) -> int:
    """Return the EXIF orientation (1 to 8) among the metadata OpenCV found; 1 where there is none or it is damaged."""
    import cv2

    for kind, block in zip(kinds, blocks, strict=True):
        if kind == cv2.IMAGE_METADATA_EXIF:
            exif = block.tobytes().removeprefix(b"Exif\0\0")
            try:
                return tiff_tags(exif).get(ORIENTATION_TAG, 1)
            except (struct.error, KeyError):
                return 1
    return 1


def turn_avif(pixels: np.ndarray, quarter_turns: int, mirror: int | None) -> np.ndarray:
    """Turn pixels to the left, then mirror them along an axis."""
    turned = np.rot90(pixels, quarter_turns)
    return np.ascontiguousarray(turned if mirror is None else np.flip(turned, mirror))


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo the rotation or mirroring that EXIF orientation 2 to 8 records."""
    turned = {
        2: lambda image: image[:, ::-1],
        3: lambda image: image[::-1, ::-1],
        4: lambda image: image[::-1],
        5: lambda image: image.transpose(1, 0, 2),
        6: lambda image: image.transpose(1, 0, 2)[:, ::-1],
        7: lambda image: image.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda image: image.transpose(1, 0, 2)[::-1],
    }.get(orientation)
    return pixels if turned is None else np.ascontiguousarray(turned(pixels))
