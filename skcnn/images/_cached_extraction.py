"""Features of images: read from the cache where they are stored, else computed once and stored."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from skcnn._parallel import available_threads, bounded_map
from skcnn._progress import progress_bar
from skcnn._source_code import UnknownCodeError
from skcnn.cache._digests import DIGEST_BYTES, DigestMemo
from skcnn.cache._feature_cache import FeatureCache
from skcnn.cache._shard_snapshot import ShardSnapshot
from skcnn.cache._store import FeatureStore, do_nothing, fit_dtype
from skcnn.cache._stored_features import StoredFeatures
from skcnn.cache._writer import ShardWriter, warn_unwritable
from skcnn.exceptions import BackboneError, ImageReadError
from skcnn.images._batch_extractor import BatchExtractor
from skcnn.images._sequence import ImageSequence
from skcnn.images._transformer import warn_unknown


class Loaded(NamedTuple):
    """An image after loading: ready to be run, found in the store, or unreadable, with the reason."""

    position: int
    digest: bytes = b""
    prepared: list[np.ndarray] | None = None
    error: str | None = None


class CachedExtraction:
    """Finds or computes the features of the images of one call.

    Parameters
    ----------
    images : ImageSequence
        With the steps they go through before. Where these make several views of an image, the features of all of them
        are one array: (n_views, ...). Where the items are views, the features of all views of their images are found
        or computed, and those of the items taken from them.
    extractor : BatchExtractor
        Not used as long as the features of every image are stored.
    store : FeatureStore or None
        None computes everything and keeps nothing.
    memo : DigestMemo or None
        Spares reading files to learn digests that are known.
    dtype : dtype
        Of the features.
    batch_size : int
        Images, or views of images, in one `run` of the extractor.
    verbose : int or None
        As of `progress_bar`.
    in_memory : bool, default=False
        Whether to read all features into memory at once.

    Attributes
    ----------
    failures : dict of int to str
        Position in `images` of each unreadable image, and what is wrong with it.
    not_finite : dict of int to str
        The same of each image that could be read, but whose features are NaN or infinite.
    """

    def __init__(
        self,
        images: ImageSequence,
        extractor: BatchExtractor,
        *,
        store: FeatureStore | None,
        memo: DigestMemo | None,
        dtype: np.dtype,
        batch_size: int,
        verbose: int | None,
        in_memory: bool = False,
    ):
        self._picks = images.picks
        self.images = images = images.with_views_together()
        self.extractor = extractor
        self.store = store
        self._use = None if store is None else store.usage.begin()
        self.memo = memo
        self.dtype = dtype
        self.batch_size = batch_size
        self.verbose = verbose
        self.in_memory = in_memory
        self.failures: dict[int, str] = {}
        self.not_finite: dict[int, str] = {}
        # The fewest images whose views fill whole batches: a runner is slower on the rest of one.
        self._images_per_batch = batch_size // math.gcd(batch_size, images.n_views)
        self._digests = np.zeros((len(images), DIGEST_BYTES), np.uint8)
        self._writer: ShardWriter | None = None
        self._lookup = store
        self._writable = store is not None
        # Features that are not on disk, in the order of the images. Pages that are never written take no memory.
        self._held: np.ndarray | None = None
        self._is_held = np.zeros(len(images), bool)
        self._first: dict[bytes, int] = {}
        self._copies: list[tuple[int, int]] = []
        self._seen_finite = False
        self._hits = self._misses = 0
        # To be called after each piece of work, once the writer lock is held.
        self._beat: Callable[[], None] = do_nothing

    @classmethod
    def open(
        cls,
        images: ImageSequence,
        extractor: BatchExtractor,
        cache: FeatureCache | None,
        *,
        dtype: str,
        **settings: Any,
    ) -> CachedExtraction:
        """Return the extraction with the store and the memo of a cache.

        Nothing is stored without a cache, nor, with a warning, where the code of a step or layer is unknown.
        """
        store = None
        if cache is not None:
            try:
                description = {**extractor.describe(), **images.describe(cache.memo("decoders"))}
                store = cache.store(description, dtype, extractor.label(description, images.n_views))
            except UnknownCodeError as error:
                warn_unknown(error)
        memo = None if cache is None or store is None else cache.digests
        return cls(images, extractor, store=store, memo=memo, dtype=np.dtype(dtype), **settings)

    def run(self) -> StoredFeatures:
        """Return the features of all images; those that are not stored yet are computed.

        Raises
        ------
        BackboneError
            When no features of the first batch are finite.
        """
        stored, locations = self._find_known()
        pending = np.flatnonzero(locations < 0)
        if len(pending):
            self._stream(pending)
            stored, locations = self._find_all()
            lost = np.flatnonzero((locations < 0) & ~self._is_held & ~self._has_failed())
            if len(lost):  # the cache was cleared since they were found or written: now they stay in memory
                self._first.clear()
                self._lookup, self._writable = None, False
                self._stream(lost)
        features = self._join(stored, locations)
        if self._picks is not None:
            features = features.pick_views(*self._picks)
        return features.in_memory() if self.in_memory else features

    def still_to_do(self) -> tuple[int, int]:
        """Return how many images are to be computed, all views counted, and how many bytes are stored of them.

        Both are upper bounds: an image of which nothing is known may turn out to be a copy of another.
        """
        known = np.zeros(len(self.images), bool)
        if self.store is not None:
            self.store.refresh()
            recalled = self.images.sources.recall(self.memo)
            known[recalled.known] = self.store.find(recalled.digests[recalled.known])[1] >= 0
        missing = int(np.count_nonzero(~known))
        if not missing:
            return 0, 0
        image_bytes = self.dtype.itemsize * math.prod(self._stored_shape())
        return missing * self.images.n_views, missing * image_bytes * (self.store is not None)

    def output_shape(self) -> tuple[int, ...]:
        """Return the shape of the features of one item; the extractor is loaded only where nothing is stored."""
        shape = self._stored_shape()
        return shape if self._picks is None else shape[1:]

    def _find_known(self) -> tuple[ShardSnapshot | None, np.ndarray]:
        """Find the features of images whose digests are known without reading them."""
        locations = np.full(len(self.images), -1, np.int64)
        if self.store is None:
            return None, locations
        self.store.refresh()
        recalled = self.images.sources.recall(self.memo)
        stored, locations[recalled.known] = self.store.find(recalled.digests[recalled.known])
        hits = np.flatnonzero(locations >= 0)
        with contextlib.ExitStack() as stack:
            copying = None
            if len(hits) and self.in_memory and self._picks is None:
                # Checking the files takes as long as copying features. Those of changed files are overwritten later.
                self._held = np.empty((len(self.images), *stored.row_shape), self.dtype)
                executor = stack.enter_context(ThreadPoolExecutor(1))
                copying = executor.submit(stored.gather, locations[hits], self._held, hits)
            # Neighbours in the store were read one after the other, and the file system finds neighbours faster.
            asked = hits[np.argsort(locations[hits], kind="stable")]
            locations[asked[~recalled.unchanged(asked)]] = -1
            hits = np.flatnonzero(locations >= 0)
            if copying is not None:
                try:
                    copying.result()
                except OSError:  # a shard was removed after it was found; the others are found again one by one
                    return stored, np.full(len(self.images), -1, np.int64)
                self._is_held[hits] = True
        self._digests[hits] = recalled.digests[hits]
        self._count(hits=len(hits))
        return stored, locations

    def _find_all(self) -> tuple[ShardSnapshot | None, np.ndarray]:
        """Find the features of all images, whose digests are known by now."""
        locations = np.full(len(self.images), -1, np.int64)
        if self.store is None:
            return None, locations
        self.store.refresh()
        readable = ~self._has_failed()
        stored, locations[readable] = self.store.find(self._digests[readable])
        return stored, locations

    def _stream(self, pending: np.ndarray) -> None:
        """Load the pending images in threads, a few batches ahead of the extractor."""
        threads = available_threads()
        batch: list[Loaded] = []
        with contextlib.ExitStack() as stack:
            views = f", {self.images.n_views} views of each" if self.images.n_views > 1 else ""
            description = f"{self.extractor.activity}{views}"
            bar = stack.enter_context(progress_bar(len(pending), description=description, verbose=self.verbose))
            if self.memo is not None:
                stack.callback(self.memo.save)
            window = 2 * self._images_per_batch + threads
            loading = bounded_map(self._load, pending, n_threads=threads, window=window)
            stack.enter_context(contextlib.closing(loading))
            for loaded in loading:
                self._beat()
                if self._needs_computing(loaded, stack):
                    batch.append(loaded)
                if len(batch) == self._images_per_batch:
                    self._compute(batch)
                    batch = []
                    bar.set_postfix_str(self._counts(), refresh=False)
                bar.update()
            if batch:
                self._compute(batch)
            bar.set_postfix_str(self._counts(), refresh=False)
        self._resolve_copies()

    def _load(self, index: int) -> Loaded:
        """Read one image, once; decode it only where its features are not stored."""
        index = int(index)
        try:
            content = self.images.read(index, self.memo)
            if self._is_stored(content.digest):
                return Loaded(index, content.digest)
            name = f"image [{index}] {self.images.name(index)}"
            pixels = self.images.decode(content)
            # A sum is NaN or infinite when any pixel is, and costs no array of booleans.
            if pixels.dtype != np.uint8 and not np.isfinite(pixels.sum(dtype=np.float64)):
                return Loaded(index, error="the steps made NaN or infinite pixels of it")
            views = pixels if self.images.n_views > 1 else [pixels]
            return Loaded(index, content.digest, [self.extractor.prepare(view, name) for view in views])
        except ImageReadError as error:
            return Loaded(index, error=str(error))

    def _needs_computing(self, loaded: Loaded, stack: contextlib.ExitStack) -> bool:
        """Whether an image has to be computed; the first that has to takes the writer lock."""
        if loaded.error is not None:
            self.failures[loaded.position] = loaded.error
            return False
        self._digests[loaded.position] = np.frombuffer(loaded.digest, np.uint8)
        if loaded.digest in self._first:
            self._copies.append((loaded.position, self._first[loaded.digest]))
            self._count(hits=1)
            return False
        self._first[loaded.digest] = loaded.position
        if loaded.prepared is not None:
            if self._writable and self._writer is None:
                # Only at the first miss, so that a call of hits alone never waits for another process.
                self._begin_writing(stack)
            if not self._is_stored(loaded.digest):
                return True
        self._count(hits=1)
        return False

    def _begin_writing(self, stack: contextlib.ExitStack) -> None:
        """Take the writer lock, and find the features that others added before."""
        assert self.store is not None
        try:
            self._beat = stack.enter_context(self.store.writing())
        except OSError as error:
            warn_unwritable(self.store, error)
            self._writable = False
            return
        self._writer = ShardWriter(self.store, self._hold)
        # Runs before the lock is released, also after an exception.
        stack.callback(self._end_writing)

    def _end_writing(self) -> None:
        """Write the remaining features, while the lock is still held."""
        assert self._writer is not None
        self._writer.flush()
        self._writer = None

    def _compute(self, batch: list[Loaded]) -> None:
        """Compute a batch, and store its features or hold them in memory."""
        prepared = [view for loaded in batch for view in loaded.prepared or ()]
        parts = []
        for start in range(0, len(prepared), self.batch_size):
            parts.append(self.extractor.run(prepared[start : start + self.batch_size]))
            self._beat()
        features = np.concatenate(parts) if len(parts) > 1 else parts[0]
        if self.images.n_views > 1:
            features = features.reshape(len(batch), self.images.n_views, *features.shape[1:])
        finite = np.isfinite(features).all(axis=tuple(range(1, features.ndim)))
        self._check_finite(batch, finite)
        features = fit_dtype(features[finite], self.dtype)
        digests = [loaded.digest for loaded, is_finite in zip(batch, finite, strict=True) if is_finite]
        self._count(misses=len(batch))
        if self._writer is not None:
            self._writer.add(digests, features)
        else:
            self._hold(digests, features)

    def _hold(self, digests: Sequence[bytes], features: np.ndarray) -> None:
        """Keep features in memory, where they cannot be stored."""
        if self._held is None:
            self._held = np.empty((len(self.images), *features.shape[1:]), self.dtype)
        indices = [self._first[digest] for digest in digests]
        self._held[indices] = features
        self._is_held[indices] = True

    def _check_finite(self, batch: list[Loaded], finite: np.ndarray) -> None:
        """Note the images whose features are NaN or infinite; give up where no others were finite so far."""
        self._seen_finite |= bool(finite.any())
        if not self._seen_finite:
            msg = (
                f"{self.extractor.name} gives NaN or infinite activations for all {len(batch)} images of the first "
                "batch, so its weights are damaged or its training diverged; nothing of it is stored"
            )
            raise BackboneError(msg)
        for loaded, is_finite in zip(batch, finite, strict=True):
            if not is_finite:
                self.not_finite[loaded.position] = f"{self.extractor.name} gives NaN or infinite activations for it"

    def _has_failed(self) -> np.ndarray:
        """Return a mask (n_images,) of the images that have no features."""
        failed = np.zeros(len(self.images), bool)
        failed[[*self.failures, *self.not_finite]] = True
        return failed

    def _resolve_copies(self) -> None:
        """Give images that are copies of others in this call the features of these, unless they are on disk."""
        for target, source in self._copies:
            if source in self.not_finite:
                self.not_finite[target] = self.not_finite[source]
            elif self._is_held[source]:
                assert self._held is not None
                self._held[target] = self._held[source]
                self._is_held[target] = True
        self._copies.clear()

    def _join(self, stored: ShardSnapshot | None, locations: np.ndarray) -> StoredFeatures:
        """Join the features on disk, those in memory, and blank ones for images that have none."""
        failures = {**self.failures, **self.not_finite}
        blank = np.full((1, *self._stored_shape()), 0 if self.dtype.kind == "u" else np.nan, self.dtype)
        on_disk = (locations >= 0) & ~self._is_held
        if self.in_memory and self._held is not None and on_disk.any():
            rest = StoredFeatures(locations[on_disk], stored, blank, failures={}, store=self.store)
            self._held[on_disk] = rest[:]
            on_disk[:] = False
        if not on_disk.any():
            held = np.repeat(blank, len(self.images), axis=0) if self._held is None else self._held
            held[[*failures]] = blank
            return StoredFeatures(-1 - np.arange(len(held)), None, held, failures=failures, store=self.store)
        held_at = np.flatnonzero(self._is_held)
        locations[~on_disk] = -1 - len(held_at)
        locations[held_at] = -1 - np.arange(len(held_at))
        held = blank if self._held is None else np.concatenate([self._held[held_at], blank])
        return StoredFeatures(locations, stored, held, failures=failures, store=self.store)

    def _stored_shape(self) -> tuple[int, ...]:
        if self.store is not None and self.store.row_shape is not None:
            return self.store.row_shape
        if self._held is not None:
            return self._held.shape[1:]
        shape = self.extractor.output_shape()
        return (self.images.n_views, *shape) if self.images.n_views > 1 else shape

    def _is_stored(self, digest: bytes) -> bool:
        """Whether the features of an image are in the store."""
        if self._lookup is None:
            return False
        _, locations = self._lookup.find(np.frombuffer(digest, np.uint8)[np.newaxis])
        return bool(locations[0] >= 0)

    def _counts(self) -> str:
        """Return in words where the features came from so far."""
        counts = {"read from the cache": self._hits, "computed": self._misses, "unreadable": len(self.failures)}
        return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)

    def _count(self, *, hits: int = 0, misses: int = 0) -> None:
        self._hits += hits
        self._misses += misses
        if self.store is not None:
            self.store.count(hits, misses)
