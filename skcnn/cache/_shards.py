"""One shard: an HDF5 file of digests and their rows. It appears complete or not at all, and never changes."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xxhash

__all__ = [
    "SHARD_VERSION",
    "Shard",
    "ShardDamagedError",
    "ShardForeignError",
    "open_shard",
    "sync_to_disk",
    "temporary_beside",
    "write_shard",
]

SHARD_VERSION = 2
PAGE = 4096
READ_BYTES = 1 << 20
# For the whole process, whatever the number of stores: each map holds a file descriptor, and many systems allow a
# process 256 or 1,024.
MAX_MAPS = 128


class ShardDamagedError(ValueError):
    """The bytes of a shard are not those that were written."""


class ShardForeignError(ValueError):
    """A shard is of another format version."""


class Shard:
    """A shard whose structure and digests were checked; its rows are checked once, when they are first read.

    Parameters
    ----------
    path : Path
    digests : ndarray of shape (n_rows, 20), uint8
    shape : tuple of int
        (n_rows, ...) of the rows.
    dtype : dtype
        Of the rows.
    offset : int
        Where the rows begin in the file, in bytes.
    checksum : str
        Of the rows, as they were written.
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
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Size of the rows in bytes."""
        return self.dtype.itemsize * int(np.prod(self.shape))

    @property
    def rows(self) -> np.ndarray:
        """The rows, a read-only memory map of shape (n_rows, ...). Raises OSError when the file is gone."""
        return map_rows(self.path, self.dtype, self.offset, self.shape)

    def verify(self) -> None:
        """Compare the rows with their checksum, the first time this is called.

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
            if checksum_of_file(self.path, self.offset, self.nbytes) != self.checksum:
                raise ShardDamagedError(f"the rows of {self.path.name} do not match their checksum")
            self.verified = True


@contextlib.contextmanager
def temporary_beside(final: Path) -> Iterator[Path]:
    """Yield a path beside `final` to write to and rename from; nothing is left there when the writing fails."""
    partial = final.with_name(f"{final.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()


def write_shard(directory: Path, digests: np.ndarray, rows: np.ndarray) -> Path:
    """Write a shard under a temporary name, sync it to disk, then rename it.

    Parameters
    ----------
    directory : Path
        Of the store; must exist.
    digests : ndarray of shape (n_rows, 20), uint8
    rows : ndarray of shape (n_rows, ...)

    Returns
    -------
    Path
        The new shard.
    """
    import h5py

    final = directory / f"shard-{uuid.uuid4().hex}.h5"
    digests, rows = np.ascontiguousarray(digests), np.ascontiguousarray(rows)
    with temporary_beside(final) as partial:
        # Aligned to pages, so that a memory map of the rows is aligned for any dtype.
        try:
            with h5py.File(partial, "w", locking=False, alignment_threshold=PAGE, alignment_interval=PAGE) as file:
                file.attrs["version"] = SHARD_VERSION
                file.attrs["keys_checksum"] = checksum_of(digests)
                file.attrs["features_checksum"] = checksum_of(rows)
                file.create_dataset("keys", data=digests)
                file.create_dataset("features", data=rows)
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
        When it is of another format version.
    OSError
        When the file cannot be read (permission, too many open files, the disk), which proves nothing about it.
    """
    try:
        digests, shape, kind, offset, checksums = read_structure(path)
    except (ShardForeignError, MemoryError):
        raise
    except Exception:  # h5py raises nearly every built-in error, on damaged files and on those it cannot read
        read_through(path)
        try:
            digests, shape, kind, offset, checksums = read_structure(path)
        except Exception as error:
            raise ShardDamagedError(f"{path.name} is no whole shard: {error}") from error
    wanted = shape[1:] if row_shape is None else row_shape
    if shape != (len(digests), *wanted) or kind != dtype or offset is None:
        raise ShardDamagedError(f"{path.name} holds {kind}{shape}, expected {dtype} rows of shape {row_shape}")
    if checksum_of(digests) != checksums[0]:
        raise ShardDamagedError(f"the digests of {path.name} do not match their checksum")
    shard = Shard(path, digests, shape, dtype, offset, checksums[1])
    if path.stat().st_size < offset + shard.nbytes:
        raise ShardDamagedError(f"{path.name} is cut short")
    return shard


def read_structure(path: Path) -> tuple[np.ndarray, tuple[int, ...], np.dtype, int | None, tuple[str, str]]:
    """Return digests, shape, dtype and offset of the rows, and the two checksums."""
    import h5py

    with h5py.File(path, "r", locking=False) as shard:
        if int(shard.attrs["version"]) != SHARD_VERSION:
            raise ShardForeignError(f"{path.name} is of version {shard.attrs['version']}, not {SHARD_VERSION}")
        rows = shard["features"]
        checksums = str(shard.attrs["keys_checksum"]), str(shard.attrs["features_checksum"])
        return shard["keys"][...], rows.shape, rows.dtype, rows.id.get_offset(), checksums


def read_through(path: Path) -> None:
    """Read a whole file, so that a file which cannot be read raises the system's own OSError."""
    with open(path, "rb", buffering=0) as file:
        while file.read(READ_BYTES):
            pass


@functools.lru_cache(maxsize=MAX_MAPS)
def map_rows(path: Path, dtype: np.dtype, offset: int, shape: tuple[int, ...]) -> np.ndarray:
    """Map the rows of a shard; the most recently used maps of this process stay open."""
    try:
        return np.memmap(path, dtype, "r", offset, shape)
    except ValueError as error:  # shorter than when it was opened
        raise OSError(f"{path.name} cannot be mapped: {error}") from error


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


def sync_to_disk(path: Path) -> None:
    """Wait until a file's bytes, or a directory's entries, have reached the disk."""
    if path.is_dir():
        # Windows cannot open a directory, and not every network disk can sync one.
        with contextlib.suppress(OSError):
            sync(path, os.O_RDONLY)
    else:
        sync(path, os.O_RDWR)  # Windows syncs only what is open for writing


def sync(path: Path, flags: int) -> None:
    """Open a file and wait until it has reached the disk."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
