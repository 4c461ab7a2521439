"""A Pillow image becomes upright 8-bit RGB pixels, whatever its mode, depth, transparency and orientation."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from skcnn.exceptions import ImageReadError
from skcnn.images._formats import quiet_pillow
from skcnn.images._jpeg2000 import deep_pixels, sample_depth

if TYPE_CHECKING:
    from PIL.Image import Image

# Pixels that are laid over white at a time.
BLEND_PIXELS = 1 << 18

BITS_PER_SAMPLE_TAG, ORIENTATION_TAG = 258, 274
# How Pillow unpacks PNGs of few bits, and what it multiplies their samples with; not the transparent one.
SHADE_SCALES = {"1": 255, "L;2": 85, "L;4": 17}


def upright_rgb(image: Image) -> np.ndarray:
    """Return the pixels of a Pillow image, decoding it if it was only opened.

    Parameters
    ----------
    image : PIL.Image.Image
        Of any mode with samples of a fixed range; transparency is laid over white, its EXIF orientation undone.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
        RGB in [0, 255].

    Raises
    ------
    ImageReadError
        For a variant that would come out wrong. What Pillow raises for a damaged file is passed on.
    """
    inverted = False
    if image.format == "TIFF" and hasattr(image, "tag_v2"):
        from skcnn.images import _tiff

        _tiff.check_variant(image.tag_v2)
        inverted = _tiff.is_inverted(image)
    depth = sample_depth(image) if image.format == "JPEG2000" else None
    white, shade = largest_sample(image, depth), transparent_shade(image)
    if depth is not None and depth > 8 and image.mode != "I;16":
        pixels = deep_pixels(image, depth)
        return turn_upright(pixels if pixels.shape[2] == 3 else lay_over_white(pixels), orientation_of(image))
    # Before the orientation is asked for: Pillow reads a whole PNG to learn it, and a damaged one must raise here.
    image.load()
    is_grey = image.mode in ("1", "L") or image.mode[0] == "I"
    pixels = grey_pixels(image, white, shade, inverted=inverted) if is_grey else colour_pixels(image, white)
    return turn_upright(pixels, orientation_of(image))


def largest_sample(image: Any, depth: int | None = None) -> int:
    """Return the sample that means white, or full colour; `depth` is that of a JPEG 2000."""
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        msg = (
            f"the image holds samples of Pillow's mode {image.mode}, whose range is not fixed; scale it to [0, 255] "
            "and pass the arrays"
        )
        raise ImageReadError(msg)
    width = 16 if image.mode[0] == "I" else 8
    if image.format == "TIFF" and width == 16:
        return (1 << image.tag_v2[BITS_PER_SAMPLE_TAG][0]) - 1
    if depth is not None and depth < width:  # Pillow shifts these up
        return ((1 << depth) - 1) << (width - depth)
    return (1 << width) - 1


def transparent_shade(image: Image) -> int | None:
    """Return the one shade of a grey PNG that is transparent, as it will be in the loaded pixels."""
    shade = image.info.get("transparency")
    raw_mode = image.tile[0][3] if getattr(image, "tile", None) else ""  # type: ignore[attr-defined]
    if shade is not None and raw_mode == "RGB;16B":
        raise ImageReadError("it is a PNG of a variant that is not read (16 bits with one transparent colour)")
    return shade * SHADE_SCALES.get(raw_mode, 1) if isinstance(shade, int) else None


def grey_pixels(image: Image, white: int, shade: int | None, *, inverted: bool) -> np.ndarray:
    """Return the pixels of an image of one channel."""
    import cv2

    samples = np.asarray(image if image.mode[0] == "I" else image.convert("L"))
    samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    grey = samples if white == 255 else cv2.convertScaleAbs(samples, alpha=255 / white)
    if inverted:
        grey = 255 - grey
    if shade is not None:
        grey = np.where(samples == shade, np.uint8(255), grey)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)


def colour_pixels(image: Image, white: int) -> np.ndarray:
    """Return the pixels of an image of several channels, or with a palette."""
    if image.mode in ("La", "RGBa"):  # Pillow takes these apart only into their own kind
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    mode = "RGBA" if image.has_transparency_data else "RGB"
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    if white != 255:
        import cv2

        pixels = cv2.convertScaleAbs(pixels, alpha=255 / white)
    return lay_over_white(pixels) if mode == "RGBA" else pixels


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


def orientation_of(image: Image) -> int:
    """Return how an image is stored: an EXIF orientation from 1, upright, to 8; from XMP where EXIF has none.

    Call it after `image.load()`, which a PNG needs for its metadata; a JPEG's metadata stands in front of its pixels.
    """
    import PIL.Image

    # Damaged EXIF counts for nothing, and must not hide the XMP.
    xmp = PIL.Image.new("1", (1, 1))
    xmp.info = {key: image.info[key] for key in ("xmp", "XML:com.adobe.xmp") if key in image.info}
    for candidate in (image, xmp):
        with quiet_pillow(), contextlib.suppress(Exception):
            orientation: Any = candidate.getexif().get(ORIENTATION_TAG)
            if orientation in range(1, 9):
                return int(orientation)
    return 1


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
