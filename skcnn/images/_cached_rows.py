"""Rows of numbers made of images: read from the cache where they are stored, else computed once and stored."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from skcnn._parallel import available_threads, bounded_map
from skcnn._progress import progress_bar
from skcnn.cache._digests import DigestMemo
from skcnn.cache._store import FeatureStore, fit_dtype
from skcnn.cache._writer import ShardWriter, warn_unwritable
from skcnn.exceptions import BackboneError, ImageReadError
from skcnn.images._sequence import ImageSequence

__all__ = ["CachedRows", "RowMaker"]


class RowMaker(ABC):
    """Makes one row of numbers of each image."""

    # What to call it in messages, and what its progress bar says.
    name: str
    activity = "extracting"

    @abstractmethod
    def prepare(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """Return what `run` takes of one image; called in threads.

        Parameters
        ----------
        pixels : ndarray of shape (height, width, 1 | 3), uint8 or float, finite
        name : str
            What to call the image in messages.

        Raises
        ------
        ImageReadError
            When this image is at fault.
        """

    @abstractmethod
    def run(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        """Return the rows of a batch, an array of shape (n_images, ...); called by one thread at a time."""

    @abstractmethod
    def row_shape(self) -> tuple[int, ...]:
        """Return the shape of one row."""


class Loaded(NamedTuple):
    """An image on its way: ready to be run, or its row where that is stored already, or why it cannot be read."""

    row: int
    digest: bytes = b""
    prepared: np.ndarray | None = None
    stored: np.ndarray | None = None
    error: str | None = None


class CachedRows:
    """The way of one call's images to their rows.

    Parameters
    ----------
    images : ImageSequence
        With the steps they go through before rows are made of them.
    maker : RowMaker
        Asked for nothing as long as every row is stored.
    store : FeatureStore or None
        None computes everything and keeps nothing.
    memo : DigestMemo or None
        Spares reading files to learn digests that are known.
    dtype : dtype
        Of the rows.
    batch_size : int
        Images in one `run` of the maker.
    verbose : int
        0 shows no progress.

    Attributes
    ----------
    failures : dict of int to str
        Position of each unreadable image, and what is wrong with it.
    not_finite : dict of int to str
        The same of each image that could be read, but whose row holds NaN or infinity.
    """

    def __init__(
        self,
        images: ImageSequence,
        maker: RowMaker,
        *,
        store: FeatureStore | None,
        memo: DigestMemo | None,
        dtype: np.dtype,
        batch_size: int,
        verbose: int,
    ):
        self.images = images
        self.maker = maker
        self.store = store
        self.memo = memo
        self.dtype = dtype
        self.batch_size = batch_size
        self.verbose = verbose
        self.failures: dict[int, str] = {}
        self.not_finite: dict[int, str] = {}
        self._writer: ShardWriter | None = None
        self._out: np.ndarray | None = None
        self._first: dict[bytes, int] = {}
        self._copies: list[tuple[int, int]] = []
        self._seen_finite = False
        self._hits = self._misses = 0
        self._lookup = store  # also when it turns out that it cannot be written
        if store is not None:
            store.refresh()

    def run(self) -> np.ndarray:
        """Return the rows of all images.

        Returns
        -------
        ndarray of shape (n_images, ...)
            Rows of the images in `failures` and `not_finite` are NaN.

        Raises
        ------
        BackboneError
            When the first batch holds no finite row.
        """
        pending = self._copy_hits()
        if len(pending):
            self._stream(pending)
        return self._complete()

    def _copy_hits(self) -> np.ndarray:
        """Copy the rows of images whose digests are recalled and stored; return the positions of all others."""
        if self.store is None:
            return np.arange(len(self.images))
        recalled = self.images.recall(self.memo)
        locations = np.full(len(self.images), -1, np.int64)
        stored, locations[recalled.known] = self.store.find(recalled.digests[recalled.known])
        hits = np.flatnonzero(locations >= 0)
        if not len(hits):
            return np.arange(len(self.images))
        # Asking the file system what changed takes as long as copying; a row copied in vain is overwritten later.
        with ThreadPoolExecutor(1) as executor:
            out = self._rows_of(stored.row_shape)
            copying = executor.submit(stored.gather, locations[hits], out, hits)
            # Neighbours in the store were read one after the other, and the file system finds neighbours faster.
            asked = hits[np.argsort(locations[hits], kind="stable")]
            locations[asked[~recalled.unchanged(asked)]] = -1
            try:
                copying.result()
            except OSError:  # a shard was removed after it was found; the others are found again one by one
                return np.arange(len(self.images))
        self._count(hits=int((locations >= 0).sum()))
        return np.flatnonzero(locations < 0)

    def _stream(self, pending: np.ndarray) -> None:
        """Load the pending images in threads, a few batches ahead of the maker."""
        threads = available_threads()
        batch: list[Loaded] = []
        with contextlib.ExitStack() as stack:
            bar = stack.enter_context(progress_bar(len(pending), description=self.maker.activity, verbose=self.verbose))
            if self.memo is not None:
                stack.callback(self.memo.save)
            loading = bounded_map(self._load, pending, n_threads=threads, window=2 * self.batch_size + threads)
            stack.enter_context(contextlib.closing(loading))
            for loaded in loading:
                if self._needs_computing(loaded, stack):
                    batch.append(loaded)
                if len(batch) == self.batch_size:
                    self._compute(batch)
                    batch = []
                    bar.set_postfix_str(f"{self._hits} hits, {self._misses} misses", refresh=False)
                bar.update()
            if batch:
                self._compute(batch)

    def _load(self, index: int) -> Loaded:
        """Read one image, once; decode it only where its row is not stored."""
        index = int(index)
        try:
            content = self.images.read(index, self.memo)
            stored = self._find(content.digest)
            if stored is not None:
                return Loaded(index, content.digest, stored=stored)
            pixels = self.images.decode(content)
            # A sum is NaN or infinite when any pixel is, and costs no array of booleans.
            if pixels.dtype != np.uint8 and not np.isfinite(pixels.sum(dtype=np.float64)):
                return Loaded(index, error="the steps made NaN or infinite pixels of it")
            name = f"image [{index}] {self.images.sources.name(index)}"
            return Loaded(index, content.digest, self.maker.prepare(pixels, name))
        except ImageReadError as error:
            return Loaded(index, error=str(error))

    def _needs_computing(self, loaded: Loaded, stack: contextlib.ExitStack) -> bool:
        """Whether the row of an image has to be computed; where not, see to it."""
        if loaded.error is not None:
            self.failures[loaded.row] = loaded.error
            return False
        if loaded.digest in self._first:
            self._copies.append((loaded.row, self._first[loaded.digest]))
            self._count(hits=1)
            return False
        self._first[loaded.digest] = loaded.row
        if loaded.prepared is not None and self.store is not None and self._writer is None:
            # Only now, at the first miss: a call of nothing but hits never waits for another process.
            self._begin_writing(stack)
        # What was found stays found, even where the shard has been cleared away since.
        stored = self._find(loaded.digest) if loaded.stored is None else loaded.stored
        if stored is None:
            return True
        self._rows_of(stored.shape)[loaded.row] = stored
        self._count(hits=1)
        return False

    def _begin_writing(self, stack: contextlib.ExitStack) -> None:
        """Become the one process that adds rows, and see what others added before."""
        assert self.store is not None
        try:
            stack.enter_context(self.store.writing())
        except OSError as error:
            warn_unwritable(self.store, error)
            self.store = None
            return
        self._writer = ShardWriter(self.store)
        # Unwound before the right to write is given back, whatever ends this call.
        stack.callback(self._writer.flush)

    def _compute(self, batch: list[Loaded]) -> None:
        """Make the rows of a batch."""
        made = self.maker.run([loaded.prepared for loaded in batch if loaded.prepared is not None])
        finite = np.isfinite(made).all(axis=tuple(range(1, made.ndim)))
        self._check_finite(batch, finite)
        rows = fit_dtype(made[finite], self.dtype)
        computed = [loaded for loaded, is_finite in zip(batch, finite, strict=True) if is_finite]
        self._rows_of(rows.shape[1:])[[loaded.row for loaded in computed]] = rows
        self._count(misses=len(batch))
        if self._writer is not None:
            self._writer.add([loaded.digest for loaded in computed], rows)

    def _check_finite(self, batch: list[Loaded], finite: np.ndarray) -> None:
        """Note the images whose rows are NaN or infinite; give up where there was no other row so far."""
        self._seen_finite |= bool(finite.any())
        if not self._seen_finite:
            msg = (
                f"{self.maker.name} gives NaN or infinite activations for all {len(batch)} images of the first batch, "
                "so its weights are damaged or its training diverged; nothing of it is stored"
            )
            raise BackboneError(msg)
        for loaded, is_finite in zip(batch, finite, strict=True):
            if not is_finite:
                self.not_finite[loaded.row] = f"{self.maker.name} gives NaN or infinite activations for it"

    def _complete(self) -> np.ndarray:
        """Fill the rows that are copies of others or have no image."""
        if self._out is None:  # nothing could be read
            return np.full((len(self.images), *self.row_shape()), np.nan, self.dtype)
        for target, source in self._copies:
            self._out[target] = self._out[source]
            if source in self.not_finite:
                self.not_finite[target] = self.not_finite[source]
        self._out[[*self.failures, *self.not_finite]] = np.nan
        return self._out

    def row_shape(self) -> tuple[int, ...]:
        """Return the shape of one row; the maker is asked only when no row of it was ever stored."""
        if self.store is not None and self.store.row_shape is not None:
            return self.store.row_shape
        return self.maker.row_shape()

    def _rows_of(self, row_shape: tuple[int, ...]) -> np.ndarray:
        if self._out is None:
            self._out = np.empty((len(self.images), *row_shape), self.dtype)
        return self._out

    def _find(self, digest: bytes) -> np.ndarray | None:
        """Return the stored row of an image, None where there is none."""
        if self._lookup is None:
            return None
        stored, locations = self._lookup.find(np.frombuffer(digest, np.uint8)[np.newaxis])
        try:
            return None if locations[0] < 0 else stored.row(locations[0])
        except OSError:  # removed after it was found
            return None

    def _count(self, *, hits: int = 0, misses: int = 0) -> None:
        self._hits += hits
        self._misses += misses
        if self._lookup is not None:
            self._lookup.count(hits, misses)
