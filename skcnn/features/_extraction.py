"""Extraction: hits come from the store; misses go through the network, once, and into the store."""

from __future__ import annotations

import contextlib
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from skcnn._parallel import available_threads, bounded_map
from skcnn._progress import progress_bar
from skcnn.backbones import Network, Runner
from skcnn.cache._digests import DigestMemo
from skcnn.cache._store import FeatureStore, fit_dtype
from skcnn.cache._writer import ShardWriter, warn_unwritable
from skcnn.exceptions import BackboneError, ImageReadError, PreprocessingError
from skcnn.images import ImageSequence, ToGrey

__all__ = ["Extraction"]


class Loaded(NamedTuple):
    """An image on its way: its pixels, or its features where they are stored already, or why it cannot be read."""

    row: int
    digest: bytes = b""
    pixels: np.ndarray | None = None
    stored: np.ndarray | None = None
    error: str | None = None


class Extraction:
    """The way of one call's images to their activations.

    Parameters
    ----------
    images : ImageSequence
        With the steps that bring them to the network's input size.
    network : Network
        Loaded only when some image is not in the store.
    store : FeatureStore or None
        None computes everything and keeps nothing.
    memo : DigestMemo or None
        Spares reading files to learn digests that are known.
    dtype : dtype
        Of the rows, float32 or float16.
    batch_size : int
        Images in one pass through the network.
    engine : str
        Which runner to load.
    verbose : int
        0 shows no progress.

    Attributes
    ----------
    failures : dict of int to str
        Position of each unreadable image, and what is wrong with it.
    not_finite : dict of int to str
        The same of each image that could be read, but whose activations are NaN or infinite.
    """

    def __init__(
        self,
        images: ImageSequence,
        network: Network,
        *,
        store: FeatureStore | None,
        memo: DigestMemo | None,
        dtype: np.dtype,
        batch_size: int,
        engine: str,
        verbose: int,
    ):
        self.images = images
        self.network = network
        self.store = store
        self.memo = memo
        self.dtype = dtype
        self.batch_size = batch_size
        self.engine = engine
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
        """Return the activations of all images.

        Returns
        -------
        ndarray of shape (n_images, ...)
            Rows of the images in `failures` and `not_finite` are NaN.

        Raises
        ------
        PreprocessingError
            When the network normalises pixels in [0, 255], and these were centred or scaled before.
        BackboneError
            When the network gives NaN or infinite activations for every image.
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
            locations[asked[~recalled.holds(asked)]] = -1
            try:
                copying.result()
            except OSError:  # a shard was removed after it was found; the others are found again one by one
                return np.arange(len(self.images))
        self._count(hits=int((locations >= 0).sum()))
        return np.flatnonzero(locations < 0)

    def _stream(self, pending: np.ndarray) -> None:
        """Load the pending images in threads, a few batches ahead of the network."""
        threads = available_threads()
        batch: list[Loaded] = []
        with contextlib.ExitStack() as stack:
            bar = stack.enter_context(progress_bar(len(pending), description="extracting", verbose=self.verbose))
            if self.memo is not None:
                stack.callback(self.memo.save)
            loading = bounded_map(self._load, pending, n_threads=threads, window=2 * self.batch_size + threads)
            stack.enter_context(contextlib.closing(loading))
            for loaded in loading:
                if self._is_miss(loaded, stack):
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
            return Loaded(index, content.digest, self._check_pixels(index, self.images.decode(content)))
        except ImageReadError as error:
            return Loaded(index, error=str(error))

    def _check_pixels(self, index: int, pixels: np.ndarray) -> np.ndarray:
        """Give an image the network's channels; refuse NaN, and pixels outside [0, 255] where it normalises them."""
        if pixels.dtype != np.uint8:
            pixels = pixels.astype(np.float32, copy=False)
            if not np.isfinite(pixels.sum(dtype=np.float64)):
                raise ImageReadError("the steps made NaN or infinite pixels of it")
            low, high = float(pixels.min()), float(pixels.max())
            # Steps that interpolate may exceed 255 by a rounding error.
            if self.network.normalises and (low < 0 or high > 256):
                found = f"pixel values from {low:.4g} to {high:.4g}"
                raise normalised_before(self.network, f"{found} in image [{index}] {self.images.sources.name(index)}")
        channels = self.network.input_shape[2]
        if channels == 1:
            return ToGrey()(pixels)  # a step of the user's own may have given it colours again
        return np.repeat(pixels, channels, axis=2) if pixels.shape[2] == 1 else pixels

    def _is_miss(self, loaded: Loaded, stack: contextlib.ExitStack) -> bool:
        """Whether an image has to go through the network; where not, see to its row."""
        if loaded.error is not None:
            self.failures[loaded.row] = loaded.error
            return False
        if loaded.digest in self._first:
            self._copies.append((loaded.row, self._first[loaded.digest]))
            self._count(hits=1)
            return False
        self._first[loaded.digest] = loaded.row
        if loaded.pixels is not None and self.store is not None and self._writer is None:
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
        """Take a batch through the network."""
        pixels = np.stack([loaded.pixels for loaded in batch if loaded.pixels is not None])
        if not self._misses:
            self._check_scale(pixels)
        features = self._runner.run(pixels)
        finite = np.isfinite(features).all(axis=tuple(range(1, features.ndim)))
        self._check_finite(batch, finite)
        features = fit_dtype(features[finite], self.dtype)
        computed = [loaded for loaded, is_finite in zip(batch, finite, strict=True) if is_finite]
        self._rows_of(features.shape[1:])[[loaded.row for loaded in computed]] = features
        self._count(misses=len(batch))
        if self._writer is not None:
            self._writer.add([loaded.digest for loaded in computed], features)

    def _check_scale(self, pixels: np.ndarray) -> None:
        """Refuse the first batch of a call where all its pixels are scaled to [0, 1] and the network expects [0, 255].

        One image may be as dark as that; whoever has only such images passes them as uint8.
        """
        if pixels.dtype == np.float32 and self.network.normalises and 0 < pixels.max() <= 1:
            raise normalised_before(self.network, f"no pixel value above {pixels.max():.3g}")

    def _check_finite(self, batch: list[Loaded], finite: np.ndarray) -> None:
        """Note the images whose activations are NaN or infinite; give up where the network made nothing else so far."""
        self._seen_finite |= bool(finite.any())
        if not self._seen_finite:
            msg = (
                f"{self.network.backbone.name} gives NaN or infinite activations for all {len(batch)} images of the "
                "first batch, so its weights are damaged or its training diverged; nothing of it is stored"
            )
            raise BackboneError(msg)
        for loaded, is_finite in zip(batch, finite, strict=True):
            if not is_finite:
                self.not_finite[loaded.row] = f"{self.network.backbone.name} gives NaN or infinite activations for it"

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
        """Return the shape of one row; the network is loaded only when no row of it was ever stored."""
        if self.store is not None and self.store.row_shape is not None:
            return self.store.row_shape
        return self._runner.output_shape

    @functools.cached_property
    def _runner(self) -> Runner:
        return self.network.load(self.engine)

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


def normalised_before(network: Network, found: str) -> PreprocessingError:
    """Return the error for input that was centred or scaled before, although the network does that."""
    return PreprocessingError(
        f"got {found}, but {network.backbone.name} expects RGB pixels in [0, 255] and normalises them itself. Remove "
        "the earlier normalisation, or pass preprocess=None to feed the network pixels as they are."
    )
