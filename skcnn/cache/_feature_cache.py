"""`FeatureCache`: one cache directory, and everything this process knows of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from skcnn._locks import Lock
from skcnn.cache._digests import DigestMemo
from skcnn.cache._directory import cache_directory
from skcnn.cache._json_memo import JsonMemo
from skcnn.cache._store import FeatureStore, fingerprint_of

__all__ = ["FeatureCache"]


class FeatureCache:
    """A directory of rows computed from images: one `FeatureStore` for each description, and a memo of file digests.

    `FeatureCache.open` returns one object per directory and process, so the clones of an estimator in a grid search
    read the index of a store only once.

    What it can be used from:

    - **Threads**: any number, at the same time.
    - **Processes**: any number may read, without waiting. One at a time adds rows to a store; the others wait while it
      makes progress and then find its rows. If it makes none for a minute, because it was suspended or hangs, they
      compute without storing. Each process opens the cache for itself. A child that was forked can use it as well.
    - **Network disks**: shards never change and are opened without HDF5's file locking. The disk must replace files
      atomically. Where it has no file locks, two processes may compute the same image twice; both rows are right.
      Where SQLite cannot lock, image files are read again to learn their digests.
    - **Windows**: a shard that some process has mapped cannot be deleted or renamed there. End the processes that use
      a cache before you delete it.

    Parameters
    ----------
    directory : Path
        Made when something is first written.

    Attributes
    ----------
    directory : Path
        Absolute.
    digests : DigestMemo
        Which digest each image file had when it was last read.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from skcnn.cache import FeatureCache
    >>> directory = tempfile.mkdtemp()
    >>> store = FeatureCache.open(directory).store({"made by": "example"}, dtype="uint8")
    >>> digests = np.random.default_rng(0).integers(0, 256, (2, 20), dtype=np.uint8)
    >>> with store.writing():
    ...     store.put(digests, np.full((2, 4, 4, 3), 7, np.uint8))
    >>> FeatureCache.open(directory).store({"made by": "example"}, dtype="uint8").info().rows
    2
    >>> FeatureCache.open(None) is None
    True
    """

    # The caches of this process, by directory.
    _opened: ClassVar[dict[Path, FeatureCache]] = {}
    _opening: ClassVar[Lock] = Lock()

    def __init__(self, directory: str | os.PathLike):
        self.directory = Path(os.path.abspath(directory))
        self.digests = DigestMemo(self.directory / "digests.sqlite")
        self._stores: dict[str, FeatureStore] = {}
        self._memos: dict[str, JsonMemo] = {}
        self._mutex = Lock()

    @classmethod
    def open(cls, cache: bool | str | os.PathLike | FeatureCache | None) -> FeatureCache | None:
        """Return the cache that a `cache` parameter means.

        Parameters
        ----------
        cache : True, path, FeatureCache or None
            True for the user's cache directory (`SKCNN_CACHE_DIR` names another), or a directory of your own.

        Returns
        -------
        FeatureCache, or None where nothing is to be kept

        Raises
        ------
        ValueError
            When `cache` is anything else.
        """
        if isinstance(cache, FeatureCache):
            return cache
        directory = cache_directory(cache)
        if directory is None:
            return None
        directory = Path(os.path.abspath(directory))
        with cls._opening:
            return cls._opened.setdefault(directory, cls(directory))

    def store(self, description: dict[str, Any], dtype: str = "float32") -> FeatureStore:
        """Return the store of the rows with this description, with what other processes have added until now.

        Parameters
        ----------
        description : dict
            Everything that decides the values of the rows, as JSON types.
        dtype : {"float32", "float16", "float64", "uint8"}, default="float32"
            What the rows are kept in; their shape is free, but the same for all.
        """
        key = fingerprint_of({"description": description, "dtype": dtype})
        with self._mutex:
            store = self._stores.get(key)
            if store is None:
                self._stores[key] = store = FeatureStore(self.directory, description, dtype)
                return store
        store.refresh()
        return store

    def memo(self, name: str) -> JsonMemo:
        """Return the memo of that name: short answers that take long to compute, in a directory of their own."""
        with self._mutex:
            return self._memos.setdefault(name, JsonMemo(self.directory / name))

    def __repr__(self) -> str:
        return f"FeatureCache({str(self.directory)!r})"

    def __reduce__(self):
        return FeatureCache.open, (str(self.directory),)
