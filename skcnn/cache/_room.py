"""Keep a cache within its limit: features that were not used for longest are removed, never those in use."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

from skcnn._locks import Lock
from skcnn.cache._contents import entries_of, size_of
from skcnn.cache._units import format_bytes, parse_bytes
from skcnn.exceptions import StoreWarning

logger = logging.getLogger("skcnn")

LIMIT_VARIABLE = "SKCNN_CACHE_LIMIT"
# How much of the limit may be written before the directory is looked at again: other processes write as well.
UNSEEN = 1 / 50


class Room:
    """Makes room in a cache directory before features are written to it.

    Parameters
    ----------
    directory : Path
    limit : float or None
        In bytes; None takes it from ``SKCNN_CACHE_LIMIT``, or else from the disk.
    remove : callable of a directory
        Removes one store, unless it is in use; returns whether it did.
    """

    def __init__(self, directory: Path, limit: float | None, remove: Callable[[Path], bool]):
        self.directory = directory
        self.limit = limit
        self._remove = remove
        self._left = 0.0
        self._has_warned = self._has_looked = False
        self._lock = Lock()

    def set_limit(self, limit: float | None) -> None:
        """Set another limit, which holds from the next features on."""
        with self._lock:
            self.limit, self._left = limit, 0.0

    def make(self, n_bytes: int) -> None:
        """Remove features that were not used for longest, until so many bytes can be added.

        Rows in use are not removed; where they alone are more than the limit, a warning says so and they stay.
        """
        with self._lock:
            if n_bytes > self._left:
                self._left = self._look(n_bytes)
            self._left = max(0.0, self._left - n_bytes)

    def _look(self, n_bytes: int) -> float:
        """Look at the directory and make room; return how many bytes may be written before the next look."""
        entries = entries_of(self.directory)
        self._tell_of_earlier_versions(sum(entry.bytes for entry in entries if not entry.is_readable))
        total = size_of(self.directory) + sum(entry.bytes for entry in entries)
        limit = limit_of(self.directory, total, self.limit)
        for entry in entries:
            if total + n_bytes <= limit:
                break
            if self._remove(entry.directory):
                age = entry.age() / 3600
                logger.info("removed %s of %s, not used for %.1f hours", format_bytes(entry.bytes), entry.what, age)
            total -= entry.bytes - size_of(entry.directory)
        if total + n_bytes > limit and not self._has_warned:
            self._has_warned = True
            msg = (
                f"the cache {self.directory} takes {format_bytes(total + n_bytes)}, more than its limit of "
                f"{format_bytes(limit)}; what it holds is in use and stays. {LIMIT_VARIABLE} sets another limit"
            )
            warnings.warn(msg, StoreWarning, stacklevel=2)
        return max(min(limit - total, limit * UNSEEN), n_bytes)

    def _tell_of_earlier_versions(self, n_bytes: int) -> None:
        """Say once in a process how much there is that this version does not read."""
        if n_bytes and not self._has_looked:
            remedy = "python -m skcnn.cache clear --unreadable"
            logger.warning("%s in %s were stored by an earlier version, which this one does not read; "
                           "they are removed by: %s", format_bytes(n_bytes), self.directory, remedy)  # fmt: skip
        self._has_looked = True


def chosen_limit() -> float | None:
    """Return ``SKCNN_CACHE_LIMIT`` in bytes; None where it is not set.

    Raises
    ------
    ValueError
        When it is no size.
    """
    chosen = os.environ.get(LIMIT_VARIABLE)
    return parse_bytes(chosen, LIMIT_VARIABLE) if chosen else None


def limit_of(directory: Path, total: int, limit: float | None = None) -> float:
    """Return how many bytes a cache directory may take.

    Parameters
    ----------
    directory : Path
    total : int
        Bytes that it takes now.
    limit : float or None, default=None
        None takes ``SKCNN_CACHE_LIMIT``. Without that a cache may take as much as it leaves free on its disk.

    Raises
    ------
    ValueError
        When the environment variable is no size.
    """
    if limit is not None:
        return limit
    if (chosen := chosen_limit()) is not None:
        return chosen
    try:
        disk = shutil.disk_usage(directory)
    except OSError:
        return float("inf")
    # Some network disks do not tell how large they are.
    return (total + disk.free) / 2 if disk.total else float("inf")
