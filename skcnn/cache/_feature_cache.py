"""`FeatureCache`: one cache directory, and everything this process knows of it."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from skcnn._locks import Lock
from skcnn.cache._contents import CacheEntry, entries_of, remove_entry, size_of
from skcnn.cache._digests import DigestMemo
from skcnn.cache._directory import cache_directory
from skcnn.cache._json_memo import JsonMemo
from skcnn.cache._manifest import Label, fingerprint_of
from skcnn.cache._room import Room, chosen_limit, limit_of
from skcnn.cache._store import NO_LABEL, FeatureStore
from skcnn.cache._units import parse_age, parse_bytes

# The memos that are kept, by their names.
MEMOS = ("layers", "decoders")


class FeatureCache:
    """A directory of features: one `FeatureStore` for each description, and a memo of the digests of files.

    `FeatureCache.open` returns one object per directory and process, so the clones of an estimator in a grid search
    read the index of a store only once.

    What it can be used from:

    - **Threads**: any number, at the same time.
    - **Processes**: any number may read, without waiting. One at a time adds to a store; the others wait while it
      makes progress and then find its features. If it makes none for a minute, because it was suspended or hangs, they
      compute without storing. Each process opens the cache for itself. A child that was forked can use it as well.
    - **Network disks**: shards never change and are opened without HDF5's file locking. The disk must replace files
      atomically. Where it has no file locks, two processes may compute the same image twice; both results are right.
      Where SQLite cannot lock, image files are read again to learn their digests.
    - **A limited disk**: before more than `limit` is written, the stores that were not used for longest are removed.
      A store is in use, and stays, while this process reads or writes it, or another one has within the last hour.
    - **Windows**: a shard that some process has mapped cannot be deleted or renamed there. End the processes that use
      a cache before you delete it.

    Parameters
    ----------
    directory : Path
        Made when something is first written.
    limit : int, float or str, default=None
        How many bytes it may take, such as ``20e9``, "20 GB" or "500 MiB"; "inf" for no limit. None takes
        ``SKCNN_CACHE_LIMIT``; without that a cache may take as much as it leaves free on its disk.

    Attributes
    ----------
    directory : Path
        Absolute.
    limit : float or None
        In bytes, as given.
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
    >>> FeatureCache.open(directory).store({"made by": "example"}, dtype="uint8").info().images
    2
    >>> FeatureCache.open(None) is None
    True
    """

    # The caches of this process, by directory.
    _opened: ClassVar[dict[Path, FeatureCache]] = {}
    _opening: ClassVar[Lock] = Lock()

    def __init__(self, directory: str | os.PathLike, *, limit: float | str | None = None):
        self.directory = Path(os.path.abspath(directory))
        self._room = Room(self.directory, None, self._remove)
        self.limit = limit
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

    @property
    def limit(self) -> float | None:
        """How many bytes it may take; None where that was not set for this cache alone."""
        return self._room.limit

    @limit.setter
    def limit(self, limit: float | str | None) -> None:
        self._room.set_limit(None if limit is None else parse_bytes(limit, "The limit of a cache"))

    @property
    def limit_in_effect(self) -> float:
        """How many bytes it may take, whatever says so: `limit`, ``SKCNN_CACHE_LIMIT`` or the disk."""
        return limit_of(self.directory, self.size, self.limit)

    @property
    def size(self) -> int:
        """How many bytes it takes on disk."""
        return size_of(self.directory) + sum(entry.bytes for entry in self.entries())

    def store(self, description: dict[str, Any], dtype: str = "float32", label: Label = NO_LABEL) -> FeatureStore:
        """Return the store of this description, with all that other processes have added until now.

        Parameters
        ----------
        description : dict
            Everything that decides the values of the features, as JSON types.
        dtype : {"float32", "float16", "float64", "uint8"}, default="float32"
            In which the features are stored; their shape is free, but the same for all.
        label : Label, default=Label()
            How the features are listed in the table of ``python -m skcnn.cache info``.
        """
        chosen_limit()  # an error in it is told before hours of work, not when the first features are written
        key = fingerprint_of({"description": description, "dtype": dtype})
        with self._mutex:
            store = self._stores.get(key)
            if store is None:
                store = FeatureStore(self.directory, description, dtype, label=label, make_room=self._room.make)
                self._stores[key] = store
                return store
        store.refresh()
        return store

    def memo(self, name: str) -> JsonMemo:
        """Return the memo of that name: short answers that take long to compute, in files of its name."""
        with self._mutex:
            return self._memos.setdefault(name, JsonMemo(self.directory, name))

    def entries(self) -> list[CacheEntry]:
        """Return one entry for each store, the one that was not used for longest first."""
        return entries_of(self.directory)

    def clear(
        self,
        *,
        older_than: timedelta | str | None = None,
        backbone: str | None = None,
        unreadable: bool = False,
        dry_run: bool = False,
    ) -> tuple[list[CacheEntry], list[CacheEntry]]:
        """Remove stores that are not in use; without a choice also the memos of files and networks.

        Parameters
        ----------
        older_than : timedelta or str, default=None
            Only what was not used for so long, such as "12h", "30d" or "4w".
        backbone : str, default=None
            Only what this backbone made.
        unreadable : bool, default=False
            Only what this version of skcnn does not read.
        dry_run : bool, default=False
            Whether to remove nothing and only return what would be.

        Returns
        -------
        removed, in_use : lists of CacheEntry
            What was removed, and what would have been if it were not in use.

        Raises
        ------
        ValueError
            When `older_than` is no span of time.
        """
        chosen = self.entries()
        if older_than is not None:
            seconds = parse_age(older_than, "The 'older_than' parameter").total_seconds()
            chosen = [entry for entry in chosen if entry.age() > seconds]
        if backbone is not None:
            chosen = [entry for entry in chosen if entry.matches(backbone)]
        if unreadable:
            chosen = [entry for entry in chosen if not entry.is_readable]
        if dry_run:
            return chosen, []
        removed: list[CacheEntry] = []
        in_use: list[CacheEntry] = []
        for entry in chosen:
            (removed if self._remove(entry.directory) else in_use).append(entry)
        if older_than is None and backbone is None and not unreadable:
            self.digests.clear()
            for name in MEMOS:
                self.memo(name).clear()
        return removed, in_use

    def verify(self) -> dict[Path, list[str]]:
        """Compare all stored features with their checksums.

        Returns
        -------
        dict of Path to list of str
            Directories in which something is wrong, and the files that are damaged or cannot be read. Damaged ones are
            set aside, with a warning; their images are computed again when they are needed.
        """
        problems = {entry.directory: entry.open().verify() for entry in self.entries() if entry.is_readable}
        return {directory: names for directory, names in problems.items() if names}

    def compact(self) -> int:
        """Put small files together and remove damaged ones that were set aside; return how many bytes that saved.

        Raises
        ------
        OSError
            When the cache cannot be written.
        """
        before = self.size
        for entry in self.entries():
            if entry.is_readable:
                entry.open().compact()
        return before - self.size

    def _remove(self, directory: Path) -> bool:
        """Remove a store from the disk, unless it is in use; return whether it is gone."""
        is_gone = remove_entry(directory)
        with self._mutex:
            store = self._stores.get(directory.name)
        if store is not None:
            store.refresh()  # a map of a file that was removed would keep its bytes on the disk
        return is_gone

    def __repr__(self) -> str:
        return f"FeatureCache({str(self.directory)!r})"

    def __reduce__(self):
        return reopen, (str(self.directory), self.limit)


def reopen(directory: str, limit: float | None) -> FeatureCache:
    """Return this process's cache of a directory for one that was copied, or pickled in another."""
    cache = FeatureCache.open(directory)
    assert cache is not None
    if limit is not None:
        cache.limit = limit
    return cache
