"""Find and copy stored features: a snapshot of the shards of one store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skcnn.cache._digest_index import DigestIndex
from skcnn.cache._digests import DIGEST_BYTES
from skcnn.cache._shards import Shard, ShardDamagedError

# Rows copied at a time: few enough to stay in the processor's cache between the gather and the scatter.
COPY_BYTES = 1 << 18


class ShardSnapshot:
    """The features in some shards, as one table with a row for each image. It never changes, so locations stay valid.

    Parameters
    ----------
    shards : sequence of Shard
    row_shape : tuple of int
        Shape of the features of one image.
    dtype : dtype
    index : DigestIndex, default=None
        Of the shards' digests, where it is known.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        row_shape: tuple[int, ...],
        dtype: np.dtype,
        *,
        index: DigestIndex | None = None,
    ):
        self.shards = tuple(shards)
        self.row_shape = row_shape
        self.dtype = dtype
        self.starts = np.cumsum([0, *(len(shard.digests) for shard in self.shards)])
        self.index = DigestIndex(digests_of(self.shards)) if index is None else index

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def nbytes(self) -> int:
        """Size of the features in bytes."""
        return sum(shard.nbytes for shard in self.shards)

    def with_more(self, shards: Sequence[Shard], row_shape: tuple[int, ...]) -> ShardSnapshot:
        """Return the table of these shards and some more; the index is extended, not made anew."""
        index = self.index.with_more(digests_of(shards))
        return ShardSnapshot((*self.shards, *shards), row_shape, self.dtype, index=index)

    def find(self, digests: np.ndarray) -> np.ndarray:
        """Return where the row of each digest is, -1 where there is none.

        Parameters
        ----------
        digests : ndarray of shape (n_images, 20), uint8

        Returns
        -------
        ndarray of shape (n_images,), int64
            For `gather` of this same object.
        """
        return self.index.find(digests)

    def unusable(self, locations: np.ndarray) -> dict[Shard, Exception]:
        """Verify the shards that hold these locations and were not verified yet.

        Parameters
        ----------
        locations : ndarray of shape (n_rows,), int64
            From `find`; those below 0 are ignored.

        Returns
        -------
        dict of Shard to ShardDamagedError or OSError
            The shards that are damaged or cannot be read.
        """
        owners = np.searchsorted(self.starts, locations[locations >= 0], side="right") - 1
        errors: dict[Shard, Exception] = {}
        for shard in (self.shards[owner] for owner in np.flatnonzero(np.bincount(owners))):
            try:
                shard.verify()
            except (ShardDamagedError, OSError) as error:
                errors[shard] = error
        return errors

    def gather(
        self,
        locations: np.ndarray,
        out: np.ndarray | None = None,
        targets: np.ndarray | None = None,
        *,
        views: np.ndarray | None = None,
    ) -> np.ndarray:
        """Copy features into an array.

        Parameters
        ----------
        locations : ndarray of shape (n_rows,), int64
            From `find`, all at least 0.
        out : ndarray of shape (n, ...), default=None
            Where to copy to; a new array by default.
        targets : ndarray of shape (n_rows,), int, default=None
            Which rows of `out` to fill; the first `n_rows` by default.
        views : ndarray of shape (n_rows,), int, default=None
            Which part of each row to copy, along its first axis; None copies all of it.

        Returns
        -------
        ndarray
            `out`.

        Raises
        ------
        OSError
            When a shard is gone or cannot be mapped; some rows of `out` are filled then.
        """
        row_shape = self.row_shape if views is None else self.row_shape[1:]
        if out is None:
            out = np.empty((len(locations), *row_shape), self.dtype)
        # In the order of the disk: then most rows of a shard are neighbours, and are copied as one block.
        order = np.argsort(locations, kind="stable")
        bounds = np.searchsorted(locations[order], self.starts)
        for owner in np.flatnonzero(np.diff(bounds)):
            mine = order[bounds[owner] : bounds[owner + 1]]
            rows = locations[mine] - self.starts[owner]
            source = self.shards[owner].features.view(np.ndarray)
            if views is not None:
                # As a table of views, so that no other view is read.
                source = source.reshape(-1, *row_shape)
                rows = rows * self.row_shape[0] + views[mine]
            copy_rows(source, rows, out, mine if targets is None else targets[mine])
        return out


def digests_of(shards: Sequence[Shard]) -> np.ndarray:
    """Return the digests of several shards, one after the other."""
    return np.concatenate([np.zeros((0, DIGEST_BYTES), np.uint8), *(shard.digests for shard in shards)])


def copy_rows(source: np.ndarray, rows: np.ndarray, out: np.ndarray, targets: np.ndarray) -> None:
    """Set ``out[targets] = source[rows]``, reading each row once."""
    if is_run(targets):
        target = out[targets[0] : targets[-1] + 1]
        if is_run(rows):
            target[...] = source[rows[0] : rows[-1] + 1]
        else:
            np.take(source, rows, axis=0, out=target, mode="clip")
        return
    if is_run(rows):
        out[targets] = source[rows[0] : rows[-1] + 1]
        return
    step = max(1, COPY_BYTES // max(1, out.itemsize * int(np.prod(out.shape[1:]))))
    buffer = np.empty((min(step, len(rows)), *out.shape[1:]), out.dtype)
    for start in range(0, len(rows), step):
        piece = buffer[: len(rows) - start]
        np.take(source, rows[start : start + step], axis=0, out=piece, mode="clip")
        out[targets[start : start + step]] = piece


def is_run(numbers: np.ndarray) -> bool:
    """Whether numbers count up one by one."""
    return bool(len(numbers)) and bool((np.diff(numbers) == 1).all())
