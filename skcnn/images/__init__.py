"""Lazy images: decoding, deterministic steps, content digests, and the transformers built on them."""

from skcnn.images._augmentation import Augmentation
from skcnn.images._decode import decode_image
from skcnn.images._inputs import as_image_sequence
from skcnn.images._mean import MeanSubtract
from skcnn.images._resize import AspectAwareResize
from skcnn.images._sequence import ImageSequence
from skcnn.images._steps import (
    Crop,
    FlipHorizontal,
    ResizeCrop,
    Step,
    SubtractMean,
    TenCrop,
    ToGrey,
    ViewStep,
)

__all__ = [
    "AspectAwareResize",
    "Augmentation",
    "Crop",
    "FlipHorizontal",
    "ImageSequence",
    "MeanSubtract",
    "ResizeCrop",
    "Step",
    "SubtractMean",
    "TenCrop",
    "ToGrey",
    "ViewStep",
    "as_image_sequence",
    "decode_image",
]
