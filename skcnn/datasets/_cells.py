"""What a cell of a table holds (a path, an address, pixels or an encoded image), and all rows that hold none."""

from __future__ import annotations

import base64
import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skcnn.datasets._bunch import label_text, listing, object_array
from skcnn.datasets._open import resolve
from skcnn.images import ImageSequence, as_image_sequence
from skcnn.images._sources import is_url

__all__ = ["Rows", "check_pixel_shape"]

# Beyond this many the message would bury what it says.
NAMED_ROWS = 100

PIXEL_TEXT = b"0123456789 \t\r\n"

# Four are enough to tell pixels from a path that begins with a number.
LOOKS_LIKE_PIXELS = re.compile(r"\s*\[?\s*\d+(?:[\s,]+\d+){3}")

DATA_URI = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)


@dataclass
class Rows:
    """The rows of a table, gathered one by one, and everything that is wrong with them, to be said at once.

    Parameters
    ----------
    file : str
        What to call the table in messages.
    root : str
        What relative paths are relative to: a folder, or an address.
    pixel_shape : tuple of int, or None
        (height, width) or (height, width, channels) of images given as flat lists of numbers.
    labelled : bool
        Whether rows have labels.
    """

    file: str
    root: str
    pixel_shape: tuple[int, ...] | None
    labelled: bool
    names: list[str] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, name: str, image: Any, label: Any = None) -> None:
        """Take in one row, or note what is wrong with it."""
        try:
            kind, source = read_cell(image, self.root, self.pixel_shape, remote=is_url(self.file))
            if self.labelled:
                self.texts.append(label_text(label))
        except ValueError as error:
            self.refuse(name, str(error))
            return
        self.names.append(name)
        self.kinds.append(kind)
        self.images.append(source)

    def refuse(self, name: str, reason: str) -> None:
        """Note what is wrong with a row."""
        self.problems.append(f"{name}: {reason}")

    def finish(self) -> tuple[np.ndarray | ImageSequence, list[str] | None, list[str]]:
        """Return the images, their labels, and what to call each image.

        Raises
        ------
        ValueError
            When there are no rows, or naming every row that cannot be used.
        """
        total = len(self.names) + len(self.problems)
        if not total:
            raise ValueError(f"{self.file!r} has no rows; at least one image is required")
        if not self.problems:
            self._refuse_mixture()
        if self.problems:
            msg = (
                f"{len(self.problems)} of {total} rows of {self.file!r} cannot be used; correct them or take them out:"
            )
            raise ValueError(msg + listing(self.problems, NAMED_ROWS))
        labels = self.texts if self.labelled else None
        if self.kinds[0] == "paths":
            return object_array(self.images), labels, self.images
        return as_image_sequence(self.images), labels, self.names

    def _refuse_mixture(self) -> None:
        """Note every row that holds another kind of image than most."""
        usual = max(sorted(set(self.kinds)), key=self.kinds.count)
        for name, kind in zip(self.names, self.kinds, strict=True):
            if kind != usual:
                self.refuse(name, f"it holds {kind}, most rows hold {usual}; one table holds one kind of image")


def read_cell(cell: Any, root: str, pixel_shape: tuple[int, ...] | None, *, remote: bool = False) -> tuple[str, Any]:
    """Return the kind of image in a cell ("paths", "pixels" or "encoded images"), and the image as a source.

    Raises
    ------
    ValueError
        Saying what is wrong with the cell.
    """
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        raise ValueError("the image is missing")
    if isinstance(cell, list):
        return "pixels", nested_pixels(cell, pixel_shape)
    if not isinstance(cell, str):
        raise ValueError(
            f"an image is a path, an address, a data URI or pixels, not {type(cell).__name__} {cell!r:.40}"
        )
    text = cell.strip()
    if text[:5].lower() == "data:":
        return "encoded images", decode_data_uri(text)
    if pixel_shape is not None:
        return "pixels", flat_pixels(text.strip("[]").replace(",", " "), pixel_shape)
    if LOOKS_LIKE_PIXELS.match(text):
        raise ValueError(f"the image looks like pixels ({text[:20]}...); say their pixel_shape=(height, width)")
    return "paths", resolve(text, root, remote=remote)


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
