"""Affine warps of images: where the pixels of the result come from, and how they are resampled."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from skcnn.images._geometry import Box
from skcnn.images._steps import Crop, resize

FILL_MODES = ("nearest", "reflect", "wrap", "constant")


class Placement(NamedTuple):
    """Which part of an image a warp shows, and how it is turned.

    Parameters
    ----------
    share : float, default=None
        Share in (0, 1] of the area of the image that is cut out, as far as a box of the shape of the result fits in it.
        None takes the largest that fits.
    across, down : float, default=0.5
        Where that box is, in [0, 1]: from the left edge to the right, and from the upper to the lower.
    angle : float, default=0.0
        Rotation in degrees, counterclockwise.
    shear : float, default=0.0
        By how much of its height an upright line is slanted.
    zoom : float, default=1.0
        Above 1 things look larger.
    shift_x, shift_y : float, default=0.0
        How far the picture moves to the right and down, as a share of the width and the height of the result.
    flip_x, flip_y : bool, default=False
        Whether it is mirrored left to right, and upside down.
    """

    share: float | None = None
    across: float = 0.5
    down: float = 0.5
    angle: float = 0.0
    shear: float = 0.0
    zoom: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    flip_x: bool = False
    flip_y: bool = False


def source_map(source: tuple[int, int], size: tuple[int, int], placement: Placement) -> np.ndarray:
    """Return where in the source each pixel of the result comes from.

    Parameters
    ----------
    source, size : (int, int)
        Height and width in pixels of the source and of the result.
    placement : Placement

    Returns
    -------
    ndarray of shape (2, 3), float64
        From (x, y, 1) in the result to (x, y) in the source. Coordinates are continuous: the pixel in column i reaches
        from i to i + 1.
    """
    (source_height, source_width), (height, width) = source, size
    step = min(source_height / height, source_width / width)  # pixels of the source for one of the result
    if placement.share is not None:
        step = min(step, math.sqrt(placement.share * source_height * source_width / (height * width)))
    centre = np.array(
        [
            step * width / 2 + placement.across * (source_width - step * width),
            step * height / 2 + placement.down * (source_height - step * height),
        ]
    )
    cos, sin = math.cos(math.radians(placement.angle)), math.sin(math.radians(placement.angle))
    rotation = np.array([[cos, -sin], [sin, cos]])  # of where pixels come from; y points down
    shear = np.array([[1.0, placement.shear], [0.0, 1.0]])
    mirror = np.diag([-1.0 if placement.flip_x else 1.0, -1.0 if placement.flip_y else 1.0])
    linear = step / placement.zoom * (mirror @ rotation @ shear)
    shown = np.array([width * (0.5 + placement.shift_x), height * (0.5 + placement.shift_y)])
    return np.column_stack([linear, centre - linear @ shown])


def warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], fill_mode: str = "nearest") -> np.ndarray:
    """Return an image whose pixels are taken from another one.

    An image that shrinks is first averaged over areas, so that fine patterns become grey and not coarse ones.

    Parameters
    ----------
    image : ndarray of shape (height, width, channels), uint8 or float32
    matrix : ndarray of shape (2, 3)
        As `source_map` returns it.
    size : (int, int)
        Height and width in pixels of the result.
    fill_mode : {"nearest", "reflect", "wrap", "constant"}, default="nearest"
        What is outside the image: its edge pixels, its mirror image, its repetition, or black.

    Returns
    -------
    ndarray of shape (*size, channels), of the dtype of the image
    """
    import cv2

    border = {
        "nearest": cv2.BORDER_REPLICATE,
        "reflect": cv2.BORDER_REFLECT,
        "wrap": cv2.BORDER_WRAP,
        "constant": cv2.BORDER_CONSTANT,
    }[fill_mode]
    matrix = np.array(matrix, np.float64)
    # The most pixels of the source that lie side by side under one of the result.
    step = float(np.linalg.svd(matrix[:, :2], compute_uv=False)[0])
    if step > 1:
        box = needed_box(image.shape[:2], matrix, size, step, is_periodic=fill_mode in ("reflect", "wrap"))
        smaller = max(1, round(box.height / step)), max(1, round(box.width / step))
        image = resize(Crop(*box)(image), smaller, "area")
        scale = np.array([smaller[1] / box.width, smaller[0] / box.height])
        matrix[:, 2] -= box.left, box.top
        matrix *= scale[:, np.newaxis]
    # OpenCV counts from the centres of pixels.
    matrix[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(image, matrix, size[::-1], flags=flags, borderMode=border)
    return warped.reshape(*size, image.shape[2])  # OpenCV drops the last axis of a one-channel image


def needed_box(
    source: tuple[int, int], matrix: np.ndarray, size: tuple[int, int], margin: float, *, is_periodic: bool
) -> Box:
    """Return the part of the source that a warp reads; all of it where more than that is repeated around it."""
    corners = matrix @ np.array([[0, size[1], 0, size[1]], [0, 0, size[0], size[0]], [1, 1, 1, 1]])
    first = np.floor(corners.min(axis=1) - margin)[::-1]
    last = np.ceil(corners.max(axis=1) + margin)[::-1]
    ends = np.array(source)
    if is_periodic and ((first < 0).any() or (last > ends).any()):
        return Box(0, 0, *source)
    first = np.clip(first, 0, ends - 1).astype(int)
    last = np.clip(last, first + 1, ends).astype(int)
    return Box(*first.tolist(), *(last - first).tolist())
