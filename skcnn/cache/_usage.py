"""Who uses a store, so that none is removed under somebody: this process, and others that left a file in it."""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

from skcnn._aside import ABANDONED_SECONDS, has_ended, name_of_this_process, remove
from skcnn._locks import Lock

USED = "used"
USED_BY = "used-by-"
# How often the times of the files are renewed.
TOUCH_SECONDS = 60.0


class Use:
    """Held while features are read, or are about to be.

    It keeps what it is counted by: the object that the store was opened through may be gone before.
    """

    def __init__(self, usage: Usage):
        self._usage = usage


class Usage:
    """How this process uses a store: one object for each store (`usage_of`).

    Other processes learn of it by a file that is named after this process. Its time says when it last read features,
    that of another file when any process did; both are renewed once a minute.

    Parameters
    ----------
    directory : Path
        Of the store.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self._uses: weakref.WeakSet[Use] = weakref.WeakSet()
        self._touched = -TOUCH_SECONDS
        self._lock = Lock()

    def begin(self) -> Use:
        """Return a `Use`, to be held as long as the store is used."""
        use = Use(self)
        with self._lock:
            self._uses.add(use)
        self.touch()
        return use

    @contextlib.contextmanager
    def unless_used(self) -> Iterator[bool]:
        """Keep others in this process from using the store; yield False where one does so already."""
        with self._lock:
            yield not self._uses

    def touch(self, *, now: bool = False) -> None:
        """Tell other processes that the store is in use; at most once a minute, unless it has to be `now`."""
        if not now and time.monotonic() - self._touched < TOUCH_SECONDS:
            return
        with contextlib.suppress(OSError):  # there are no features yet, or the cache cannot be written
            if self.directory.is_dir():
                if self._touched < 0:
                    remove_ended(self.directory)
                self._touched = time.monotonic()
                (self.directory / USED).touch()
                file_of_this_process(self.directory).touch()


_usages: weakref.WeakValueDictionary[str, Usage] = weakref.WeakValueDictionary()
_usages_lock = Lock()


def usage_of(directory: Path) -> Usage:
    """Return the one `Usage` of a store in this process."""
    key = os.path.abspath(directory)
    with _usages_lock:
        usage = _usages.get(key)
        if usage is None:
            _usages[key] = usage = Usage(Path(key))
        return usage


def file_of_this_process(directory: Path) -> Path:
    """Return the file that tells others that this process uses a store."""
    return directory / f"{USED_BY}{name_of_this_process()}"


def remove_ended(directory: Path) -> None:
    """Remove the files of processes that used a store and have ended."""
    for file in directory.glob(f"{USED_BY}*"):
        if has_ended(file.name.removeprefix(USED_BY), file):
            remove(file)


def is_used_by_others(directory: Path) -> bool:
    """Whether another process that is alive has read features of a store within the last hour."""
    remove_ended(directory)
    own, now = file_of_this_process(directory), time.time()
    files = [file for file in directory.glob(f"{USED_BY}*") if file != own]
    with contextlib.suppress(OSError):
        return any(now - file.stat().st_mtime < ABANDONED_SECONDS for file in files)
    return True


def last_used(directory: Path) -> float:
    """Return when features of a store were last asked for, in seconds since 1970."""
    for path in (directory / USED, directory):
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return 0.0
