"""The writer lock: one process at a time adds features; the others do not wait for one that makes no progress."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger("skcnn")

HEARTBEAT_SECONDS = 1.0
# Long enough for a holder that imports TensorFlow and converts a network, or takes a batch through a large one.
STALLED_SECONDS = 60.0
POLL_SECONDS = 0.5
LOCKS_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


class WriterStalledError(OSError):
    """The process that holds the writer lock makes no progress, for example because it was suspended."""


@contextlib.contextmanager
def writer_lock(directory: Path) -> Iterator[Heartbeat | None]:
    """Hold the writer lock of a directory.

    The holder calls `beat` after each piece of work, which touches a file. Others wait as long as that goes on, however
    long it takes; not for a holder that was suspended, or hangs, for instance in a debugger.

    Parameters
    ----------
    directory : Path
        Made if it is not there, or no longer, because it was removed while this waited.

    Yields
    ------
    Heartbeat, or None
        None where the file system has no locks. Shards are whole or absent under names of their own, so two writers
        without a lock do no harm; at worst they compute the same features.

    Raises
    ------
    WriterStalledError
        When the holder has not touched its heartbeat file for `STALLED_SECONDS`.
    OSError
        When the directory cannot be written.
    """
    lock, heartbeat = FileLock(directory / "lock"), Heartbeat(directory / "heartbeat")
    try:
        while True:
            wait_for(lock, heartbeat.file)
            heartbeat.begin()
            if directory.is_dir():
                break
            lock.release()
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in LOCKS_UNSUPPORTED:
            raise
        logger.warning("%s is on a file system without locks (%s); features are written without one", directory, error)
        yield None
        return
    try:
        yield heartbeat
    finally:
        lock.release()


@contextlib.contextmanager
def lock_if_free(directory: Path, name: str = "lock") -> Iterator[bool | None]:
    """Hold the lock of a directory, unless another one holds it; yield whether that is so, None where it failed.

    Where the file system has no locks, nobody holds one.
    """
    lock = FileLock(directory / name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    except (NotImplementedError, OSError) as error:
        yield True if isinstance(error, NotImplementedError) or error.errno in LOCKS_UNSUPPORTED else None
        return
    try:
        yield True
    finally:
        lock.release()


def wait_for(lock: FileLock, heartbeat: Path) -> None:
    """Acquire a lock, however long its holder works, unless the heartbeat stops."""
    last, since, announced = last_beat(heartbeat), time.monotonic(), False
    while True:
        heartbeat.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=POLL_SECONDS)
            return
        except FileNotFoundError:  # somebody removed the directory
            continue
        except Timeout:
            beat = last_beat(heartbeat)
            if beat != last:
                last, since = beat, time.monotonic()
            elif time.monotonic() - since > STALLED_SECONDS:
                holder = holder_name(heartbeat)
                msg = f"{holder} holds its writer lock, but has not moved for {STALLED_SECONDS:.0f} seconds"
                raise WriterStalledError(msg) from None
            if not announced:
                holder = holder_name(heartbeat)
                logger.warning("waiting for %s, which is filling the store %s", holder, heartbeat.parent)
                announced = True


class Heartbeat:
    """A file that shows others how far the work under the lock has come.

    Parameters
    ----------
    file : Path
    """

    def __init__(self, file: Path):
        self.file = file
        self._last = 0.0

    def begin(self) -> None:
        """Write down which process holds the lock."""
        self._last = time.monotonic()
        with contextlib.suppress(OSError):  # the work goes on; others may take this process for stalled
            self.file.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")

    def beat(self) -> None:
        """Touch the file, at most once a second; call it after each piece of work."""
        now = time.monotonic()
        if now - self._last >= HEARTBEAT_SECONDS:
            self._last = now
            with contextlib.suppress(OSError):
                os.utime(self.file)


def last_beat(heartbeat: Path) -> int:
    """Return the time of the last heartbeat by the clock of the file system; only a change of it means anything."""
    try:
        return heartbeat.stat().st_mtime_ns
    except OSError:
        return 0


def holder_name(heartbeat: Path) -> str:
    """Name the process that holds the lock."""
    try:
        return heartbeat.read_text(encoding="utf-8") or "another process"
    except (OSError, ValueError):
        return "another process"
