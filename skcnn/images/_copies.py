"""Which images are the same: files of equal bytes, and views of one image."""

from __future__ import annotations

import numpy as np

from skcnn._parallel import available_threads, bounded_map
from skcnn.cache._digests import DigestMemo
from skcnn.exceptions import ImageReadError
from skcnn.images._sequence import ImageSequence


def source_digests(images: ImageSequence, memo: DigestMemo | None, *, on_error: str = "raise") -> list[bytes]:
    """Return a digest of the bytes of each source of a sequence; files that have not changed are not read again.

    Parameters
    ----------
    images : ImageSequence
    memo : DigestMemo or None
    on_error : {"raise", "number"}, default="raise"
        What is returned for a source that cannot be read: nothing, or its number, which no other one has.

    Raises
    ------
    ImageReadError
        When one cannot be read and ``on_error="raise"``.
    """
    sources = images.sources
    known = sources.recall(memo)
    fresh = known.unchanged(np.arange(len(sources)))

    def digest(index: int) -> bytes:
        try:
            return known.digests[index].tobytes() if fresh[index] else sources.read(index, memo).digest
        except ImageReadError:
            if on_error == "raise":
                raise
            return str(index).encode()

    threads = available_threads()
    return list(bounded_map(digest, range(len(sources)), n_threads=threads, window=4 * threads))


def copy_groups(images: ImageSequence, memo: DigestMemo | None) -> np.ndarray:
    """Return a number for each image; files of equal bytes, and the views of one image, have the same.

    What cannot be read is no copy of anything.

    Returns
    -------
    ndarray of shape (n_images,), int
    """
    digests = source_digests(images, memo, on_error="number")
    _, groups = np.unique(np.array(digests, object), return_inverse=True)
    return groups if images.picks is None else groups[images.picks.positions]
