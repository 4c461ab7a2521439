"""TIFF files: variants that Pillow decodes wrongly are corrected or refused."""

from __future__ import annotations

from typing import Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from skcnn.exceptions import ImageReadError
from skcnn.images._formats import CAMERA_RAW, CONVERT

NEW_SUBFILE_TYPE, IMAGE_WIDTH, BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC = 254, 256, 258, 259, 262
PLANAR_CONFIGURATION, EXTRA_SAMPLES, SAMPLE_FORMAT = 284, 338, 339
DNG_VERSION = 50706

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK, YCBCR = 0, 1, 2, 5, 6
COLOUR_FILTER_ARRAY, LINEAR_RAW = 32803, 34892


class CheckedTiffFile(TiffImageFile):
    """A TIFF file as Pillow reads it, of the variants that it reads rightly."""

    def _setup(self) -> None:
        """Check the tags that were just read, before Pillow chooses how to decode by them."""
        tags = self.tag_v2
        check_variant(tags)
        bits, photometric = tags.get(BITS_PER_SAMPLE, (1,)), tags.get(PHOTOMETRIC)
        is_unknown = photometric == WHITE_IS_ZERO and bits == (12,)
        if is_unknown:  # to Pillow, which knows the opposite
            tags[PHOTOMETRIC] = BLACK_IS_ZERO
        try:
            super()._setup()
        except (KeyError, SyntaxError) as error:
            described = f"BitsPerSample {bits}, PhotometricInterpretation {photometric}"
            rest = {"Compression": COMPRESSION, "ExtraSamples": EXTRA_SAMPLES}
            described += "".join(f", {name} {tags[tag]}" for name, tag in rest.items() if tag in tags)
            raise unsupported(described) from error
        if is_unknown:
            tags[PHOTOMETRIC] = WHITE_IS_ZERO


def is_inverted(image: Any) -> bool:
    """Whether 0 means white in the pixels that Pillow loads; it inverts up to 8 bits by itself."""
    return image.mode.startswith("I") and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO


def check_variant(tags: ImageFileDirectory_v2) -> None:
    """Refuse, by the tags of its first image, a TIFF that Pillow would show wrongly."""
    bits, photometric = tags.get(BITS_PER_SAMPLE, (1,)), tags.get(PHOTOMETRIC)
    extra = tags.get(EXTRA_SAMPLES, ())
    is_preview = bool(tags.get(NEW_SUBFILE_TYPE, 0) & 1)
    if DNG_VERSION in tags or photometric in (COLOUR_FILTER_ARRAY, LINEAR_RAW) or is_preview:
        raise ImageReadError(f"its first image is the preview or the sensor data of {CAMERA_RAW}")
    if max(bits) > 16 or max(tags.get(SAMPLE_FORMAT, (1,))) > 1:
        msg = (
            f"the TIFF holds samples of {max(bits)} bits that are signed, floating-point or wide, whose range is not "
            "fixed; read it with a library of your choice, scale it to [0, 255] and pass the arrays"
        )
        raise ImageReadError(msg)
    if photometric is None and IMAGE_WIDTH in tags:
        raise unsupported("it does not say what its samples mean: PhotometricInterpretation is missing")
    has_planes = tags.get(PLANAR_CONFIGURATION, 1) == 2 and len(bits) > 1
    if has_planes and not (set(bits) == {8} and photometric in (RGB, CMYK) and 0 not in extra):
        described = f"PhotometricInterpretation {photometric}, ExtraSamples {extra}"
        raise unsupported(f"separate planes of {max(bits)} bits, {described}")
    if photometric == YCBCR and tags.get(COMPRESSION, 1) == 1:
        raise unsupported("uncompressed YCbCr")


def unsupported(variant: str) -> ImageReadError:
    """Return the error for a TIFF of a rare variant."""
    return ImageReadError(f"it is a TIFF of a variant that is not read ({variant}); {CONVERT}")
