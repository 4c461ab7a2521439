"""One shard: an HDF5 file of digests and features. It appears complete or not at all, and never changes."""

from __future__ import annotations

import errno
import functools
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xxhash

from skcnn._aside import aside, sync_to_disk
from skcnn._locks import Lock

SHARD_VERSION = 3
# HDF5 1.10, in which every structure of a file has a checksum. In files with an older superblock one flipped bit can
# make the library loop or crash, so such a file is never given to it.
HDF5_FORMAT = ("v110", "v110")
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
FIRST_SUPERBLOCK_WITH_CHECKSUMS = 3
PAGE = 4096
READ_BYTES = 1 << 20
# For the whole process, whatever the number of stores: each map holds a file descriptor, and many systems allow a
# process 256 or 1,024.
MAX_MAPS = 128
TOO_MANY = (errno.EMFILE, errno.ENFILE)


class ShardDamagedError(ValueError):
    """The bytes of a shard are not those that were written."""


class ShardForeignError(ValueError):
    """A shard is of another format version, or holds features of another shape or dtype than its store."""


T = TypeVar("T")


class Shard:
    """A shard whose structure and digests were checked; its features are checked once, when they are first read.

    Parameters
    ----------
    path : Path
    digests : ndarray of shape (n_images, 20), uint8
    shape : tuple of int
        (n_images, ...) of the features.
    dtype : dtype
        Of the features.
    offset : int
        Where the features begin in the file, in bytes.
    checksum : str
        Of the features, as they were written.
    """

    def __init__(
        self, path: Path, digests: np.ndarray, shape: tuple[int, ...], dtype: np.dtype, offset: int, checksum: str
    ):
        self.path = path
        self.digests = digests
        self.shape = shape
        self.dtype = dtype
        self.offset = offset
        self.checksum = checksum
        self.verified = False
        self._lock = Lock()

    @property
    def nbytes(self) -> int:
        """Size of the features in bytes."""
        return self.dtype.itemsize * int(np.prod(self.shape))

    @property
    def features(self) -> np.ndarray:
        """The features, a read-only array of shape (n_images, ...): memory-mapped, or a copy where too many are open.

        Raises
        ------
        OSError
            When the file is gone, or cut short.
        """
        try:
            return sparing_files(lambda: map_rows(self.path, self.dtype, self.offset, self.shape))
        except OSError as error:
            if error.errno not in TOO_MANY:
                raise
        return read_rows(self.path, self.dtype, self.offset, self.shape)

    def verify(self) -> None:
        """Compare the features with their checksum, the first time this is called.

        Raises
        ------
        ShardDamagedError
            When a bit has changed, or the file is cut short.
        OSError
            When the file cannot be read, which says nothing about what it holds.
        """
        with self._lock:
            if self.verified:
                return
            # Read, not mapped: a bad sector is an OSError here, and would kill the process behind a map.
            if sparing_files(lambda: checksum_of_file(self.path, self.offset, self.nbytes)) != self.checksum:
                raise ShardDamagedError(f"the features of {self.path.name} do not match their checksum")
            self.verified = True


def write_shard(directory: Path, digests: np.ndarray, features: np.ndarray) -> Path:
    """Write a shard under a temporary name, sync it to disk, then rename it.

    Parameters
    ----------
    directory : Path
        Of the store; must exist.
    digests : ndarray of shape (n_images, 20), uint8
    features : ndarray of shape (n_images, ...)

    Returns
    -------
    Path
        The new shard.
    """
    import h5py

    final = directory / f"shard-{uuid.uuid4().hex}.h5"
    digests, features = np.ascontiguousarray(digests), np.ascontiguousarray(features)
    with aside(final) as partial:
        # Aligned to pages, so that a memory map of the features is aligned for any dtype.
        try:
            options: dict[str, Any] = {"alignment_threshold": PAGE, "alignment_interval": PAGE}
            with h5py.File(partial, "w", locking=False, libver=HDF5_FORMAT, **options) as file:
                file.attrs["version"] = SHARD_VERSION
                # Of fixed length: what is of variable length lies in HDF5's global heap, which has no checksum.
                file.attrs["keys_checksum"] = np.bytes_(checksum_of(digests))
                file.attrs["features_checksum"] = np.bytes_(checksum_of(features))
                file.create_dataset("keys", data=digests)
                file.create_dataset("features", data=features)
        except (RuntimeError, ValueError) as error:  # h5py, when the disk is full as it closes the file
            raise OSError(f"{final.name} cannot be written: {error}") from error
        sync_to_disk(partial)
        os.replace(partial, final)
    sync_to_disk(directory)
    return final


def open_shard(path: Path, row_shape: tuple[int, ...] | None, dtype: np.dtype) -> Shard:
    """Read a shard's digests and check its structure; `row_shape` None admits any.

    Raises
    ------
    ShardDamagedError
        When the file could be read and is cut short, is no shard, or its digests do not match their checksum.
    ShardForeignError
        When it is of another format version, or holds features of another shape or dtype.
    OSError
        When the file cannot be read (permission, too many open files, the disk), which proves nothing about it.
    """
    try:
        digests, shape, kind, offset, checksums = sparing_files(lambda: read_structure(path))
    except (ShardForeignError, ShardDamagedError, MemoryError):
        raise
    except Exception:  # h5py raises nearly every built-in error, on damaged files and on those it cannot read
        sparing_files(lambda: read_through(path))
        try:
            digests, shape, kind, offset, checksums = read_structure(path)
        except Exception as error:
            raise ShardDamagedError(f"{path.name} is no whole shard: {error}") from error
    if checksum_of(digests) != checksums[0]:
        raise ShardDamagedError(f"the digests of {path.name} do not match their checksum")
    if len(shape) == 0 or shape[0] != len(digests) or offset is None:
        raise ShardDamagedError(f"{path.name} holds {kind}{shape} for {len(digests)} digests")
    if kind != dtype or row_shape not in (None, shape[1:]):
        raise ShardForeignError(f"{path.name} holds {kind}{shape}, expected {dtype} features of shape {row_shape}")
    shard = Shard(path, digests, shape, dtype, offset, checksums[1])
    if path.stat().st_size < offset + shard.nbytes:
        raise ShardDamagedError(f"{path.name} is cut short")
    return shard


def read_structure(path: Path) -> tuple[np.ndarray, tuple[int, ...], np.dtype, int | None, tuple[str, str]]:
    """Return digests, shape, dtype and offset of the features, and the two checksums."""
    import h5py

    with open(path, "rb") as file:
        head = file.read(len(HDF5_SIGNATURE) + 1)
    if head[:-1] != HDF5_SIGNATURE or head[-1] < FIRST_SUPERBLOCK_WITH_CHECKSUMS:
        raise ShardDamagedError(f"{path.name} is no whole shard: it does not begin as one")
    with h5py.File(path, "r", locking=False) as shard:
        if int(shard.attrs["version"]) != SHARD_VERSION:
            raise ShardForeignError(f"{path.name} is of version {shard.attrs['version']}, not {SHARD_VERSION}")
        features = shard["features"]
        keys_checksum, features_checksum = (shard.attrs[f"{name}_checksum"] for name in ("keys", "features"))
        checksums = bytes(keys_checksum).decode(), bytes(features_checksum).decode()
        return shard["keys"][...], features.shape, features.dtype, features.id.get_offset(), checksums


def sparing_files(action: Callable[[], T]) -> T:
    """Return the result of `action`; where too many files are open, close this process's maps and try once more."""
    try:
        return action()
    except OSError as error:
        if error.errno not in TOO_MANY:
            raise
    map_rows.cache_clear()
    return action()


def read_through(path: Path) -> None:
    """Read a whole file, so that a file which cannot be read raises the system's own OSError."""
    with open(path, "rb", buffering=0) as file:
        while file.read(READ_BYTES):
            pass


@functools.lru_cache(maxsize=MAX_MAPS)
def map_rows(path: Path, dtype: np.dtype, offset: int, shape: tuple[int, ...]) -> np.ndarray:
    """Map the features of a shard; the most recently used maps of this process stay open."""
    try:
        return np.memmap(path, dtype, "r", offset, shape)
    except ValueError as error:  # shorter than when it was opened
        raise OSError(f"{path.name} cannot be mapped: {error}") from error


def read_rows(path: Path, dtype: np.dtype, offset: int, shape: tuple[int, ...]) -> np.ndarray:
    """Read the features of a shard into memory, with one file descriptor where a map takes two for a moment."""
    features = np.empty(shape, dtype)
    with open(path, "rb") as file:
        file.seek(offset)
        if file.readinto(features.reshape(-1).view(np.uint8).data) < features.nbytes:
            raise OSError(f"{path.name} is cut short")
    return features


def checksum_of(array: np.ndarray) -> str:
    """Return a hex checksum (XXH3, 128 bits) over the bytes of a contiguous array."""
    return xxhash.xxh3_128_hexdigest(array.data)


def checksum_of_file(path: Path, offset: int, size: int) -> str:
    """Return the checksum over `size` bytes of a file, or over as many as there are."""
    checksum = xxhash.xxh3_128()
    buffer = memoryview(bytearray(READ_BYTES))
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        while size and (count := file.readinto(buffer[: min(size, READ_BYTES)])):
            checksum.update(buffer[:count])
            size -= count
    return checksum.hexdigest()
