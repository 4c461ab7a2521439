"""One shard: an HDF5 file of digests and their activations, whole or absent, never changed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = [
    "SHARD_VERSION",
    "Shard",
    "ShardDamagedError",
    "ShardForeignError",
    "open_shard",
    "temporary_beside",
    "write_shard",
]

SHARD_VERSION = 1
PAGE = 4096


class ShardDamagedError(ValueError):
    """A shard is not what was written."""


class ShardForeignError(ValueError):
    """A shard is of another format version."""


@dataclass(frozen=True)
class Shard:
    """An open shard.

    Attributes
    ----------
    path : Path
    digests : ndarray of shape (n_rows, 20), uint8
    features : memmap of shape (n_rows, ...), float32 or float16
    """

    path: Path
    digests: np.ndarray
    features: np.ndarray


@contextlib.contextmanager
def temporary_beside(final: Path) -> Iterator[Path]:
    """Yield a path beside `final` to write to and rename from; nothing is left there when the writing fails."""
    partial = final.with_name(f"{final.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()


def write_shard(directory: Path, digests: np.ndarray, features: np.ndarray) -> Path:
    """Write a shard aside, bring it to the disk, then give it its name.

    Parameters
    ----------
    directory : Path
        Of the store; must exist.
    digests : ndarray of shape (n_rows, 20), uint8
    features : ndarray of shape (n_rows, ...), float32 or float16

    Returns
    -------
    Path
        The new shard.
    """
    import h5py

    final = directory / f"shard-{uuid.uuid4().hex}.h5"
    digests, features = np.ascontiguousarray(digests), np.ascontiguousarray(features)
    with temporary_beside(final) as partial:
        # Aligned to pages, so that a memory map of the rows is aligned for any dtype.
        try:
            with h5py.File(partial, "w", locking=False, alignment_threshold=PAGE, alignment_interval=PAGE) as file:
                file.attrs["version"] = SHARD_VERSION
                file.attrs["digests_checksum"] = checksum(digests)
                file.attrs["checksum"] = checksum(digests, features)
                file.create_dataset("keys", data=digests)
                file.create_dataset("features", data=features)
        except (RuntimeError, ValueError) as error:  # h5py, when the disk is full as it closes the file
            raise OSError(f"{final.name} cannot be written: {error}") from error
        bring_to_disk(partial)
        os.replace(partial, final)
    bring_to_disk(directory)
    return final


def open_shard(path: Path, row_shape: tuple[int, ...] | None, dtype: np.dtype) -> Shard:
    """Open a shard, check its structure and its digests, and map its rows; `row_shape` None admits any.

    Raises
    ------
    ShardDamagedError
        When the file is cut short, is no shard, or its digests are not those that were written.
    ShardForeignError
        When it is of another format version.
    """
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            if int(file.attrs["version"]) != SHARD_VERSION:
                raise ShardForeignError(f"{path.name} is of version {file.attrs['version']}, not {SHARD_VERSION}")
            digests, features = file["keys"][...], file["features"]
            expected = str(file.attrs["digests_checksum"])
            shape, kind, offset = features.shape, features.dtype, features.id.get_offset()
    except ShardForeignError:
        raise
    except FileNotFoundError:
        raise
    except Exception as error:  # h5py raises nearly every built-in error on damaged files
        raise ShardDamagedError(f"{path.name} cannot be opened: {error}") from error
    wanted = shape[1:] if row_shape is None else row_shape
    if shape != (len(digests), *wanted) or kind != dtype or offset is None:
        raise ShardDamagedError(f"{path.name} holds {kind}{shape}, expected {dtype} rows of shape {row_shape}")
    if checksum(digests) != expected:
        raise ShardDamagedError(f"the digests of {path.name} do not match their checksum")
    if path.stat().st_size < offset + dtype.itemsize * int(np.prod(shape)):
        raise ShardDamagedError(f"{path.name} is cut short")
    return Shard(path, digests, np.memmap(path, dtype, "r", offset, shape))


def checksum(*arrays: np.ndarray) -> str:
    """Return a hex checksum over the bytes of arrays."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(array.data)
    return digest.hexdigest()


def bring_to_disk(path: Path) -> None:
    """Wait until a file's bytes, or a directory's entries, have reached the disk."""
    # Windows can neither open a directory nor needs to.
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
