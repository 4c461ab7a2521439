"""Lazy images: decoding, deterministic steps, content digests, and the transformers built on them."""

from skcnn.images._decode import DECODE_VERSION, MAX_PIXELS, decode_image
from skcnn.images._header import FORMATS, read_header
from skcnn.images._inputs import as_image_sequence, is_pixel_array
from skcnn.images._mean import MeanSubtract
from skcnn.images._resize import AspectAwareResize
from skcnn.images._sequence import ImageSequence, describe_failures, unreadable_error
from skcnn.images._sources import is_url, read_url
from skcnn.images._steps import Crop, FlipHorizontal, ResizeCrop, Step, SubtractMean, ToGrey, describe_steps
from skcnn.images._transformer import ImageTransformerMixin, check_images, image_tags

__all__ = [
    "DECODE_VERSION",
    "FORMATS",
    "MAX_PIXELS",
    "AspectAwareResize",
    "Crop",
    "FlipHorizontal",
    "ImageSequence",
    "ImageTransformerMixin",
    "MeanSubtract",
    "ResizeCrop",
    "Step",
    "SubtractMean",
    "ToGrey",
    "as_image_sequence",
    "check_images",
    "decode_image",
    "describe_steps",
    "image_tags",
    "is_pixel_array",
    "is_url",
    "describe_failures",
    "read_header",
    "read_url",
    "unreadable_error",
]
