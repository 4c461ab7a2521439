"""`stream`: features of images, batch by batch, without storing them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skcnn.exceptions import ImageReadError
from skcnn.features._trunk_extractor import TrunkExtractor
from skcnn.images._failures import unreadable_error
from skcnn.images._sequence import ImageSequence


def stream(images: ImageSequence, extractor: TrunkExtractor, batch_size: int) -> Iterator[np.ndarray]:
    """Take images through a trunk, in their order; the next ones are decoded meanwhile.

    Parameters
    ----------
    images : ImageSequence
        Of the size and the channels that the trunk takes (`fit_trunk`).
    extractor : TrunkExtractor
    batch_size : int
        Images in one pass; the last batch may be smaller.

    Yields
    ------
    ndarray of shape (n_images, ...), float32 or uint8

    Raises
    ------
    ImageReadError
        Naming the unreadable images of a batch.
    """
    batch: list[np.ndarray] = []
    failures: dict[int, str] = {}
    for index, image in enumerate(images.stream(ahead=2 * batch_size)):
        try:
            if isinstance(image, ImageReadError):
                raise image
            batch.append(extractor.prepare(image, images.name(index)))
        except ImageReadError as error:
            failures[index] = str(error)
        if len(batch) + len(failures) == batch_size or index == len(images) - 1:
            if failures:
                raise unreadable_error(images, failures)
            yield extractor.run(batch)
            batch = []
