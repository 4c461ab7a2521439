"""`StoredFeatures`: the features of one extraction, read when they are indexed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from skcnn.cache._shard_snapshot import ShardSnapshot
from skcnn.cache._store import FeatureStore
from skcnn.exceptions import StoreError


class StoredFeatures:
    """The features of the images of one call: an array that is read from the disk when it is indexed.

    Rows that are kept in the cache are copied from memory-mapped files when they are indexed, so they may be many times
    larger than memory. Those that could not be stored, and all with ``cache=None``, are in memory. It indexes along
    the first axis by an integer, a slice, a mask or positions, so scikit-learn's splits work on it, and
    `numpy.asarray` reads all of it.

    Parameters
    ----------
    locations : ndarray of shape (n_images,), int64
        Where the features of each image are: at that position of `stored`, or, below 0, at position
        ``-1 - location`` of `held`.
    stored : ShardSnapshot or None
        A snapshot of the store.
    held : ndarray of shape (n_held, ...), or rows of a file that index as one
        Those that are not in the cache; with ``stored=None`` of each image, in the order of the images.
    failures : mapping of int to str
        Position of each image without features, and the reason.
    store : FeatureStore or None, default=None
        Where `stored` comes from.
    views : ndarray of shape (n_images,), int, default=None
        Which one to take where several views of each image are stored; None takes all.

    Attributes
    ----------
    shape : tuple (n_images, ...)
    dtype : dtype
    ndim : int
    nbytes : int
        Of all features, wherever they are.
    failures : dict of int to str
        Position of each image without features, and the reason. Its features are NaN, or 0 where the dtype has no NaN.
    store : FeatureStore or None
        Where they are stored.
    """

    def __init__(
        self,
        locations: np.ndarray,
        stored: ShardSnapshot | None,
        held: Any,
        *,
        failures: Mapping[int, str],
        store: FeatureStore | None = None,
        views: np.ndarray | None = None,
    ):
        self._locations = locations
        self._stored = stored
        self._held = held
        self._views = views
        self.failures = dict(failures)
        self.store = store
        self._use = None if store is None or stored is None else store.usage.begin()

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_images, ...)."""
        row_shape = self._held.shape[1:] if self._stored is None else self._stored.row_shape
        return (len(self._locations), *row_shape[0 if self._views is None else 1 :])

    @property
    def dtype(self) -> np.dtype:
        """Of the features."""
        return self._held.dtype

    @property
    def ndim(self) -> int:
        """Number of axes, with that of the images."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all features, wherever they are."""
        return self.dtype.itemsize * int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self._locations)

    def view(self, index: int) -> StoredFeatures:
        """Return the features of one view of each image; nothing is read or copied for it.

        Parameters
        ----------
        index : int
            Of the view, where the images have several.

        Raises
        ------
        IndexError
            When there is no such view.
        """
        return self.pick_views(np.arange(len(self)), np.full(len(self), index))

    def pick_views(self, positions: np.ndarray, views: np.ndarray) -> StoredFeatures:
        """Return the features of single views, of any images in any order; nothing is read or copied for it.

        Parameters
        ----------
        positions : ndarray of shape (n_picked,), int
            Which image each is of.
        views : ndarray of shape (n_picked,), int
            Which of its views.

        Raises
        ------
        IndexError
            When there is no such view.
        """
        n_views = self.shape[1] if self.ndim > 1 and self._views is None else 0
        wrong = np.flatnonzero((views < 0) | (views >= n_views))
        if len(wrong):
            raise IndexError(f"there is no view {views[wrong[0]]} in features of shape {self.shape}")
        failures = {item: self.failures[at] for item, at in enumerate(positions.tolist()) if at in self.failures}
        locations = self._locations[positions]
        return StoredFeatures(locations, self._stored, self._held, failures=failures, store=self.store, views=views)

    def in_memory(self) -> StoredFeatures:
        """Return the same features, all of them in memory.

        Raises
        ------
        StoreError
            As indexing does.
        """
        if self._stored is None and self._views is None:
            return self
        features = self[:]
        return StoredFeatures(-1 - np.arange(len(features)), None, features, failures=self.failures, store=self.store)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Return features as an array: a copy, unless all are in memory; then it shares them as NumPy does.

        Raises
        ------
        IndexError
            When `key` is no index along the first axis.
        StoreError
            When features were removed from the cache after they were extracted, or cannot be read now.
        """
        # scikit-learn indexes by array[indices, ...].
        if isinstance(key, tuple) and len(key) == 2 and key[1] is Ellipsis:
            key = key[0]
        if isinstance(key, tuple):
            raise IndexError(f"features are indexed by images alone, not by {key!r}; index the array of some further")
        if self._stored is None:
            if self._views is None:
                return self._held[key]
            return self._held[-1 - self._locations[key], self._views[key]]
        positions = np.arange(len(self))[key]
        read = self._read(np.atleast_1d(positions))
        return read if np.ndim(positions) else read[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all features into one array."""
        if copy is False:
            raise ValueError("features that are read from the cache are always copied")
        return np.array(self[:], dtype) if copy else np.asarray(self[:], dtype)

    def __repr__(self) -> str:
        n_stored = int((self._locations >= 0).sum()) if self._stored is not None else 0
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"StoredFeatures of shape {self.shape}, {self.dtype}: {n_stored} of {len(self)} in the cache{failed}"

    def _read(self, positions: np.ndarray) -> np.ndarray:
        """Copy features from the disk, and those held in memory between them."""
        assert self._stored is not None
        if self.store is not None:
            self.store.usage.touch()
        locations = self._locations[positions]
        views = None if self._views is None else self._views[positions]
        on_disk = np.flatnonzero(locations >= 0)
        try:
            if len(on_disk) == len(positions):
                return self._gather(locations, views=views)
            out = np.empty((len(positions), *self.shape[1:]), self.dtype)
            self._gather(locations[on_disk], out, on_disk, views=None if views is None else views[on_disk])
        except OSError as error:
            where = "the cache" if self.store is None else f"{self.store.directory}"
            msg = f"features were removed from {where} since they were extracted, or cannot be read: {error}"
            msg = f"{msg}; extract again"
            raise StoreError(msg) from error
        in_memory = np.flatnonzero(locations < 0)
        held = -1 - locations[in_memory]
        out[in_memory] = self._held[held] if views is None else self._held[held, views[in_memory]]
        return out

    def _gather(self, locations: np.ndarray, *into: np.ndarray, views: np.ndarray | None) -> np.ndarray:
        """Copy features from the disk, wherever they are by now: other processes put small shards together."""
        assert self._stored is not None
        try:
            return self._stored.gather(locations, *into, views=views)
        except FileNotFoundError:
            if self.store is None:
                raise
            self.store.refresh()
            stored, found = self.store.find(self._stored.index.digests[locations])
            if (found < 0).any():
                raise
            return stored.gather(found, *into, views=views)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for pickles: digests, by which another process finds the same features in the same cache."""
        if self._stored is None:
            return self.__dict__.copy()
        digests = self._stored.index.digests[self._locations[self._locations >= 0]]
        return {**self.__dict__, "_use": None, "_stored": digests}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._stored is None:
            return
        assert self.store is not None
        self._use = self.store.usage.begin()
        self._stored, found = self.store.find(state["_stored"])
        if (found < 0).any():
            lost = f"the features of {int((found < 0).sum())} of {len(found)} images"
            msg = f"{lost} are no longer in {self.store.directory}; extract again"
            raise StoreError(msg)
        self._locations = self._locations.copy()
        self._locations[self._locations >= 0] = found
