"""The steps that images go through after decoding, as values: equal steps have equal fingerprints."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from skcnn._plain import plain
from skcnn._source_code import describe_code
from skcnn.images._geometry import Box, centre_box, corner_boxes, covering_size, limit_aspect_ratio

INTERPOLATIONS = ("area", "linear", "cubic", "lanczos", "nearest")

# Where area averaging shrinks an image by this much or more it begins with halving it, for which OpenCV has fast code;
# the difference is at most a few levels (benchmarks/bench_decoding.py).
HALVING = 8

# With it the features of images that were scaled while they were decoded are nearly equal to those of all pixels, which
# they are not without (benchmarks/bench_decoding.py).
FAST_MARGIN = 1.5


@dataclass(frozen=True)
class Step:
    """One deterministic operation on an image of shape (height, width, channels).

    A step of your own is a frozen dataclass with a `__call__`. Its fields, its `version` and the text of the file that
    defines it are part of the fingerprint of whatever is computed from its images, and so are the modules of your own
    that this file imports: after an edit features are computed again. Raise `version` where code that is not seen from
    there has changed.
    """

    # Raise it when the same parameters would give other pixels: it is part of every fingerprint.
    version: ClassVar[int] = 1
    # How many images come out for each that goes in.
    n_views: ClassVar[int] = 1

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the changed image; the given one is left as it is."""
        raise TypeError(f"{type(self).__name__} does not say what it does to an image")

    def output_size(self, size: tuple[int, int] | None) -> tuple[int, int] | None:
        """Return the (height, width) after this step for `size` before it; None where that is not known."""
        return size

    def sufficient_size(self) -> tuple[int, int] | None:
        """Return the (height, width) that an image may be shrunk to while it is decoded, if this is the first step.

        None where all pixels are needed.
        """
        return None

    def describe(self) -> dict[str, Any]:
        """Return everything that decides what this step does, as JSON types.

        Raises
        ------
        UnknownCodeError
            When that cannot be told; the images are then processed, but nothing is kept.
        """
        kind = type(self)
        if "__dataclass_fields__" not in vars(kind):
            msg = f"{kind.__qualname__} must be a frozen dataclass: its fields are what tells two steps of it apart"
            raise TypeError(msg)
        fields = plain(asdict(self))
        own = {} if kind.__module__.startswith("skcnn.") else {"code": describe_code(kind)}
        return {"step": kind.__name__, "version": self.version, **fields, **own}


@dataclass(frozen=True)
class ViewStep(Step):
    """A step that makes several images of one, its views, or draws random numbers.

    The image is decoded once, and the features of all its views are stored as one array: shape (n_views, ...). A view
    step of your own is a frozen dataclass with a `make_view` and, as a field or a property, `n_views`; with a field
    `seed` where the numbers that `make_view` draws should depend on it. Equal images give equal views, whatever their
    path or position, in every process.
    """

    seed: ClassVar[int] = 0

    def make_view(self, image: np.ndarray, view: int, random: np.random.Generator) -> np.ndarray:
        """Return one view of an image; the given one is left as it is.

        Parameters
        ----------
        image : ndarray of shape (height, width, channels), uint8 or float32
        view : int
            Which one, in [0, n_views).
        random : numpy.random.Generator
            Seeded from `seed`, the digest of the image's bytes and `view`.
        """
        raise TypeError(f"{type(self).__name__} does not say how it makes a view")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Refuse: without the digest of the image its random numbers are not known."""
        raise TypeError(f"{type(self).__name__} makes views of an image; ImageSequence.with_step applies it")


@dataclass(frozen=True)
class ResizeCrop(Step):
    """Resize along the shorter side and cut out the centre: exactly (height, width) comes out, undistorted.

    Parameters
    ----------
    height, width : int
        Size in pixels of the result.
    interpolation : str, default="area"
        One of ``INTERPOLATIONS``. "area" averages when the image shrinks and is bilinear when it grows, where area
        averaging would show blocks.
    """

    version: ClassVar[int] = 2

    height: int
    width: int
    interpolation: str = "area"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        size, target = image.shape[:2], (self.height, self.width)
        if size == target:
            return image
        image = Crop(*limit_aspect_ratio(size, target))(image)
        size = image.shape[:2]
        covering = covering_size(size, target)
        if covering != size:
            image = resize(image, covering, self.interpolation)
        return Crop(*centre_box(covering, target))(image)

    def output_size(self, size: tuple[int, int] | None) -> tuple[int, int] | None:
        return self.height, self.width

    def sufficient_size(self) -> tuple[int, int] | None:
        """Return a size somewhat above that of the result, if areas are averaged."""
        if self.interpolation != "area":
            return None
        return math.ceil(FAST_MARGIN * self.height), math.ceil(FAST_MARGIN * self.width)


@dataclass(frozen=True)
class Crop(Step):
    """Cut the box (top, left, height, width) out of an image."""

    top: int
    left: int
    height: int
    width: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return a contiguous image of shape (height, width, channels); a box that reaches outside is refused."""
        height, width = image.shape[:2]
        if self.top < 0 or self.left < 0 or self.top + self.height > height or self.left + self.width > width:
            raise ValueError(f"{self} reaches outside an image of {height} x {width} pixels; resize it first")
        box = image[self.top : self.top + self.height, self.left : self.left + self.width]
        return np.ascontiguousarray(box)

    def output_size(self, size: tuple[int, int] | None) -> tuple[int, int] | None:
        """Return (height, width) of the box."""
        return self.height, self.width


@dataclass(frozen=True)
class TenCrop(ViewStep):
    """Cut out the four corners and the centre, and mirror each: ten views of (height, width).

    They come in this order: top left, top right, bottom left, bottom right, centre, then the same mirrored.

    Parameters
    ----------
    height, width : int
        Size in pixels of each view; an image that is smaller is refused.
    horizontal_flips : bool, default=True
        False leaves the mirror images out.
    corners : bool, default=True
        False leaves out the corners: the centre alone, and its mirror image.
    """

    height: int
    width: int
    horizontal_flips: bool = True
    corners: bool = True

    @property
    def n_views(self) -> int:  # type: ignore[override]
        """10, or 5 without the mirror images; 2 and 1 without the corners."""
        return self._n_boxes * (2 if self.horizontal_flips else 1)

    @property
    def _n_boxes(self) -> int:
        return 5 if self.corners else 1

    def boxes(self, size: tuple[int, int]) -> list[Box]:
        """Return the box that is cut out of an image of this (height, width)."""
        target = self.height, self.width
        return [*(corner_boxes(size, target) if self.corners else ()), centre_box(size, target)]

    def make_view(self, image: np.ndarray, view: int, random: np.random.Generator) -> np.ndarray:
        crop = Crop(*self.boxes(image.shape[:2])[view % self._n_boxes])(image)
        return crop if view < self._n_boxes else FlipHorizontal()(crop)

    def output_size(self, size: tuple[int, int] | None) -> tuple[int, int] | None:
        return self.height, self.width


@dataclass(frozen=True)
class FlipHorizontal(Step):
    """Mirror an image left to right."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(image[:, ::-1])


@dataclass(frozen=True)
class ToGrey(Step):
    """Reduce RGB to one channel of luma (ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B)."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if image.shape[2] == 1:
            return image
        import cv2

        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., np.newaxis]


@dataclass(frozen=True)
class SubtractMean(Step):
    """Subtract one number per channel, then divide by one where `std` is given; float32 comes out."""

    mean: tuple[float, ...]
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        # Equal steps have equal descriptions: 1 and 1.0 are equal, but not their JSON.
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))
        if self.std is not None:
            object.__setattr__(self, "std", tuple(map(float, self.std)))
        if not np.isfinite(self.mean).all() or (self.std is not None and not all(0 < x < np.inf for x in self.std)):
            msg = f"a mean must be finite, and a std finite and above 0. Got mean={self.mean}, std={self.std}."
            raise ValueError(msg)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if len(self.mean) not in (1, image.shape[2]):
            raise ValueError(f"a mean of {len(self.mean)} channels does not fit an image of {image.shape[2]} channels")
        centred = image.astype(np.float32) - np.asarray(self.mean, np.float32)
        if self.std is not None:
            centred /= np.asarray(self.std, np.float32)
        return centred


def resize(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """Return an image of shape (*size, channels), distorted where `size` has another aspect ratio.

    Parameters
    ----------
    image : ndarray of shape (height, width, channels), uint8 or float32
    size : (int, int)
    interpolation : str
        One of ``INTERPOLATIONS``; "area" is bilinear where the image grows in height.
    """
    import cv2

    name = interpolation
    if name == "area" and size[0] >= image.shape[0]:
        name = "linear"
    if name == "area" and image.shape[0] >= HALVING * size[0] and not (image.shape[0] % 2 or image.shape[1] % 2):
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
        image = np.atleast_3d(image)
    method = {
        "area": cv2.INTER_AREA,
        "linear": cv2.INTER_LINEAR,
        "cubic": cv2.INTER_CUBIC,
        "lanczos": cv2.INTER_LANCZOS4,
        "nearest": cv2.INTER_NEAREST_EXACT,
    }[name]
    # OpenCV drops the last axis of a one-channel image.
    resized = cv2.resize(image, size[::-1], interpolation=method).reshape(*size, image.shape[2])
    if name in ("cubic", "lanczos") and resized.dtype != np.uint8:
        # Both overshoot at edges; uint8 saturates, and floats must not pass for centred pixels.
        np.clip(resized, image.min(), image.max(), out=resized)
    return resized


def describe_steps(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Return everything that decides the effect of `steps`, as JSON types; equal lists mean equal pixels."""
    return [step.describe() for step in steps]
