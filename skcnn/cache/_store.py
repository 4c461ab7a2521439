"""`FeatureStore`: features computed from images, kept on disk under the digests of the images' bytes."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from skcnn._aside import remove, remove_abandoned
from skcnn._locks import Lock
from skcnn._validation import check_choice
from skcnn.cache._lock import writer_lock
from skcnn.cache._manifest import Label, fingerprint_of, write_manifest
from skcnn.cache._shard_snapshot import ShardSnapshot
from skcnn.cache._shards import (
    Shard,
    ShardDamagedError,
    ShardForeignError,
    open_shard,
    write_shard,
)
from skcnn.cache._small_shards import find_small, put_together
from skcnn.cache._usage import usage_of
from skcnn.exceptions import StoreWarning

logger = logging.getLogger("skcnn")

# What a shard takes on disk besides its features and digests, at most.
SHARD_OVERHEAD = 16 << 10
NO_LABEL = Label()
DTYPES = ("float32", "float16", "float64", "uint8")


class CacheInfo(NamedTuple):
    """Hits and misses of this process; on disk, the images whose features are stored, and the bytes of these."""

    hits: int
    misses: int
    images: int
    bytes: int


class FeatureStore:
    """Rows of one kind on disk, one for each image, shared by every process that names the same directory.

    They live in immutable shards and are read through memory maps. One process at a time adds some; readers never wait.
    `FeatureCache.store` opens it once in a process; `FeatureCache` also says where a cache can be used.

    Parameters
    ----------
    directory : path
        The cache directory; features go to a sub-directory of it named by the fingerprint.
    description : dict
        Everything that decides the values of the features, as JSON types.
    dtype : {"float32", "float16", "float64", "uint8"}, default="float32"
        In which the features are stored; part of the fingerprint.
    label : Label, default=Label()
        How the features are listed in the table of ``python -m skcnn.cache info``.
    make_room : callable of int, default=None
        Called with the bytes that are about to be written, before that.

    Attributes
    ----------
    description : dict
        As given.
    fingerprint : str
        Digest of the description and the dtype.
    directory : Path
        Where the shards of this fingerprint are.
    row_shape : tuple of int, or None
        Shape of the features of one image; None as long as there are none.
    snapshot : ShardSnapshot
        The features known at the last look.
    usage : Usage
        While a use of it is held, its features are not removed to make room.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from skcnn.cache import FeatureStore
    >>> store = FeatureStore(tempfile.mkdtemp(), {"network": "example"})
    >>> digests = np.random.default_rng(0).integers(0, 256, (2, 20), dtype=np.uint8)
    >>> with store.writing():
    ...     store.put(digests, np.ones((2, 3), np.float32))
    >>> snapshot = store.refresh()
    >>> snapshot.gather(snapshot.find(digests)).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        description: dict[str, Any],
        dtype: str = "float32",
        *,
        label: Label = NO_LABEL,
        make_room: Callable[[int], None] | None = None,
    ):
        check_choice("dtype", dtype, DTYPES)
        self.description = description
        self.label = label
        self._make_room = make_room
        self.dtype = np.dtype(dtype)
        # As it is read back from the manifest, where a tuple is a list.
        self._identity = json.loads(json.dumps({"description": description, "dtype": dtype}))
        self.fingerprint = fingerprint_of(self._identity)
        self.directory = Path(directory) / self.fingerprint
        self.usage = usage_of(self.directory)
        self.row_shape: tuple[int, ...] | None = None
        self.hits = self.misses = 0
        self.snapshot = ShardSnapshot((), (), self.dtype)
        self._shards: dict[str, Shard | None] = {}
        self._unreadable: set[str] = set()
        self._mutex = Lock(reentrant=True)
        self.refresh()
        if len(self):
            with contextlib.suppress(OSError):  # where a manifest was damaged, and the cache cannot be written
                self._write_manifest()

    def __len__(self) -> int:
        return len(self.snapshot)

    def __reduce__(self):
        return reopen, (str(self.directory.parent), self.description, str(self.dtype), self.label)

    def refresh(self) -> ShardSnapshot:
        """Read which features other processes have added since the last call.

        Returns
        -------
        ShardSnapshot
            All features there are now, as a snapshot to find and copy from.
        """
        with self._mutex:
            try:
                names = sorted(entry.name for entry in os.scandir(self.directory) if is_shard(entry.name))
            except FileNotFoundError:
                names = []
            except OSError:  # the directory cannot be listed just now
                return self.snapshot
            new = [name for name in names if name not in self._shards]
            gone = self._shards.keys() - set(names)
            if not new and not gone:
                return self.snapshot
            for name in gone:
                del self._shards[name]
            if not self._shards:  # another process removed them
                self.row_shape = None
            if gone:
                self._reindex()
            self._add([self.directory / name for name in new])
            return self.snapshot

    def find(self, digests: np.ndarray) -> tuple[ShardSnapshot, np.ndarray]:
        """Find features, and verify them.

        A shard is compared with its checksum the first time features in it are asked for. A damaged one is set aside
        with a warning; one that cannot be read is left where it is, and tried again after the next `refresh`.

        Parameters
        ----------
        digests : ndarray of shape (n_images, 20), uint8

        Returns
        -------
        snapshot : ShardSnapshot
            The snapshot in which they were found.
        locations : ndarray of shape (n_images,), int64
            Where they are in it, for its `gather`; -1 for features that are not there.
        """
        while True:
            snapshot = self.snapshot
            locations = snapshot.find(digests)
            unusable = snapshot.unusable(locations)
            if not unusable:
                return snapshot, locations
            self._give_up_all(unusable)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Callable[[], None]]:
        """Hold the writer lock; features that others added meanwhile are read first.

        Yields
        ------
        callable without arguments
            To be called after each piece of work: other writers do not wait for a process that makes no progress.

        Raises
        ------
        OSError
            When the directory cannot be written, or the process that holds the lock has stopped moving.
        """
        use = self.usage.begin()
        with writer_lock(self.directory) as heartbeat:
            if heartbeat:
                remove_abandoned(self.directory)
            self.refresh()
            if heartbeat:
                self._merge_small_shards()
            yield heartbeat.beat if heartbeat else do_nothing
        del use

    def put(self, digests: np.ndarray, features: np.ndarray) -> None:
        """Add features, as one shard; call it inside `writing`.

        Parameters
        ----------
        digests : ndarray of shape (n_images, 20), uint8
        features : ndarray of shape (n_images, ...)

        Raises
        ------
        OSError
            When the disk is full or cannot be written; nothing is left behind then.
        ValueError
            When the features have another shape than those before, do not fit the dtype, or are not finite.
        """
        if not len(digests):
            return
        with self._mutex:
            self._check_shape(features.shape[1:])
        if not np.isfinite(features).all():
            raise ValueError("NaN or infinite values are never stored")
        features = fit_dtype(features, self.dtype)
        if self._make_room is not None:
            self._make_room(features.nbytes + digests.nbytes + SHARD_OVERHEAD)
        # Outside the mutex: other threads look up features while this waits for the disk.
        path = write_shard(self.directory, digests, features)
        with self._mutex:
            self._add([path])
        self.usage.touch(now=True)  # the directory may be new: others remove what was not used for long

    def verify(self) -> list[str]:
        """Compare all features with their checksums; return the names of the files that cannot be used.

        Those that are damaged are set aside, with a warning.
        """
        if unusable := self.snapshot.unusable(np.arange(len(self.snapshot))):
            self._give_up_all(unusable)
        listed = {entry.name.removesuffix(".damaged") for entry in os.scandir(self.directory)}
        return sorted(name for name in listed if is_shard(name) and self._shards.get(name) is None)

    def compact(self) -> None:
        """Put all small shards together, and remove damaged ones that were set aside.

        Raises
        ------
        OSError
            As `writing` does.
        """
        with self.writing() as beat:
            while self._merge_small_shards(least=2):
                beat()
            for path in self.directory.glob("*.damaged"):
                remove(path)

    def count(self, hits: int, misses: int) -> None:
        """Add to the hits and misses of this process."""
        with self._mutex:
            self.hits += hits
            self.misses += misses

    def info(self) -> CacheInfo:
        """Return hits and misses of this process, and the images and bytes on disk."""
        snapshot = self.refresh()
        return CacheInfo(self.hits, self.misses, len(snapshot), snapshot.nbytes)

    def _check_shape(self, row_shape: tuple[int, ...]) -> None:
        if self.row_shape not in (None, row_shape):
            raise ValueError(f"features of shape {row_shape} do not fit the store {self.directory} of {self.row_shape}")
        self.row_shape = row_shape
        self._write_manifest()

    def _write_manifest(self) -> None:
        write_manifest(self.directory, self._identity, self.row_shape, self.label)

    def _merge_small_shards(self, *, least: int | None = None) -> bool:
        """Put small shards together, where there are many, or at least so many; return whether any were.

        Readers of one that is removed find its features again by their digests.
        """
        shards = find_small((shard for shard in self._shards.values() if shard is not None), least=least)
        if not shards:
            return False
        snapshot = ShardSnapshot(shards, self.row_shape or (), self.dtype)
        if unusable := snapshot.unusable(np.arange(len(snapshot))):  # the next writer puts the others together
            self._give_up_all(unusable)
            return False
        try:
            merged = put_together(self.directory, snapshot)
        except OSError as error:  # of a full disk: they stay as they are
            logger.info("small shards of %s cannot be put together: %s", self.directory, error)
            return False
        with self._mutex:
            for shard in shards:
                with contextlib.suppress(OSError):  # on Windows, while another process has it mapped
                    shard.path.unlink()
                    self._shards.pop(shard.path.name, None)
            self._reindex()
            self._add([merged])
        return True

    def _add(self, paths: list[Path]) -> None:
        """Open shards and add their features to the index."""
        opened = [self._open(path) for path in paths if path.name not in self._shards]
        more = [shard for shard in opened if shard is not None]
        self.snapshot = self.snapshot.with_more(more, self.row_shape or ())

    def _open(self, path: Path) -> Shard | None:
        """Open a shard; None, which is remembered, where it cannot be used."""
        try:
            shard = open_shard(path, self.row_shape, self.dtype)
        except ShardForeignError as error:
            logger.warning("%s; it is left alone, and its images are computed without it", error)
            self._shards[path.name] = None
        except (ShardDamagedError, OSError) as error:
            self._give_up(path, error)
        else:
            self.row_shape = shard.shape[1:]
            self._shards[path.name] = shard
            return shard
        return None

    def _give_up_all(self, unusable: dict[Shard, Exception]) -> None:
        """Stop using shards that are damaged or cannot be read."""
        with self._mutex:
            for shard, error in unusable.items():
                self._give_up(shard.path, error)
            self._reindex()

    def _give_up(self, path: Path, error: Exception) -> None:
        """Stop using a shard: rename it if it is proven damaged, else try again at the next refresh."""
        if isinstance(error, ShardDamagedError):
            self._shards[path.name] = None
            msg = f"{error}; it is set aside as {path.name}.damaged, and its images will be computed again"
            warnings.warn(msg, StoreWarning, stacklevel=2)
            with contextlib.suppress(OSError):  # on a read-only disk it is only ignored
                os.replace(path, path.with_name(f"{path.name}.damaged"))
            return
        self._shards.pop(path.name, None)
        # A file that is gone was removed by another process after the listing.
        if not isinstance(error, FileNotFoundError) and path.name not in self._unreadable:
            self._unreadable.add(path.name)
            msg = f"{path} cannot be read now ({error}); its images are computed without it, and the file is left alone"
            warnings.warn(msg, StoreWarning, stacklevel=2)

    def _reindex(self) -> None:
        shards = [shard for shard in self._shards.values() if shard is not None]
        self.snapshot = ShardSnapshot(shards, self.row_shape or (), self.dtype)


def do_nothing() -> None:
    """Do nothing; for work that is done without the writer lock."""


def reopen(directory: str, description: dict[str, Any], dtype: str, label: Label) -> FeatureStore:
    """Return this process's store for one that was pickled in another."""
    from skcnn.cache._feature_cache import FeatureCache

    cache = FeatureCache.open(directory)
    assert cache is not None
    return cache.store(description, dtype, label)


def is_shard(name: str) -> bool:
    """Whether a file name is that of a finished shard."""
    return name.startswith("shard-") and name.endswith(".h5")


class DtypeError(ValueError):
    """The dtype of a store cannot hold some features."""


def fit_dtype(features: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Convert features to the dtype of a store.

    Raises
    ------
    DtypeError
        When finite values are too large for a floating dtype, or are not whole numbers in [0, 255] for uint8.
    """
    if features.dtype == dtype:
        return features
    with np.errstate(over="ignore", invalid="ignore"):
        fitted = features.astype(dtype)
    if dtype == np.uint8:
        if not (fitted == features).all():
            found = f"values from {features.min():.4g} to {features.max():.4g}"
            raise DtypeError(f"{found} are no whole numbers in [0, 255]; use dtype='float32'")
    elif not np.isfinite(fitted).all() and np.isfinite(features).all():
        raise DtypeError(f"values of up to {np.abs(features).max():.3g} do not fit {dtype}; use dtype='float32'")
    return fitted
