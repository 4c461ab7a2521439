"""What a cell of a table holds: a path, an address, pixels or an encoded image."""

from __future__ import annotations

import base64
import math
import os
import re
from typing import Any

import numpy as np

from skcnn.datasets._open import resolve

__all__ = ["check_pixel_shape", "read_cell"]

PIXEL_TEXT = b"0123456789 \t\r\n"
# A path may begin with numbers, or consist of a few.
LOOKS_LIKE_PIXELS = re.compile(r"\[?\s*\d+(?:[\s,]+\d+){3,}\s*\]?")
DATA_URI = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)


def read_cell(
    cell: Any, root: str, pixel_shape: tuple[int, ...] | None, *, remote: bool = False
) -> str | bytes | np.ndarray:
    """Return the image in a cell: a path or an address, an encoded image, or pixels (uint8).

    Raises
    ------
    ValueError
        Saying what is wrong with the cell.
    """
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        raise ValueError("the image is missing")
    if isinstance(cell, list):
        return nested_pixels(cell, pixel_shape)
    if not isinstance(cell, str):
        raise ValueError(
            f"an image is a path, an address, a data URI or pixels, not {type(cell).__name__} {cell!r:.40}"
        )
    text = cell.strip()
    if text[:5].lower() == "data:":
        return decode_data_uri(text)
    if pixel_shape is not None:
        return flat_pixels(text.strip("[]").replace(",", " "), pixel_shape)
    path = resolve(text, root, remote=remote)
    if LOOKS_LIKE_PIXELS.fullmatch(text) and not os.path.lexists(path):
        raise ValueError(f"the image looks like pixels ({text[:20]}...); say their pixel_shape=(height, width)")
    return path


def flat_pixels(text: str, pixel_shape: tuple[int, ...]) -> np.ndarray:
    """Return pixels written one after the other, row by row, as uint8 of `pixel_shape`."""
    if text.encode("ascii", "replace").translate(None, PIXEL_TEXT):
        odd = next(number for number in text.split() if not (number.isascii() and number.isdecimal()))
        raise ValueError(f"pixels are whole numbers from 0 to 255, not {odd!r:.40}")
    # Several times faster than int() of each number; it takes anything, hence the check before.
    values = np.fromstring(text, np.int64, sep=" ")
    if values.size != math.prod(pixel_shape):
        msg = f"the image has {values.size} numbers, and pixel_shape={pixel_shape} takes {math.prod(pixel_shape)}"
        raise ValueError(msg)
    if values.max() > 255:
        raise ValueError(f"pixels are whole numbers from 0 to 255, not {values.max()}")
    return values.astype(np.uint8).reshape(pixel_shape)


def nested_pixels(cell: list, pixel_shape: tuple[int, ...] | None) -> np.ndarray:
    """Return pixels of shape (height, width[, channels]), or a flat list of them, as uint8."""
    try:
        pixels = np.array(cell)
    except (ValueError, OverflowError) as error:
        raise ValueError("the lists of pixels are of unequal length, or hold more than numbers") from error
    if pixels.dtype.kind not in "iu" or pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(f"pixels are whole numbers from 0 to 255, not as in {cell!r:.60}")
    if pixel_shape is not None and pixels.ndim == 1 and pixels.size == math.prod(pixel_shape):
        pixels = pixels.reshape(pixel_shape)
    image_like = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4))
    if not image_like or pixel_shape not in (None, pixels.shape):
        expected = pixel_shape or "(height, width) or (height, width, 1 | 3 | 4)"
        raise ValueError(f"the lists of pixels have the shape {pixels.shape}, not {expected}")
    return pixels.astype(np.uint8)


def decode_data_uri(text: str) -> bytes:
    """Return the bytes in ``data:image/png;base64,...``."""
    match = DATA_URI.match(text)
    if match is None:
        raise ValueError(f"a data URI reads data:<type>;base64,<data>, not {text[:30]!r}...")
    try:
        data = base64.b64decode("".join(text[match.end() :].split()), validate=True)
    except ValueError as error:
        raise ValueError(f"the data URI is no valid base64: {error}") from error
    if not data:
        raise ValueError("the data URI holds no data")
    return data


def check_pixel_shape(pixel_shape: Any) -> tuple[int, ...] | None:
    """Return `pixel_shape` as a tuple of ints, or None.

    Raises
    ------
    ValueError
        When it is neither None nor (height, width), (height, width, 1) or (height, width, 3).
    """
    if pixel_shape is None:
        return None
    try:
        shape = tuple(int(side) for side in pixel_shape)
        valid = shape == tuple(pixel_shape) and min(shape) > 0 and (len(shape) == 2 or shape[2:] in ((1,), (3,)))
    except (TypeError, ValueError):
        valid = False
    if not valid:
        msg = (
            "The 'pixel_shape' parameter must be None, (height, width) or (height, width, 1 | 3), ints of at least 1. "
            f"Got {pixel_shape!r} instead."
        )
        raise ValueError(msg)
    return shape
