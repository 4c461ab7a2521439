"""`Augmentation`: how images are changed at random, so that a network sees more than the ones there are."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from skcnn._parameters import ParameterGroup
from skcnn._validation import (
    Check,
    check_flag,
    check_int,
    check_parameters,
    check_real,
    check_size,
    none_or,
    one_of,
    real,
    whole,
)
from skcnn.exceptions import ImageReadError, PreprocessingError
from skcnn.images._steps import FAST_MARGIN, ViewStep
from skcnn.images._warp import FILL_MODES, Placement, source_map, warp

# How many images are looked at to tell the range of the pixels of all.
LOOKED_AT = 8
# In place of the changes that are made by default.
NO_CHANGES: dict[str, Any] = {"rotation": 0.0, "width_shift": 0.0, "height_shift": 0.0, "shear": 0.0, "zoom": 0.0,
                              "horizontal_flip": False}  # fmt: skip
# Each second view is mirrored.
ALTERNATE = "alternate"
# Changes of fewer levels than this cannot be seen, and were meant as a factor or a share.
LEAST_LEVELS = 2


class Colours(NamedTuple):
    """How the levels of one view are changed: about the mean level of the image, then for each channel, then all."""

    contrast: float
    offsets: np.ndarray
    is_inverted: bool


class Square(NamedTuple):
    """What is cut out of a view: a square, in pixels; parts of it may be outside the picture."""

    top: int
    left: int
    side: int


def check_factors(name: str, value: Any, *, open_left: bool = False) -> None:
    """Refuse values that are neither a number in [0, 1) nor a range of factors."""
    if isinstance(value, numbers.Real):
        check_real(name, value, below=1)
    else:
        check_pair(name, value, "of factors, or one number below 1", least=0, most=10, open_left=open_left)


def check_share_or_pixels(name: str, value: Any) -> None:
    """Refuse values that are neither a share below 1 nor a whole number of pixels."""
    check_real(name, value)
    if value > 1 and value != int(value):
        msg = f"The {name!r} parameter must be a share below 1, or a whole number of pixels"
        raise ValueError(f"{msg}. Got {value!r} instead.")


def check_flip(name: str, value: Any) -> None:
    """Refuse values that are neither True or False nor "alternate"."""
    if not isinstance(value, str) or value != ALTERNATE:
        try:
            check_flag(name, value)
        except ValueError:
            msg = f"The {name!r} parameter must be True, False or {ALTERNATE!r}. Got {value!r} instead."
            raise ValueError(msg) from None


def check_levels(name: str, value: Any) -> None:
    """Refuse values that are no range of levels, or too small for one."""
    if isinstance(value, numbers.Real):
        check_real(name, value, most=255)
        most = float(value)
    else:
        check_pair(name, value, "of levels, or one number of them", least=-255, most=255)
        most = float(max(map(abs, value)))
    if 0 < most < LEAST_LEVELS:
        msg = f"The {name!r} parameter is what is added to levels of 0 to 255; {value!r} changes nothing that is seen"
        raise ValueError(f"{msg}. Give levels, such as {name}=20; 'contrast' is a factor.")


def check_level(name: str, value: Any) -> None:
    """Refuse values that are no single number of levels, or too small for one."""
    if isinstance(value, Sequence):
        raise ValueError(f"The {name!r} parameter must be one number. Got {value!r} instead.")
    check_levels(name, value)


def check_pair(name: str, value: Any, what: str, *, least: float, most: float, open_left: bool = False) -> None:
    """Refuse values that are no (low, high) within bounds."""
    try:
        low, high = value
        fits = least <= low <= high <= most and not (open_left and low == least)
    except (TypeError, ValueError):
        fits = False
    if not fits:
        bounds = f"above {least:g} and at most {most:g}" if open_left else f"from {least:g} to {most:g}"
        raise ValueError(f"The {name!r} parameter must be a range (low, high) {what}, {bounds}. Got {value!r} instead.")


@dataclass(kw_only=True)
class Augmentation(ParameterGroup):
    """Ranges that random changes of training images are drawn from; all changes are made in one warp of each image.

    Numbers are drawn uniformly. A number r stands for the range from -r to r, or, for factors, from 1 - r to 1 + r;
    where (low, high) is allowed, that is the range itself. 0 and None leave out a change.

    Parameters
    ----------
    rotation : float, default=30
        Degrees, at most 180.
    width_shift, height_shift : float or int, default=0.1
        How far the picture moves: below 1, a share of its width and height; else whole pixels of the result, such as 2
        for small pictures, which are left sharp where nothing turns or zooms them.
    shear : float, default=0.2
        By how much of its height an upright line is slanted, at most 1; 0.2 is 11 degrees.
    zoom : float or (float, float), default=0.2
        Factor of size. Below 1 things look smaller, and what is around the picture is filled in.
    horizontal_flip : bool or "alternate", default=True
        Whether half of the views are mirrored left to right: at random, or "alternate", each second view of an image,
        so that an image is mirrored in every other epoch.
    vertical_flip : bool, default=False
        Whether half of the views are upside down.
    brightness : float or (float, float), default=None
        What is added to all levels, at most 255.
    contrast : float or (float, float), default=None
        Factor of the distance of levels from their mean.
    channel_shift : float, default=None
        What is added to the levels of each channel, drawn for each: a change of tint.
    invert : float, default=0
        Share of the views whose levels are turned around: a negative.
    crop : (float, float), default=None
        A box of the shape of the result is cut out at random that has this share of the area of the image, as far as it
        fits in it: (0.5, 1) for half of it to all. None takes the largest box in the middle.
    cutout : float or int, default=0
        Side of a square at a random place that is painted over with the mean colour of the view: below 1, a share of
        its shorter side; else whole pixels. A part of the square may be outside the view.
    fill_mode : {"nearest", "reflect", "wrap", "constant"}, default="nearest"
        What is outside the image: its edge pixels, its mirror image, its repetition, or black.
    seed : int, default=0
        Of the views that are stored. Equal images have equal views, in each fit, fold and process.

    See Also
    --------
    skcnn.inspection.AugmentationDisplay : A picture of views.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn.images import Augmentation, as_image_sequence
    >>> photograph = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    >>> views = as_image_sequence([photograph]).with_step(Augmentation(crop=(0.5, 1)).views(10, (224, 224)))
    >>> np.asarray(views).shape
    (1, 10, 224, 224, 3)
    """

    rotation: float = 30.0
    width_shift: float | int = 0.1
    height_shift: float | int = 0.1
    shear: float = 0.2
    zoom: float | tuple[float, float] = 0.2
    horizontal_flip: bool | str = True
    vertical_flip: bool = False
    brightness: float | tuple[float, float] | None = None
    contrast: float | tuple[float, float] | None = None
    channel_shift: float | None = None
    invert: float = 0.0
    crop: tuple[float, float] | None = None
    cutout: float | int = 0
    fill_mode: str = "nearest"
    seed: int = 0

    _constraints: ClassVar[dict[str, Check]] = {
        "rotation": real(most=180),
        "width_shift": check_share_or_pixels,
        "height_shift": check_share_or_pixels,
        "shear": real(most=1),
        "zoom": partial(check_factors, open_left=True),
        "horizontal_flip": check_flip,
        "vertical_flip": check_flag,
        "brightness": none_or(check_levels),
        "contrast": none_or(check_factors),
        "channel_shift": none_or(check_level),
        "invert": real(most=1),
        "crop": none_or(partial(check_pair, what="of the area", least=0, most=1, open_left=True)),
        "cutout": check_share_or_pixels,
        "fill_mode": one_of(*FILL_MODES),
        "seed": whole(least=0),
    }

    @classmethod
    def only(cls, **changes: Any) -> Augmentation:
        """Return an augmentation that makes these changes, and none of those that it makes by default.

        Parameters
        ----------
        **changes
            As of the class.

        Examples
        --------
        >>> from skcnn import Augmentation
        >>> negative = Augmentation.only(invert=1)
        >>> negative.rotation, negative.horizontal_flip, negative.invert
        (0.0, False, 1)
        """
        return cls(**{**NO_CHANGES, **changes})

    def views(self, n_views: int, size: tuple[int, int], *, seed: int | None = None) -> AugmentedViews:
        """Return the step that makes views of images.

        Parameters
        ----------
        n_views : int
            How many of each image.
        size : (int, int)
            Height and width in pixels of the views.
        seed : int, default=None
            Of their random numbers. None takes that of the augmentation.

        Raises
        ------
        ValueError
            For a range of this augmentation that is out of bounds.
        """
        check_parameters(self)
        check_int("n_views", n_views)
        height, width = check_size("size", size)
        # A copy, which nobody can change. 30 and 30.0 are equal, but their JSON, which is stored, is not.
        settings = {name: as_given(value) for name, value in self.get_params().items()}
        augmentation = type(self)(**{**settings, "seed": int(self.seed)})
        seed = augmentation.seed if seed is None else seed
        return AugmentedViews(augmentation=augmentation, height=height, width=width, n_views=n_views, seed=seed)

    def draw(self, random: np.random.Generator, view: int, size: tuple[int, int]) -> tuple[Placement, Colours, Square]:
        """Draw the changes of one view of a size; as many random numbers are used whatever the ranges are."""
        drawn = iter(random.random(18).tolist())

        def between(bounds: tuple[float, float]) -> float:
            return bounds[0] + (bounds[1] - bounds[0]) * next(drawn)

        def around(middle: float, value: float | tuple[float, float] | None) -> float:
            return between(limits(middle, value))

        def shift(most: float, side: int) -> float:
            if most < 1:
                return around(0, most)
            return (math.floor(next(drawn) * (2 * most + 1)) - most) / side

        height, width = size
        placement = Placement(
            angle=around(0, self.rotation),
            shift_x=shift(self.width_shift, width),
            shift_y=shift(self.height_shift, height),
            shear=around(0, self.shear),
            zoom=around(1, self.zoom),
            flip_x=self._is_mirrored(next(drawn), view),
            flip_y=next(drawn) < self.vertical_flip / 2,
            share=between(self.crop or (1, 1)),
            across=next(drawn),
            down=next(drawn),
        )
        if self.crop is None:
            placement = placement._replace(share=None, across=0.5, down=0.5)
        contrast, brightness = around(1, self.contrast), around(0, self.brightness)
        shifts = [around(0, self.channel_shift) for _ in range(3)]
        colours = Colours(contrast, brightness + np.array(shifts), next(drawn) < self.invert)
        side = int(self.cutout if self.cutout >= 1 else round(self.cutout * min(size)))
        top, left = (math.floor(next(drawn) * length - side / 2) for length in size)
        return placement, colours, Square(top, left, side)

    def _is_mirrored(self, drawn: float, view: int) -> bool:
        if self.horizontal_flip == ALTERNATE:
            return view % 2 == 1
        return bool(self.horizontal_flip) and drawn < 1 / 2


@dataclass(frozen=True, kw_only=True)
class AugmentedViews(ViewStep):
    """Change an image at random, and bring it to (height, width), several times; `Augmentation.views` makes one.

    It takes images of any size, and is best given them as they were decoded: there are more pixels to zoom in on.
    """

    augmentation: Augmentation
    height: int
    width: int
    n_views: int  # type: ignore[misc]
    seed: int  # type: ignore[misc]

    def make_view(self, image: np.ndarray, view: int, random: np.random.Generator) -> np.ndarray:
        size = self.height, self.width
        placement, colours, square = self.augmentation.draw(random, view, size)
        matrix = source_map(image.shape[:2], size, placement)
        return cut_out(change_colours(warp(image, matrix, size, self.augmentation.fill_mode), colours), square)

    def describe(self) -> dict[str, Any]:
        described = super().describe()
        # Views that were stored before there was this parameter are found.
        if not self.augmentation.cutout:
            del described["augmentation"]["cutout"]
        return described

    def output_size(self, size: tuple[int, int] | None) -> tuple[int, int] | None:
        return self.height, self.width

    def needed_size(self, margin: float = 1.0) -> tuple[int, int]:
        """Return the size of an image from which also the smallest crop is not enlarged, times a margin."""
        augmentation = self.augmentation
        factor = margin * max(1, limits(1, augmentation.zoom)[1])
        if augmentation.crop is not None:
            factor /= math.sqrt(augmentation.crop[0])
        return math.ceil(factor * self.height), math.ceil(factor * self.width)

    def sufficient_size(self) -> tuple[int, int]:
        """Return the size below which a fast decode must not fall."""
        return self.needed_size(FAST_MARGIN)


def change_colours(image: np.ndarray, colours: Colours) -> np.ndarray:
    """Return an image with other levels; they stay in [0, 255], or, for floats, in their own range if that is wider."""
    contrast, offsets, is_inverted = colours
    if contrast == 1 and not offsets.any() and not is_inverted:
        return image
    import cv2

    channels = image.shape[2]
    mean = image.mean()
    offsets = offsets if channels == 3 else offsets[:1]
    levels = np.arange(256, dtype=np.float32)[:, np.newaxis] if image.dtype == np.uint8 else image
    changed = (levels - mean) * contrast + mean + offsets
    if is_inverted:
        changed = 255 - changed
    if image.dtype == np.uint8:
        table = np.clip(np.rint(changed), 0, 255).astype(np.uint8)
        return cv2.LUT(image, table[np.newaxis]).reshape(image.shape)
    return np.clip(changed, min(0, image.min()), max(255, image.max())).astype(image.dtype)


def cut_out(image: np.ndarray, square: Square) -> np.ndarray:
    """Return an image with a square of its mean colour."""
    top, left, side = square
    if not side:
        return image
    changed = image.copy()
    rows, columns = (slice(max(0, first), max(0, first + side)) for first in (top, left))
    mean = image.mean(axis=(0, 1))
    changed[rows, columns] = np.rint(mean) if image.dtype == np.uint8 else mean
    return changed


def check_levels_of(images: Any, augmentation: Augmentation) -> None:
    """Refuse pixels in [0, 1] where an augmentation changes levels of 0 to 255.

    Parameters
    ----------
    images : ImageSequence
        The first eight are looked at, those that can be read. If no pixel of theirs is above 1, they are taken to be in
        [0, 1]: as levels of 0 to 255 they would all be black.
    augmentation : Augmentation

    Raises
    ------
    PreprocessingError
    """
    changes = [name for name in ("brightness", "channel_shift", "invert") if getattr(augmentation, name)]
    if not changes:
        return
    most = 0.0
    for image in images[:LOOKED_AT].stream():
        if isinstance(image, ImageReadError):
            continue
        if image.dtype == np.uint8 or image.max() > 1 or image.min() < 0:
            return
        most = max(most, float(image.max()))
    if most > 0:
        msg = f"no pixel value is above {most:.3g}, and {' and '.join(changes)} of the augmentation are of levels of 0"
        raise PreprocessingError(f"{msg} to 255; multiply the pixels by 255, or leave these changes out")


def limits(middle: float, value: float | tuple[float, float] | None) -> tuple[float, float]:
    """Return the range that a parameter stands for."""
    if isinstance(value, tuple):
        return value
    return middle - (value or 0), middle + (value or 0)


def as_given(value: Any) -> Any:
    """Return a parameter with floats for numbers and tuples for pairs."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (str, type(None))):
        return value
    if isinstance(value, numbers.Real):
        return float(value)
    return tuple(map(float, value))
