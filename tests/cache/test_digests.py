import hashlib
import os
import re
import sqlite3
import time
import warnings
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest

from skcnn.cache import _digests
from skcnn.cache._digests import (
    DIGEST_BYTES,
    QUERY_PATHS,
    TICK_NS,
    DigestMemo,
    FileState,
    KnownContents,
    digest_array,
    digest_bytes,
    unchanged_files,
)
from skcnn.exceptions import StoreWarning
from skcnn.images._sources import PathSources

SETTLED = FileState(size=5, mtime_ns=10**18, ctime_ns=10**18)
READ_NS = 10**18 + 10 * TICK_NS
DIGEST = bytes(range(DIGEST_BYTES))


def read_all(paths, memo):
    """Read every file with the memo at hand and return the digests."""
    sources = PathSources(paths)
    return [sources.read(index, memo).digest for index in range(len(sources))]


def known(paths, memo):
    """Return the digests that the memo gives without reading; None for the others."""
    sources = PathSources(paths)
    recalled = sources.recall(memo)
    mask = recalled.known & recalled.unchanged(np.arange(len(paths)))
    return [bytes(row) if there else None for row, there in zip(recalled.digests, mask, strict=True)]


@pytest.fixture
def files(tmp_path):
    """Return the paths of three files."""
    paths = [tmp_path / f"{number}.bin" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(b"content %d" % number)
    return list(map(str, paths))


@pytest.fixture
def memo_file(tmp_path):
    return tmp_path / "cache" / "digests.sqlite"


@pytest.fixture
def impatient(monkeypatch):
    """Wait for a locked memo no longer than a test may last."""
    monkeypatch.setattr(DigestMemo, "_connect", lambda self: sqlite3.connect(str(self.file), timeout=0.01))


# Digests


def test_digest_of_bytes():
    assert digest_bytes(b"abc") == hashlib.blake2b(b"abc", digest_size=20).digest()
    assert len(digest_bytes(b"")) == DIGEST_BYTES == 20
    assert digest_bytes(b"abc") != digest_bytes(b"abd")


def test_digest_of_an_array_is_not_that_of_its_bytes():
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert len(digest_array(pixels)) == DIGEST_BYTES
    assert digest_array(pixels) != digest_bytes(pixels.tobytes())
    assert digest_array(pixels) != digest_bytes(f"{pixels.dtype.str}{pixels.shape}".encode() + pixels.tobytes())


def test_digest_of_an_array_depends_on_values_shape_and_dtype():
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    changed = pixels.copy()
    changed[1, 1, 2] += 1
    others = [pixels, changed, pixels.reshape(4, 1, 3), pixels.astype(np.float32), pixels.view(np.int8)]
    assert len({digest_array(array) for array in others}) == len(others)
    assert digest_array(pixels) == digest_array(pixels.copy())


def test_memory_layout_does_not_count():
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    for view in (np.asfortranarray(pixels), np.repeat(pixels, 2, axis=0)[::2], pixels[:, ::-1].copy()[:, ::-1]):
        assert not view.flags.c_contiguous
        assert digest_array(view) == digest_array(pixels)
    assert digest_array(pixels[:, ::-1]) != digest_array(pixels)


# File states


@pytest.mark.parametrize(
    ("mtime_age", "ctime_age", "settled"),
    [
        (10, 10, True),
        # A file as young as the reading may be overwritten within the same tick of the clock.
        (0, 0, False),
        (1.9, 1.9, False),
        (2.1, 2.1, True),
        # os.utime sets mtime back; ctime tells.
        (1000, 0, False),
        (1000, 1.9, False),
        # Copied from a machine whose clock is ahead.
        (-1000, 10, True),
        (-1, 10, False),
        (10, -1000, False),
    ],
)
def test_is_settled(mtime_age, ctime_age, settled):
    now = 10**18
    state = FileState(1, now - int(mtime_age * 10**9), now - int(ctime_age * 10**9))
    assert state.is_settled(now) is settled


def test_file_state_of_a_file(files):
    stat = os.stat(files[0])
    assert FileState.of(stat) == (9, stat.st_mtime_ns, stat.st_ctime_ns)


# The memo


def test_fresh_file_is_read_again(files):
    memo = DigestMemo(None)
    assert read_all(files, memo) == [digest_bytes(b"content %d" % number) for number in range(3)]
    assert known(files, memo) == [None] * 3


def test_settled_file_is_remembered(files, later):
    memo = DigestMemo(None)
    assert known(files, memo) == [None] * 3
    digests = read_all(files[:2], memo)
    assert known(files, memo) == [*digests, None]
    assert known(files[::-1], memo) == [None, digests[1], digests[0]]


def test_relative_paths_mean_the_same_file(files, later, monkeypatch):
    memo = DigestMemo(None)
    digests = read_all(files, memo)
    monkeypatch.chdir(os.path.dirname(files[0]))
    assert known(["0.bin", "1.bin"], memo) == digests[:2]
    other = DigestMemo(None)
    read_all(["2.bin"], other)
    assert known(files[2:], other) == digests[2:]
    monkeypatch.chdir("/")
    assert known(["0.bin"], memo) == [None]


def test_overwritten_file_of_the_same_size_is_noticed(files, later):
    memo = DigestMemo(None)
    read_all(files, memo)
    before = os.stat(files[1])
    time.sleep(0.02)  # the kernel's clock for files ticks every few milliseconds
    with open(files[1], "wb") as file:
        file.write(b"CONTENT 1")
    # Even when somebody sets the time of modification back.
    os.utime(files[1], ns=(before.st_atime_ns, before.st_mtime_ns))
    after = os.stat(files[1])
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    first, second, third = known(files, memo)
    assert first is not None
    assert second is None
    assert third is not None
    assert read_all(files[1:2], memo) == [digest_bytes(b"CONTENT 1")] == known(files[1:2], memo)


def test_old_time_of_modification_alone_is_not_trusted(files):
    memo = DigestMemo(None)
    os.utime(files[0], (10**9, 10**9))
    read_all(files[:1], memo)
    assert known(files[:1], memo) == [None]


def test_deleted_file_is_not_known(files, later):
    memo = DigestMemo(None)
    read_all(files, memo)
    os.unlink(files[0])
    assert known(files, memo)[0] is None


def test_persists(files, memo_file, later):
    memo = DigestMemo(memo_file)
    digests = read_all(files, memo)
    assert not memo_file.exists()
    memo.save()
    assert memo_file.exists()
    assert known(files, DigestMemo(memo_file)) == digests
    # A path in a string will do.
    assert known(files, DigestMemo(str(memo_file))) == digests


def test_saving_twice_adds(files, memo_file, later):
    memo = DigestMemo(memo_file)
    first = read_all(files[:1], memo)
    memo.save()
    rest = read_all(files[1:], memo)
    memo.save()
    memo.save()
    assert known(files, DigestMemo(memo_file)) == first + rest


def test_a_later_reading_replaces_the_row(files, memo_file, later):
    for content in (b"content 0", b"longer content"):
        with open(files[0], "wb") as file:
            file.write(content)
        memo = DigestMemo(memo_file)
        read_all(files[:1], memo)
        memo.save()
    assert known(files[:1], DigestMemo(memo_file)) == [digest_bytes(b"longer content")]
    with closing(sqlite3.connect(memo_file)) as connection:
        assert connection.execute("SELECT count(*) FROM digests").fetchone() == (1,)


def test_nothing_recorded_makes_no_file(files, memo_file):
    memo = DigestMemo(memo_file)
    read_all(files, memo)  # all fresh
    memo.save()
    assert not memo_file.exists()


def test_more_paths_than_one_query_takes(memo_file):
    paths = [f"/images/{number}.jpg" for number in range(2 * QUERY_PATHS + 1)]
    memo = DigestMemo(memo_file)
    for number, path in enumerate(paths):
        memo.record(path, SETTLED, digest_bytes(b"%d" % number), read_ns=READ_NS)
    memo.save()
    found = [digest for _, digest in DigestMemo(memo_file).recall(paths)]
    assert found == [digest_bytes(b"%d" % number) for number in range(len(paths))]


def test_the_file_is_asked_once_for_each_path(files, memo_file, later, monkeypatch):
    memo = DigestMemo(memo_file)
    read_all(files, memo)
    memo.save()
    reader, connections = DigestMemo(memo_file), []
    monkeypatch.setattr(reader, "_connect", lambda: connections.append(1) or sqlite3.connect(memo_file))
    for _ in range(3):
        known([*files, "/nowhere.jpg"], reader)
    assert len(connections) == 1


def test_state_must_be_equal(memo_file, monkeypatch):
    memo = DigestMemo(memo_file)
    memo.record("/a.jpg", SETTLED, DIGEST, read_ns=READ_NS)
    memo.save()
    states = [SETTLED, SETTLED._replace(size=6), SETTLED._replace(mtime_ns=1), SETTLED._replace(ctime_ns=1)]
    for reader in (memo, DigestMemo(memo_file)):
        assert reader.recall(["/a.jpg", "/b.jpg"]) == [(SETTLED, DIGEST), (None, None)]
        for state in states:
            stat = SimpleNamespace(st_size=state.size, st_mtime_ns=state.mtime_ns, st_ctime_ns=state.ctime_ns)
            monkeypatch.setattr(os, "stat", lambda path, stat=stat: stat)
            assert unchanged_files(["/a.jpg", "/b.jpg"], [SETTLED, None]).tolist() == [state == SETTLED, False]
            monkeypatch.undo()
        assert not unchanged_files(["/a.jpg"], [SETTLED]).any()  # there is no such file


def test_file_name_that_is_no_utf8(tmp_path, memo_file, later):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.bin")
    with open(path, "wb") as file:
        file.write(b"content")
    memo = DigestMemo(memo_file)
    read_all([path], memo)
    memo.save()
    assert known([path], DigestMemo(memo_file)) == [digest_bytes(b"content")]


def test_a_row_as_young_as_its_file_is_not_trusted(memo_file):
    memo = DigestMemo(memo_file)
    memo.record("/a.jpg", SETTLED, DIGEST, read_ns=READ_NS)
    memo.save()
    with closing(sqlite3.connect(memo_file)) as connection, connection:
        connection.execute("UPDATE digests SET recorded_ns = ctime_ns + ?", [TICK_NS])
    assert DigestMemo(memo_file).recall(["/a.jpg"]) == [(None, None)]


@pytest.mark.parametrize("digest", [b"short", None, "a text of 20 letters"])
def test_a_row_without_a_digest_is_not_trusted(digest, memo_file):
    memo = DigestMemo(memo_file)
    memo.record("/a.jpg", SETTLED, DIGEST, read_ns=READ_NS)
    memo.save()
    with closing(sqlite3.connect(memo_file)) as connection, connection:
        connection.execute("UPDATE digests SET digest = ?", [digest])
    assert DigestMemo(memo_file).recall(["/a.jpg"]) == [(None, None)]


# When the file cannot be used


def use_twice(memo, files):
    """Look up, read, save, and look up again; return the digests and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        known(files, memo)
        digests = read_all(files, memo)
        memo.save()
        assert known(files, memo) == digests
        memo.record("/another", SETTLED, DIGEST, read_ns=READ_NS)
        memo.save()
    return digests, caught


def assert_one_warning(caught, match):
    assert [warning.category for warning in caught] == [StoreWarning]
    assert re.search(match, str(caught[0].message))


EXPECTED = [digest_bytes(b"content %d" % number) for number in range(3)]


def test_corrupt_file(files, memo_file, later):
    memo_file.parent.mkdir()
    memo_file.write_bytes(b"this is no database, and long enough to be sure of it" * 100)
    digests, caught = use_twice(DigestMemo(memo_file), files)
    assert digests == EXPECTED
    assert_one_warning(
        caught,
        r"the digest memo .*digests.sqlite is damaged \(.*not a database\) and set aside as digests.sqlite.damaged",
    )
    # What was recorded after the damage was met is in a new file.
    assert known(files, DigestMemo(memo_file)) == EXPECTED


def test_damaged_page(files, memo_file, later):
    memo = DigestMemo(memo_file)
    read_all(files, memo)
    memo.save()
    with open(memo_file, "r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 2000)
    digests, caught = use_twice(DigestMemo(memo_file), files)
    assert digests == EXPECTED
    assert_one_warning(caught, "is damaged .* set aside")


def test_another_table_of_that_name(files, memo_file, later):
    memo_file.parent.mkdir()
    with closing(sqlite3.connect(memo_file)) as connection, connection:
        connection.execute("CREATE TABLE digests (path TEXT, size INTEGER, etag TEXT)")
    digests, caught = use_twice(DigestMemo(memo_file), files)
    assert digests == EXPECTED
    assert_one_warning(caught, r"is damaged \(no such column: mtime_ns\) and set aside")


def test_file_without_a_table_yet(files, memo_file, later):
    memo_file.parent.mkdir()
    memo_file.touch()
    digests, caught = use_twice(DigestMemo(memo_file), files)
    assert digests == EXPECTED
    assert not caught
    assert known(files, DigestMemo(memo_file)) == EXPECTED


def test_locked_for_reading(files, memo_file, later, impatient):
    first = DigestMemo(memo_file)
    read_all(files, first)
    first.save()
    with closing(sqlite3.connect(memo_file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        digests, caught = use_twice(DigestMemo(memo_file), files)
    assert digests == EXPECTED
    assert_one_warning(caught, r"cannot be used \(database is locked\)")


def test_locked_for_writing(files, memo_file, later, impatient):
    memo = DigestMemo(memo_file)
    memo.record("/first", SETTLED, DIGEST, read_ns=READ_NS)
    memo.save()
    with closing(sqlite3.connect(memo_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        digests, caught = use_twice(DigestMemo(memo_file), files)
    assert digests == EXPECTED
    assert_one_warning(caught, r"cannot be used \(database is locked\)")
    # The rows that were there are there still.
    assert DigestMemo(memo_file).recall(["/first"]) == [(SETTLED, DIGEST)]


def test_directory_that_cannot_be_made(files, tmp_path, later):
    # Below a regular file nothing can be written, whoever asks.
    (tmp_path / "file").write_text("not a directory")
    digests, caught = use_twice(DigestMemo(tmp_path / "file" / "cache" / "digests.sqlite"), files)
    assert digests == EXPECTED
    assert_one_warning(caught, "cannot be used")


def test_file_that_cannot_even_be_looked_for(files, tmp_path, later):
    digests, caught = use_twice(DigestMemo(tmp_path / ("x" * 300) / "digests.sqlite"), files)
    assert digests == EXPECTED
    assert_one_warning(caught, "cannot be used .*File name too long")


def test_without_a_file_nothing_is_written(files, private_cache, later):
    digests, caught = use_twice(DigestMemo(None), files)
    assert digests == EXPECTED
    assert not caught
    assert not private_cache.exists()


# What is in memory ----------------------------------------------------------------------------------------------------


@pytest.fixture
def contents(monkeypatch):
    """A new `KnownContents`, and the list of what was digested."""
    digested = []
    monkeypatch.setattr(_digests, "digest_bytes", lambda data: digested.append(data) or digest_bytes(data))
    monkeypatch.setattr(_digests, "digest_array", lambda data: digested.append(data) or digest_array(data))
    return KnownContents(limit=4), digested


def test_contents_are_digested_once(contents):
    known, digested = contents
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert known.recall(pixels) is None
    for content, digest in ((pixels, digest_array(pixels)), (b"jpeg", digest_bytes(b"jpeg"))):
        copy = content.copy() if isinstance(content, np.ndarray) else bytes(bytearray(content))
        assert known.digest(content) == known.digest(copy) == known.recall(copy) == digest
    assert len(digested) == 2


def test_an_array_changed_in_place_is_another_content(contents):
    known, digested = contents
    pixels = np.zeros((2, 2, 3), np.uint8)
    first = known.digest(pixels)
    pixels[0, 0, 0] = 1
    assert known.recall(pixels) is None
    assert known.digest(pixels) == digest_array(pixels) != first
    assert len(digested) == 2


def test_shape_and_dtype_and_kind_count(contents):
    known, _ = contents
    flat = np.zeros((1, 3, 4), np.uint8)
    others = [flat, flat.reshape(3, 1, 4), flat.view(np.float32), flat.tobytes()]
    assert len({known.digest(content) for content in others}) == 4


def test_the_oldest_are_forgotten(contents):
    known, digested = contents
    for number in range(5):
        known.digest(bytes([number]))
    assert known.recall(bytes([0])) is None
    assert known.recall(bytes([4])) == digest_bytes(bytes([4]))
    assert len(digested) == 5
