"""List a cache directory, and remove parts of it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from skcnn.cache._lock import lock_if_free
from skcnn.cache._manifest import MANIFEST, Label, is_fingerprint, read_identity, read_label
from skcnn.cache._store import FeatureStore
from skcnn.cache._usage import is_used_by_others, last_used, usage_of

# What stores keep in their directories; nothing else is ever removed.
OWN_FILES = re.compile(r"manifest\.json|shard-.*\.h5(\.damaged)?|lock|heartbeat|used|used-by-.*|\..*\.partial")


@dataclasses.dataclass(frozen=True)
class CacheEntry:
    """The features of one kind in a cache directory: those of one network up to one layer, for images of one size.

    Attributes
    ----------
    directory : Path
        Named by the fingerprint.
    what : str
        The backbone, or whatever else computed the features; "unknown" where the manifest does not say it.
    layer, image_size : str
        Layer whose output the features are, and size of the input images; empty where there is none.
    bytes : int
        Of all its files.
    last_used : float
        When features were last asked for, in seconds since 1970.
    is_readable : bool
        Whether this version of skcnn reads it; an earlier one may have stored it.
    """

    directory: Path
    what: str
    layer: str
    image_size: str
    bytes: int
    last_used: float
    is_readable: bool

    @classmethod
    def of(cls, directory: Path) -> CacheEntry:
        """Describe the store in a directory."""
        label = read_label(directory)
        return cls(
            directory,
            **(label if label.what else Label("unknown"))._asdict(),
            bytes=size_of(directory),
            last_used=last_used(directory),
            is_readable=read_identity(directory) is not None,
        )

    def open(self) -> FeatureStore:
        """Return a store of the features, newly read from the disk."""
        identity = read_identity(self.directory)
        if identity is None:
            raise ValueError(f"{self.directory} cannot be read by this version")
        return FeatureStore(self.directory.parent, identity["description"], identity["dtype"])

    def matches(self, backbone: str) -> bool:
        """Whether it was made by a backbone of this name, in any case; of a file the last part of the path will do."""
        names = {self.what.lower(), os.path.basename(self.what).lower()}
        return backbone.lower() in names

    def age(self) -> float:
        """Return for how many seconds no features were asked for."""
        return max(0.0, time.time() - self.last_used)

    def summary(self) -> dict[str, Any]:
        """Return all figures of it, as JSON types; all its files are opened to count the images."""
        store = self.open() if self.is_readable else None
        return {
            "fingerprint": self.directory.name,
            "what": self.what,
            "layer": self.layer,
            "image_size": self.image_size,
            "dtype": None if store is None else str(store.dtype),
            "row_shape": None if store is None or store.row_shape is None else list(store.row_shape),
            "images": None if store is None else len(store),
            "bytes": self.bytes,
            "last_used": datetime.fromtimestamp(self.last_used, timezone.utc).isoformat(timespec="seconds"),
            "is_readable": self.is_readable,
        }


def entries_of(directory: Path) -> list[CacheEntry]:
    """Return the stores in a cache directory, the one that was not used for longest first."""
    try:
        names = [entry.name for entry in os.scandir(directory) if is_fingerprint(entry.name) and is_store(entry)]
    except OSError:
        return []
    return sorted((CacheEntry.of(directory / name) for name in names), key=lambda entry: entry.last_used)


def is_store(directory: str | os.PathLike) -> bool:
    """Whether a directory is there and holds nothing but the files of a store."""
    try:
        return all(OWN_FILES.fullmatch(name) for name in os.listdir(directory))
    except OSError:
        return False


def size_of(directory: Path) -> int:
    """Return the size of all files in a directory, but not of those in directories below it."""
    return sum(stat.st_size for stat in stats(directory))


def stats(directory: Path) -> Iterator[os.stat_result]:
    """Yield the status of each file in a directory; those removed meanwhile are left out."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(directory):
            with contextlib.suppress(OSError):
                if entry.is_file(follow_symlinks=False):
                    yield entry.stat(follow_symlinks=False)


def remove_entry(directory: Path) -> bool:
    """Remove a store from the disk, unless this or another process uses it; return whether it is gone.

    A process that waits for its writer lock finds that the directory is gone, and makes it again.
    """
    with usage_of(directory).unless_used() as is_unused, lock_if_free(directory) as is_free:
        if not is_unused or not is_free or is_used_by_others(directory):
            return False
        # The manifest last: what could not be removed can still be told.
        names = sorted(filter(OWN_FILES.fullmatch, os.listdir(directory)), key=lambda name: name == MANIFEST)
        try:
            for name in names:
                if name != "lock":
                    (directory / name).unlink()
        except OSError:  # on Windows, while another process has it mapped
            return False
    with contextlib.suppress(OSError):
        (directory / "lock").unlink(missing_ok=True)
        directory.rmdir()
    return not directory.exists()
