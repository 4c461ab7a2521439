"""Mean and standard deviation of each channel, from sums that are kept for each image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from skcnn.cache._feature_cache import FeatureCache
from skcnn.images._cached_rows import CachedRows
from skcnn.images._failures import unreadable_error
from skcnn.images._row_maker import RowMaker
from skcnn.images._sequence import ImageSequence

# Raise it when the same pixels would give other sums.
VERSION = 1
BATCH = 256


class ChannelSums(RowMaker):
    """One row of an image: its channels, its pixels, and of each of three channels the sum and the sum of squares."""

    name = "MeanSubtract"
    activity = "averaging channels"

    def describe(self) -> dict[str, Any]:
        return {"channel sums": VERSION}

    def prepare(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """Return the row of one image, of shape (8,), float64."""
        import cv2

        height, width, channels = pixels.shape
        mean, std = (figure.ravel() for figure in cv2.meanStdDev(pixels))
        row = np.zeros(8)
        row[:2] = channels, height * width
        row[2 : 2 + channels] = mean * row[1]
        row[5 : 5 + channels] = (std**2 + mean**2) * row[1]
        # Sums of whole numbers are whole; then they do not depend on how they were computed.
        return np.rint(row) if pixels.dtype == np.uint8 else row

    def run(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack(prepared)

    def row_shape(self) -> tuple[int, ...]:
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
    sums = CachedRows.open(images, ChannelSums(), cache, dtype="float64", batch_size=BATCH, verbose=verbose)
    # One row for each image, or for each of its views.
    rows = sums.run()[:].reshape(-1, 8)
    if sums.failures and (images.on_error == "raise" or len(sums.failures) == len(images)):
        raise unreadable_error(images, sums.failures)
    read = np.flatnonzero(np.isfinite(rows[:, 0]))
    channels = rows[read, 0].astype(int)
    if len(set(channels)) > 1:
        odd = read[channels != channels[0]][0]
        position = odd * len(images) // len(rows)
        msg = f"image [{position}] has {int(rows[odd, 0])} channels, those before it {channels[0]}; give all the same"
        raise ValueError(msg)
    totals = [math.fsum(column) for column in rows[read, 1:].T]
    mean = np.array(totals[1 : 1 + channels[0]]) / totals[0]
    std = np.sqrt(np.maximum(np.array(totals[4 : 4 + channels[0]]) / totals[0] - mean**2, 0))
    return tuple(mean.tolist()), tuple(std.tolist())
