"""JPEG 2000 files: find the depth of their samples, and refuse depths that Pillow decodes wrongly."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from skcnn.exceptions import ImageReadError
from skcnn.images._formats import CONVERT

# SIZ, the first segment of a codestream: 36 bytes, the number of components, the depth of the first.
SIZ = re.compile(rb"\xff\x4f\xff\x51.{36}..(.)", re.DOTALL)


def sample_depth(image: Any) -> int | None:
    """Return the bits of a sample of a Pillow image of this format; None where it was loaded already."""
    found = SIZ.search(encoded(image)) if image.fp else None
    return (found[1][0] & 0x7F) + 1 if found else None


def deep_pixels(image: Any, bits: int) -> np.ndarray:
    """Return the pixels of an image of more than 8 bits that is not of mode I;16; Pillow would make its white black.

    Returns
    -------
    ndarray of shape (height, width, 3 | 4), uint8
        RGB, and opacity where there is one.
    """
    import cv2

    data = encoded(image)
    image.load()  # damaged data ends here: OpenCV would print what it thinks of it
    samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    channels = 1 if samples is None or samples.ndim == 2 else samples.shape[2]
    order = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}.get(channels)
    if samples is None or samples.dtype != np.uint16 or channels != len(image.getbands()) or order is None:
        msg = f"it is a JPEG 2000 of a variant that is not read ({bits} bits, mode {image.mode}); {CONVERT}"
        raise ImageReadError(msg)
    return cv2.convertScaleAbs(cv2.cvtColor(samples, order), alpha=255 / ((1 << bits) - 1))


def encoded(image: Any) -> bytes:
    """Return the whole file of an image that is not loaded yet."""
    position = image.fp.tell()
    image.fp.seek(0)
    data = image.fp.read()
    image.fp.seek(position)
    return data
