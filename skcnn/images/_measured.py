"""Measure how the installed libraries decode and resize: stored features are valid while the pixels are the same."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np

from skcnn.cache._json_memo import JsonMemo
from skcnn.exceptions import ImageReadError
from skcnn.images._augmentation import Augmentation
from skcnn.images._decode import DECODE_VERSION, decode_image, opencv_version, shows_truncated
from skcnn.images._steps import INTERPOLATIONS, ResizeCrop, ToGrey
from skcnn.images._views import apply_step

PROBES = Path(__file__).with_name("_probes")
# Raise it when the measurement itself changes.
PROBE_VERSION = 1
SIZES = ((31, 40), (12, 9), (64, 96))


def describe_decoder(memo: JsonMemo | None = None) -> dict[str, Any]:
    """Return everything that decides the pixels of a file besides its bytes and its steps, as JSON types.

    Another version of OpenCV, Pillow, libjpeg-turbo or NumPy counts only where it makes other pixels.

    Parameters
    ----------
    memo : JsonMemo, default=None
        Where the answer for the installed versions is looked up.
    """
    import PIL

    versions = {
        "opencv": opencv_version(),
        "pillow": PIL.__version__,
        "simplejpeg": importlib.metadata.version("simplejpeg"),
        "numpy": np.__version__,
    }
    question = {"measured": PROBE_VERSION, "decode": DECODE_VERSION, **versions}
    pixels = None if memo is None else memo.get(question)
    if not isinstance(pixels, str):
        pixels = digest_of_probes()
        if memo is not None:
            memo.put(question, pixels)
    return {"version": DECODE_VERSION, "pixels": pixels, **({"truncated": True} if shows_truncated() else {})}


@functools.cache
def digest_of_probes() -> str:
    """Return the hex digest of the pixels that all ways of decoding, resizing and warping make of small images."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(PROBES.iterdir()):
        data = path.read_bytes()
        try:
            for at_least in (None, (20, 20), (8, 8), (4, 4)):
                add(digest, decode_image(data, at_least=at_least))
        except ImageReadError:  # not every Pillow reads AVIF, nor every OpenCV JPEG 2000
            digest.update(b"not read")
    # Not of float pixels: their last bits depend on the processor.
    image = decode_image((PROBES / "colour.jpg").read_bytes())
    views = Augmentation(brightness=20, contrast=0.2).views(2, (24, 30))
    resized = [ResizeCrop(*size, interpolation) for size in SIZES for interpolation in INTERPOLATIONS]
    for step in (ToGrey(), *resized):
        add(digest, apply_step(step, image))
    for view in range(2):
        add(digest, apply_step(views, image, view))
    return digest.hexdigest()


def add(digest: Any, pixels: np.ndarray) -> None:
    """Add shape and pixels of an image to a digest."""
    digest.update(f"{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
