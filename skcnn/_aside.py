"""Write a file or folder aside, then rename it: it is whole or absent. Remains of killed processes are removed."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

# How old a file must be to be removed where its process cannot be asked for: on another machine, or on Windows.
ABANDONED_SECONDS = 3600.0


@contextlib.contextmanager
def aside(final: Path) -> Iterator[Path]:
    """Yield a hidden path beside `final` to write a file or folder to, and to rename it from.

    Nothing is left there when the writing fails. What processes left that were killed while they wrote the same thing
    is removed.

    Parameters
    ----------
    final : Path
        Its folder must exist.
    """
    remove_abandoned(final.parent, glob.escape(final.name))
    partial = final.with_name(f".{final.name}.{name_of_this_process()}-{uuid.uuid4().hex}.partial")
    try:
        yield partial
    finally:
        remove(partial)


def remove_abandoned(directory: Path, name: str = "*") -> None:
    """Remove half-written files of killed processes, whose final names match a pattern, from a folder."""
    for partial in directory.glob(f".{name}.*.partial"):
        if is_abandoned(partial):
            remove(partial)


def is_abandoned(partial: Path) -> bool:
    """Whether the process that was writing a file or folder aside has ended."""
    return has_ended(partial.name.split(".")[-2], partial)


def has_ended(process: str, file: Path) -> bool:
    """Whether the process that a file is named after has ended; where it cannot be asked for, the file's age decides.

    Parameters
    ----------
    process : str
        Begins with what `name_of_this_process` returned in it.
    file : Path
    """
    machine, number = [*process.split("-"), "", ""][:2]
    if machine == this_machine() and number.isdigit() and os.name == "posix":
        return not is_running(int(number))
    with contextlib.suppress(OSError):
        return time.time() - file.stat().st_mtime > ABANDONED_SECONDS
    return False


def is_running(process: int) -> bool:
    """Whether there is a process of this id on this machine; for POSIX alone, as Windows would end it."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it belongs to another user
        return True
    return True


def name_of_this_process() -> str:
    """Return a name of this process for files, by which others see whether it has ended."""
    return f"{this_machine()}-{os.getpid()}"


def this_machine() -> str:
    """Return a short name of this machine for file names."""
    return hashlib.blake2b(socket.gethostname().encode(), digest_size=4).hexdigest()


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there and can be removed."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


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
