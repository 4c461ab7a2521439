"""Encoded bytes become upright RGB pixels: JPEG by libjpeg-turbo, the rest by Pillow."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from skcnn.exceptions import ImageReadError
from skcnn.images._formats import explain_failure, failures_explained, open_image
from skcnn.images._pillow import orientation_of, turn_upright, upright_rgb
from skcnn.images._pixel_budget import decoding

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

# Part of every fingerprint: raise it when the same bytes would decode to other pixels.
# 3: damaged PNGs, and JPEGs that end too soon, are refused.
DECODE_VERSION = 3

# A 24 x 7 thousand pixel panorama fits; what is larger is nearly always a decompression bomb.
MAX_PIXELS = 178_956_970

JPEG_SCALES = (8, 4, 2)

# What libjpeg-turbo says where pixels are missing or wrong; Pillow would show such a file. Of other doubts, such as a
# few bytes too many before a marker, which cameras write, Pillow decides.
WRONG_PIXELS = re.compile(r"premature end of data segment|bad Huffman code|bad arithmetic code|instead of RST")
# An ASCII PNM: a number that ends with the file may have been cut short.
LAST_NUMBER = re.compile(rb"(?<!\d)\d{1,10}\Z")


def shows_truncated() -> bool:
    """Whether Pillow is set to show as much as there is of a file that is cut short, as many notebooks do."""
    return bool(getattr(sys.modules.get("PIL.ImageFile"), "LOAD_TRUNCATED_IMAGES", False))


@functools.cache
def opencv_version() -> str:
    """Return OpenCV's version, without importing it where its package has a version file."""
    spec = importlib.util.find_spec("cv2")
    if "cv2" not in sys.modules and spec is not None and spec.origin:
        with contextlib.suppress(OSError):
            text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
            if found := re.search(r"""opencv_version\s*=\s*["']([^"']+)""", text):
                return found[1]
    import cv2

    return cv2.__version__


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS, at_least: tuple[int, int] | None = None) -> np.ndarray:
    """Decode an image file's bytes.

    Grey, palette, CMYK and 16-bit images become 8-bit RGB, transparency is laid over white, EXIF rotation is applied,
    and of an animation the first frame is taken.

    Parameters
    ----------
    data : bytes
        The whole encoded image: JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF, JPEG 2000 or PNM; HEIC where pillow-heif is
        installed.
    max_pixels : int, default=178_956_970
        An image that announces more pixels is refused before it is decoded.
    at_least : (int, int), default=None
        Height and width that are enough for the caller. A JPEG is then decoded at the smallest of the scales 1/8, 1/4
        and 1/2 that is still at least as large on both sides, which is faster for large photographs.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
        RGB in [0, 255]. Samples of another depth are scaled by what the format announces: the largest becomes 255.

    Raises
    ------
    ImageReadError
        When the bytes are no image, are cut short or damaged, are of a variant that is not read, or announce no or too
        many pixels.
    """
    name, image = open_image(data)
    check_size(*image.size, max_pixels)
    if name != "JPEG":
        if name == "PNM" and data[:2] in (b"P2", b"P3") and not shows_truncated():
            check_last_number(data, largest=cast(tuple, image.tile[0].args)[-1])
        with decoding.taken(image.width * image.height), failures_explained(name):
            return upright_rgb(image)
    orientation = orientation_of(image)
    scale = jpeg_scale(image.size, at_least if orientation <= 4 else at_least[::-1]) if at_least else 1
    with decoding.taken(image.width * image.height // scale**2):
        return decode_upright_jpeg(data, image, orientation, scale)


def decode_upright_jpeg(data: bytes, image: ImageFile, orientation: int, scale: int) -> np.ndarray:
    """Decode a JPEG that Pillow has opened; Pillow decides where libjpeg-turbo is in doubt, and about CMYK."""
    failures: list[Exception] = []
    is_rgb = image.mode in ("L", "RGB")
    try:
        # CMYK becomes RGB in Pillow, which does not pass on what libjpeg-turbo says.
        pixels = decode_jpeg(data, "RGB" if is_rgb else "CMYK", image.size, scale)
        if is_rgb:
            return turn_upright(pixels, orientation)
    except ValueError as error:
        if WRONG_PIXELS.search(str(error)) and not shows_truncated():
            raise explain_failure("JPEG", error) from error
        failures.append(error)
    image.draft(None, (image.width // scale, image.height // scale))
    with failures_explained("JPEG", *failures):
        return upright_rgb(image)


def jpeg_scale(size: tuple[int, int], at_least: tuple[int, int]) -> int:
    """Return by how much a JPEG can be reduced while it is decoded, and still cover (height, width) `at_least`."""
    width, height = size
    return next((n for n in JPEG_SCALES if height // n >= at_least[0] and width // n >= at_least[1]), 1)


def decode_jpeg(data: bytes, colour_space: str, size: tuple[int, int], scale: int) -> np.ndarray:
    """Decode a JPEG as it is stored, to "RGB" or "CMYK".

    Raises
    ------
    ValueError
        When libjpeg-turbo cannot decode it, or so much as warns.
    """
    import simplejpeg

    # Sides are rounded up.
    width, height = (-(-side // scale) for side in size)
    return simplejpeg.decode_jpeg(data, colour_space, min_height=height, min_width=width)


def check_last_number(data: bytes, largest: int) -> None:
    """Refuse an ASCII PNM of several shades whose last number may have lost its last digits.

    The format demands white space after each number; a file without is refused only where another digit would fit.
    """
    last = LAST_NUMBER.search(data, len(data) - 11)
    if last and 0 < int(last[0]) * 10 <= largest:
        ending = f"the PNM data ends within its last number ({last[0].decode()})"
        raise ImageReadError(f"{ending}; if it is whole, add a line break at its end")


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image whose header announces no pixels or more than `max_pixels`."""
    if width <= 0 or height <= 0:
        raise ImageReadError(f"the header announces {width} x {height} pixels: there is nothing to decode")
    if width * height > max_pixels:
        msg = (
            f"the header announces {width} x {height} pixels, more than max_pixels={max_pixels}; "
            "if the image can be trusted, make it smaller first"
        )
        raise ImageReadError(msg)
