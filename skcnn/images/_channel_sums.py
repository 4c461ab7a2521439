"""Mean and standard deviation of each channel, from sums that are kept for each image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from skcnn.cache._feature_cache import FeatureCache
from skcnn.images._batch_extractor import BatchExtractor
from skcnn.images._cached_extraction import CachedExtraction
from skcnn.images._failures import unreadable_error
from skcnn.images._sequence import ImageSequence

# Raise it when the same pixels would give other sums.
VERSION = 1
BATCH = 256


class ChannelSums(BatchExtractor):
    """Of each image: its channels, its pixels, and of each of three channels the sum and the sum of squares."""

    name = "MeanSubtract"
    activity = "averaging channels"

    def describe(self) -> dict[str, Any]:
        return {"channel sums": VERSION}

    def prepare(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """Return the sums of one image, of shape (8,), float64."""
        import cv2

        height, width, channels = pixels.shape
        mean, std = (figure.ravel() for figure in cv2.meanStdDev(pixels))
        sums = np.zeros(8)
        sums[:2] = channels, height * width
        sums[2 : 2 + channels] = mean * sums[1]
        sums[5 : 5 + channels] = (std**2 + mean**2) * sums[1]
        # Sums of whole numbers are whole; then they do not depend on how they were computed.
        return np.rint(sums) if pixels.dtype == np.uint8 else sums

    def run(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack(prepared)

    def output_shape(self) -> tuple[int, ...]:
        return (8,)


def channel_statistics(
    images: ImageSequence, cache: FeatureCache | None, verbose: int | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel over all pixels of all images.

    Equal sets of images give equal results, to the last bit and in any order.

    Parameters
    ----------
    images : ImageSequence
    cache : FeatureCache or None
        Where the sums of each image are kept.
    verbose : int, default=None
        0 shows no progress.

    Raises
    ------
    ImageReadError
        Naming every image that cannot be read, where they ask for that.
    ValueError
        When some images have one channel and others three.
    """
    extraction = CachedExtraction.open(images, ChannelSums(), cache, dtype="float64", batch_size=BATCH, verbose=verbose)
    # Of each image, or of each of its views.
    sums = extraction.run()[:].reshape(-1, 8)
    if extraction.failures and (images.on_error == "raise" or len(extraction.failures) == len(images)):
        raise unreadable_error(images, extraction.failures)
    read = np.flatnonzero(np.isfinite(sums[:, 0]))
    channels = sums[read, 0].astype(int)
    if len(set(channels)) > 1:
        odd = read[channels != channels[0]][0]
        position = odd * len(images) // len(sums)
        msg = f"image [{position}] has {int(sums[odd, 0])} channels, those before it {channels[0]}; give all the same"
        raise ValueError(msg)
    totals = [math.fsum(column) for column in sums[read, 1:].T]
    mean = np.array(totals[1 : 1 + channels[0]]) / totals[0]
    std = np.sqrt(np.maximum(np.array(totals[4 : 4 + channels[0]]) / totals[0] - mean**2, 0))
    return tuple(mean.tolist()), tuple(std.tolist())
