"""Content digests, and the memo that saves reading a file again to learn the digest it had."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import sqlite3
import warnings
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xxhash

from skcnn._locks import Lock
from skcnn.exceptions import StoreWarning

DIGEST_BYTES = 20

# The coarsest clock of a file system in use (FAT) ticks every two seconds: within one tick an overwrite of the same
# length changes neither size nor times.
TICK_NS = 2_000_000_000

# SQLite admits more variables from 3.32 on, but older ones are still in use.
QUERY_PATHS = 900

COLUMNS = "path, size, mtime_ns, ctime_ns, recorded_ns, digest"

# Marks a path that was not found in the SQLite file, so that it is looked up only once.
UNKNOWN = (None, None)

# What SQLite calls an operational error, as if the statement were wrong.
DAMAGED_SCHEMA = re.compile(r"no such column|no column named|malformed|unrecognized token|syntax error|not supported")

# A path is kept as its bytes: a name that is not UTF-8 is no text to SQLite.
SCHEMA = """
CREATE TABLE IF NOT EXISTS digests (
    path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, recorded_ns INTEGER, digest BLOB
) WITHOUT ROWID
"""


def digest_bytes(data: bytes) -> bytes:
    """Return the 20-byte digest (BLAKE2b) of an encoded image."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def digest_array(pixels: np.ndarray) -> bytes:
    """Return the 20-byte digest of pixels: shape and dtype count, memory layout does not."""
    # The person string keeps an array apart from a file that happens to hold the same bytes.
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES, person=b"skcnn pixels")
    digest.update(f"{pixels.dtype.str}{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


class KnownContents:
    """Checksum -> digest of images in memory, so that folds and searches digest each content once.

    The checksum (XXH3, 128 bits, with a secret seed) takes far less time than the digest.

    Parameters
    ----------
    limit : int
        How many are remembered; the oldest are forgotten first.
    """

    def __init__(self, limit: int = 200_000):
        self.limit = limit
        self._seed = secrets.randbits(64)
        self._digests: dict[bytes, bytes] = {}

    def digest(self, content: bytes | np.ndarray) -> bytes:
        """Return the digest of encoded bytes or of pixels."""
        key = self._key(content)
        digest = self._digests.get(key)
        if digest is None:
            digest = digest_array(content) if isinstance(content, np.ndarray) else digest_bytes(content)
            self._digests[key] = digest
            while len(self._digests) > self.limit:
                with contextlib.suppress(KeyError, StopIteration, RuntimeError):  # another thread was first
                    del self._digests[next(iter(self._digests))]
        return digest

    def recall(self, content: bytes | np.ndarray) -> bytes | None:
        """Return the digest of a content that was digested before, None for others."""
        return self._digests.get(self._key(content)) if self._digests else None

    def _key(self, content: bytes | np.ndarray) -> bytes:
        if not isinstance(content, np.ndarray):
            return xxhash.xxh3_128_digest(content, self._seed)
        checksum = xxhash.xxh3_128(f"pixels {content.dtype.str}{content.shape}".encode(), self._seed)
        checksum.update(np.ascontiguousarray(content).data)
        return checksum.digest()


known_contents = KnownContents()


class FileState(NamedTuple):
    """The state of a file as its file system knows it, without reading the content."""

    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, stat: os.stat_result) -> FileState:
        """Take the three figures from a stat result."""
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)

    def is_settled(self, recorded_ns: int) -> bool:
        """Whether a later overwrite must have changed the state, given the time at which the file was read."""
        return recorded_ns - self.ctime_ns > TICK_NS and abs(recorded_ns - self.mtime_ns) > TICK_NS


class DigestMemo:
    """(path, size, times) -> digest, in memory and in an SQLite file shared by processes.

    An entry as young as its file is not trusted: the file is read again, and the entry is renewed. When the SQLite
    file is locked, corrupt or cannot be written, files are simply read again.

    Parameters
    ----------
    file : path or None
        The SQLite file; None remembers only for the life of this object.
    """

    def __init__(self, file: str | os.PathLike | None):
        self.file = None if file is None else Path(file)
        self._known: dict[str, tuple[FileState | None, bytes | None]] = {}
        self._fresh: list[tuple] = []
        self._lock = Lock()

    def recall(self, paths: Sequence[str]) -> list[tuple[FileState | None, bytes | None]]:
        """Return the state and digest each absolute path had when it was last read, None where they are not known."""
        entries = list(map(self._known.get, paths))
        if None in entries:
            self._fetch([path for path, entry in zip(paths, entries, strict=True) if entry is None])
            entries = [self._known.get(path, UNKNOWN) for path in paths]
        return entries  # type: ignore[return-value]

    def record(self, path: str, state: FileState, digest: bytes, *, read_ns: int) -> None:
        """Remember the digest of a file that was read at `read_ns`, if its state can be trusted from now on."""
        if state.is_settled(read_ns):
            with self._lock:
                self._known[path] = (state, digest)
                self._fresh.append((os.fsencode(path), *state, read_ns, digest))

    def save(self) -> None:
        """Write the digests recorded since the last save to the SQLite file."""
        with self._lock:
            fresh, self._fresh = self._fresh, []
        if not fresh or self.file is None:
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection, connection:
                connection.execute(SCHEMA)
                connection.executemany(f"INSERT OR REPLACE INTO digests ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", fresh)
        except (sqlite3.Error, OSError) as error:
            self._note_failure(error)

    def clear(self) -> None:
        """Forget all digests, here and in the SQLite file, which is removed with one that was set aside."""
        with self._lock:
            self._known.clear()
            self._fresh.clear()
        if self.file is not None:
            for suffix in ("", "-journal", ".damaged"):
                with contextlib.suppress(OSError):
                    self.file.with_name(self.file.name + suffix).unlink(missing_ok=True)

    def _fetch(self, paths: list[str]) -> None:
        """Read the entries of paths that were not looked up before."""
        for path in paths:
            self._known.setdefault(path, UNKNOWN)
        if self.file is None:
            return
        try:
            if not self.file.exists():
                return
            with closing(self._connect()) as connection:
                # Another process may have made the file and not yet the table.
                if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'digests'").fetchone():
                    return
                for start in range(0, len(paths), QUERY_PATHS):
                    self._fetch_chunk(connection, paths[start : start + QUERY_PATHS])
        except (sqlite3.Error, OSError) as error:
            self._note_failure(error)

    def _fetch_chunk(self, connection: sqlite3.Connection, paths: list[str]) -> None:
        marks = ",".join("?" * len(paths))
        rows = connection.execute(
            f"SELECT {COLUMNS} FROM digests WHERE path IN ({marks})", [os.fsencode(path) for path in paths]
        )
        for path, size, mtime_ns, ctime_ns, recorded_ns, digest in rows:
            state = FileState(size, mtime_ns, ctime_ns)
            are_numbers = all(isinstance(number, int) for number in (*state, recorded_ns))
            if are_numbers and state.is_settled(recorded_ns) and is_digest(digest) and isinstance(path, bytes):
                self._known[os.fsdecode(path)] = (state, digest)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(str(self.file), timeout=5)

    def _note_failure(self, error: Exception) -> None:
        """Set a damaged file aside, so that the next digests begin a new one; do without one that cannot be used."""
        assert self.file is not None
        remedy = "files will be read again to learn their digests"
        if is_damage(error) and self._set_aside():
            msg = f"the digest memo {self.file} is damaged ({error}) and set aside as {self.file.name}.damaged"
        else:
            msg = f"the digest memo {self.file} cannot be used ({error})"
            self.file = None
        warnings.warn(f"{msg}; {remedy}", StoreWarning, stacklevel=2)

    def _set_aside(self) -> bool:
        """Rename the SQLite file; whether that was possible."""
        assert self.file is not None
        try:
            # A journal that is left would be rolled back into the new file.
            self.file.with_name(f"{self.file.name}-journal").unlink(missing_ok=True)
            os.replace(self.file, self.file.with_name(f"{self.file.name}.damaged"))
        except OSError:
            return False
        return True


def is_damage(error: Exception) -> bool:
    """Whether SQLite says that a file is no database of this kind, and not that it is locked or cannot be written."""
    if isinstance(error, sqlite3.OperationalError):
        return bool(DAMAGED_SCHEMA.search(str(error)))
    return isinstance(error, sqlite3.DatabaseError)


def is_digest(value: object) -> bool:
    """Whether a value from a file is a digest by its form."""
    return isinstance(value, bytes) and len(value) == DIGEST_BYTES


def unchanged_files(paths: Sequence[str], states: Sequence[FileState | None]) -> np.ndarray:
    """Return a mask of the files that are in these states.

    This asks the file system of every path, which is most of the cost of a warm run; hence its bare style.
    """
    mask = np.zeros(len(paths), bool)
    stat = os.stat
    for index, (path, state) in enumerate(zip(paths, states, strict=True)):
        if state is not None:
            try:
                now = stat(path)
            except (OSError, ValueError):
                continue
            if now.st_mtime_ns == state[1] and now.st_ctime_ns == state[2] and now.st_size == state[0]:
                mask[index] = True
    return mask
