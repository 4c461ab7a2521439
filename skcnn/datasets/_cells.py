"""The cells of a table: a path, an address, pixels or an encoded image."""

from __future__ import annotations

import base64
import math
import os
import re
from typing import Any

import numpy as np

from skcnn.datasets._open import resolve
from skcnn.images._sources import CHANNELS

PIXEL_TEXT = b"0123456789 \t\r\n"
# A path may begin with numbers, or consist of a few.
LOOKS_LIKE_PIXELS = re.compile(r"\[?\s*\d+(?:[\s,]+\d+){3,}[\s,]*\]?")
# Characters of a cell that it is judged by: an expression over all of a large image takes a hundred times its memory.
HEAD = 256
# A longer path is refused by every operating system.
LONGEST_PATH = 32_768
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
        return read_pixels(cell, pixel_shape)
    if not isinstance(cell, str):
        raise ValueError(
            f"an image is a path, an address, a data URI or pixels, not {type(cell).__name__} {cell!r:.40}"
        )
    text = cell.strip()
    if text[:5].lower() == "data:":
        return decode_data_uri(text)
    if pixel_shape is not None:
        return read_pixels(text, pixel_shape)
    is_path = len(text) <= LONGEST_PATH
    path = resolve(text, root, remote=remote) if is_path else ""
    if LOOKS_LIKE_PIXELS.fullmatch(text[:HEAD]) and not (is_path and os.path.lexists(path)):
        raise ValueError(f"the image looks like pixels ({text[:20]}...); say their pixel_shape=(height, width)")
    if not is_path:
        raise ValueError(f"a text of {len(text):,} characters is no path or address ({text[:20]}...)")
    return path


def read_pixels(cell: str | list, pixel_shape: tuple[int, ...] | None) -> np.ndarray:
    """Return pixels, written one after the other or in nested lists of shape (height, width[, channels]), as uint8."""
    if isinstance(cell, str):
        text = cell.strip("[]").replace(",", " ")
        if text.encode("ascii", "replace").translate(None, PIXEL_TEXT):
            odd = next(number for number in text.split() if not (number.isascii() and number.isdecimal()))
            raise ValueError(f"pixels are whole numbers from 0 to 255, not {odd!r:.40}")
        # Several times faster than int() of each number; it takes anything, hence the check before.
        pixels = np.fromstring(text, np.int64, sep=" ")
    else:
        try:
            pixels = np.array(cell)
        except (ValueError, OverflowError) as error:
            raise ValueError("the lists of pixels are of unequal length, or hold more than numbers") from error
    if pixels.dtype.kind not in "iu" or not pixels.size or pixels.min() < 0 or pixels.max() > 255:
        found = f"[{pixels.min()}, {pixels.max()}]" if pixels.dtype.kind in "iuf" and pixels.size else f"{cell!r:.40}"
        raise ValueError(f"pixels are whole numbers from 0 to 255, not in {found}")
    if pixel_shape is not None and pixels.ndim == 1:
        if pixels.size != math.prod(pixel_shape):
            msg = f"the image has {pixels.size} numbers, and pixel_shape={pixel_shape} takes {math.prod(pixel_shape)}"
            raise ValueError(msg)
        pixels = pixels.reshape(pixel_shape)
    image_like = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in CHANNELS)
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
