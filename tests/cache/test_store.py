import contextlib
import errno
import json
import multiprocessing
import os
import tempfile
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from skcnn._aside import this_machine
from skcnn.cache import FeatureStore, _shards, _small_shards, _store
from skcnn.cache._store import fit_dtype
from skcnn.exceptions import StoreWarning

DESCRIPTION = {"network": "test", "steps": [{"step": "Crop", "top": 0}]}


def digests_of(numbers):
    digests = np.zeros((len(numbers), 20), np.uint8)
    digests[:, :4] = np.asarray(numbers, ">u4").reshape(-1, 1).view(np.uint8)
    return digests


def rows_of(numbers, width=3):
    return np.repeat(np.asarray(numbers, np.float32)[:, np.newaxis], width, axis=1)


def put(store, numbers, width=3):
    with store.writing():
        store.put(digests_of(numbers), rows_of(numbers, width))


def get(store, numbers):
    rows = store.refresh()
    return rows.gather(rows.find(digests_of(numbers)))


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path, DESCRIPTION)


def test_what_was_put_is_found_by_this_and_any_later_store(store, tmp_path):
    put(store, [1, 2, 3])
    put(store, [4])
    np.testing.assert_array_equal(get(store, [4, 2]), rows_of([4, 2]))
    np.testing.assert_array_equal(get(FeatureStore(tmp_path, DESCRIPTION), [3, 4, 1]), rows_of([3, 4, 1]))
    assert (store.refresh().find(digests_of([5])) == -1).all()


def test_an_empty_put_writes_nothing(store, tmp_path):
    with store.writing():
        store.put(digests_of([]), rows_of([]))
    assert not list(tmp_path.rglob("*.h5"))


def test_a_store_that_was_open_before_sees_what_another_added(store, tmp_path):
    other = FeatureStore(tmp_path, DESCRIPTION)
    put(store, [1])
    assert len(other) == 0
    np.testing.assert_array_equal(get(other, [1]), rows_of([1]))


def test_another_description_is_another_directory(store, tmp_path):
    put(store, [1])
    other = FeatureStore(tmp_path, {**DESCRIPTION, "network": "other"})
    assert other.directory != store.directory
    assert other.refresh().find(digests_of([1]))[0] == -1
    assert FeatureStore(tmp_path, DESCRIPTION, "float16").directory != store.directory


def test_the_manifest_says_what_the_fingerprint_stands_for(store):
    put(store, [1])
    manifest = json.loads((store.directory / "manifest.json").read_text())
    assert manifest["description"] == DESCRIPTION
    assert manifest["row_shape"] == [3]
    assert manifest["dtype"] == "float32"


def test_a_description_with_tuples_is_the_same_in_a_later_process(tmp_path):
    description = {"steps": [{"step": "SubtractMean", "mean": (1.0, 2.0)}]}
    put(FeatureStore(tmp_path, description), [1, 2])
    np.testing.assert_array_equal(get(FeatureStore(tmp_path, description), [2]), rows_of([2]))


def test_rows_of_another_shape_are_refused(store):
    put(store, [1])
    with pytest.raises(ValueError, match=r"features of shape \(4,\) do not fit the store .* of \(3,\)"):
        put(store, [2], width=4)


def test_values_beyond_float16_are_refused_not_stored_as_infinity(tmp_path):
    store = FeatureStore(tmp_path, DESCRIPTION, "float16")
    with pytest.raises(ValueError, match=r"up to 1e\+05 do not fit float16; use dtype='float32'"):
        put(store, [100_000])
    assert len(FeatureStore(tmp_path, DESCRIPTION, "float16")) == 0


@pytest.mark.parametrize("change", [{"description": {"network": "another"}}, {"row_shape": [7]}, {"dtype": "float16"}])
def test_a_manifest_that_is_wrong_harms_nothing_and_is_written_anew(store, tmp_path, change):
    put(store, [1])
    path = store.directory / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, **change}))
    again = FeatureStore(tmp_path, DESCRIPTION)
    np.testing.assert_array_equal(get(again, [1]), rows_of([1]))
    put(again, [2])
    assert not list(store.directory.glob("*.damaged"))
    if "row_shape" not in change:
        assert {**json.loads(path.read_text()), "created": None} == {**manifest, "created": None}


@pytest.mark.parametrize("text", ["", "{", None])
def test_a_manifest_that_a_power_cut_took_is_written_anew(store, tmp_path, text):
    put(store, [1])
    path = store.directory / "manifest.json"
    path.unlink() if text is None else path.write_text(text)
    again = FeatureStore(tmp_path, DESCRIPTION)
    assert json.loads(path.read_text())["row_shape"] == [3]
    np.testing.assert_array_equal(get(again, [1]), rows_of([1]))


def test_a_damaged_shard_is_set_aside_and_only_its_rows_are_gone(store, tmp_path):
    put(store, [1, 2])
    (first,) = store.directory.glob("*.h5")
    put(store, [3])
    first.write_bytes(first.read_bytes()[:-8])
    with pytest.warns(StoreWarning, match=r"set aside as shard-.*\.h5\.damaged"):
        again = FeatureStore(tmp_path, DESCRIPTION)
    np.testing.assert_array_equal(again.refresh().find(digests_of([1, 2])), [-1, -1])
    np.testing.assert_array_equal(get(again, [3]), rows_of([3]))
    assert first.with_name(first.name + ".damaged").exists()
    FeatureStore(tmp_path, DESCRIPTION)  # warns once: the next one does not see it


def test_rows_found_in_a_snapshot_stay_where_they_are_while_others_are_added(store):
    put(store, list(range(10)))
    rows = store.refresh()
    locations = rows.find(digests_of(range(10)))
    for number in range(10, 30):
        put(store, [number])
    np.testing.assert_array_equal(rows.gather(locations), rows_of(range(10)))


def test_a_removed_directory_is_seen_as_empty(store, tmp_path):
    import shutil

    put(store, [1])
    shutil.rmtree(store.directory)
    assert store.refresh().find(digests_of([1]))[0] == -1
    put(store, [1], width=4)
    np.testing.assert_array_equal(get(store, [1]), rows_of([1], width=4))
    np.testing.assert_array_equal(get(FeatureStore(tmp_path, DESCRIPTION), [1]), rows_of([1], width=4))


def test_what_a_killed_writer_left_is_swept_by_the_next(store):
    put(store, [1])
    context = multiprocessing.get_context("spawn")
    gone = context.Process()
    gone.start()
    gone.join()
    left = store.directory / f".shard-1.h5.{this_machine()}-{gone.pid}-abc.partial"
    left.write_bytes(b"half")
    store.refresh()
    assert left.exists()  # a reader removes nothing
    put(store, [2])
    assert not left.exists()


def limited_disk(directory, queue):
    import resource

    store = FeatureStore(directory, DESCRIPTION)
    put(store, [1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        put(store, range(100_000))
    except OSError as error:
        queue.put(str(error))


def test_a_disk_that_is_full_is_an_oserror_and_leaves_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    worker = context.Process(target=limited_disk, args=(tmp_path, queue))
    worker.start()
    assert queue.get(timeout=60)
    worker.join(60)
    assert not list(tmp_path.rglob("*.partial"))
    np.testing.assert_array_equal(get(FeatureStore(tmp_path, DESCRIPTION), [1]), rows_of([1]))


def test_info_counts_rows_and_bytes(store):
    put(store, [1, 2])
    assert store.info() == (0, 0, 2, 24)


def fill(directory, start, barrier):
    store = FeatureStore(directory, DESCRIPTION)
    barrier.wait()
    for number in range(start, start + 10):
        put(store, [number])


def test_two_processes_write_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    workers = [context.Process(target=fill, args=(tmp_path, start, barrier)) for start in (0, 10)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    np.testing.assert_array_equal(get(FeatureStore(tmp_path, DESCRIPTION), range(20)), rows_of(range(20)))


def test_a_flipped_bit_is_set_aside_when_its_rows_are_asked_for_and_no_sooner(store, tmp_path):
    put(store, [1, 2])
    (first,) = store.directory.glob("*.h5")
    put(store, [3])
    data = bytearray(first.read_bytes())
    data[data.index(rows_of([2]).tobytes()) + 1] ^= 4
    first.write_bytes(data)
    again = FeatureStore(tmp_path, DESCRIPTION)
    rows, locations = again.find(digests_of([3]))
    np.testing.assert_array_equal(rows.gather(locations), rows_of([3]))
    with pytest.warns(StoreWarning, match=r"features of shard-.* do not match .* set aside as shard-.*\.h5\.damaged"):
        rows, locations = again.find(digests_of([1, 2, 3]))
    np.testing.assert_array_equal(locations[:2], [-1, -1])
    np.testing.assert_array_equal(rows.gather(locations[2:]), rows_of([3]))
    assert not first.exists()
    assert first.with_name(first.name + ".damaged").exists()


def test_a_row_that_stands_in_another_shard_as_well_is_found_there(store, tmp_path):
    put(store, [1])
    (first,) = store.directory.glob("*.h5")
    put(store, [1])
    data = bytearray(first.read_bytes())
    data[data.index(rows_of([1]).tobytes())] ^= 4
    first.write_bytes(data)
    again = FeatureStore(tmp_path, DESCRIPTION)
    again.snapshot = type(again.snapshot)(
        sorted(again.snapshot.shards, key=lambda shard: shard.path != first), (3,), again.dtype
    )
    with pytest.warns(StoreWarning):
        rows, locations = again.find(digests_of([1]))
    np.testing.assert_array_equal(rows.gather(locations), rows_of([1]))


@pytest.fixture
def unreadable(monkeypatch):
    """Let no shard be opened as long as the context lasts."""

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    @contextlib.contextmanager
    def during():
        with monkeypatch.context() as patch:
            patch.setattr(_shards, "read_structure", refuse)
            patch.setattr(_shards, "read_through", refuse)
            yield

    return during


def test_a_shard_that_cannot_be_opened_is_left_alone_and_tried_again(store, tmp_path, unreadable):
    put(store, [1])
    (shard,) = store.directory.glob("*.h5")
    with unreadable():
        with pytest.warns(StoreWarning, match=r"cannot be read now \(.*Permission denied.* the file is left alone"):
            again = FeatureStore(tmp_path, DESCRIPTION)
        again.refresh()  # warns once
        assert again.find(digests_of([1]))[1][0] == -1
    assert shard.exists()
    again.refresh()
    np.testing.assert_array_equal(get(again, [1]), rows_of([1]))


def look_as_nobody(directory, queue):
    store = FeatureStore(directory, DESCRIPTION)  # imports what it needs
    os.setgid(65534)
    os.setuid(65534)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        missed = FeatureStore(directory, DESCRIPTION).find(digests_of([1]))[1][0]
    queue.put((len(store), int(missed), str(caught[0].message)))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may become somebody else")
def test_another_user_without_permission_harms_no_shard():
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        put(FeatureStore(directory, DESCRIPTION), [1])
        (shard,) = Path(directory).rglob("*.h5")
        shard.chmod(0o600)
        shard.parent.chmod(0o777)  # so that the file could be renamed
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        worker = context.Process(target=look_as_nobody, args=(directory, queue))
        worker.start()
        rows, missed, warning = queue.get(timeout=60)
        worker.join(60)
        assert (rows, missed) == (1, -1)
        assert "Permission denied" in warning
        assert shard.exists()


def test_a_shard_that_cannot_be_read_to_be_verified_is_left_alone(store, tmp_path, monkeypatch):
    put(store, [1])
    (shard,) = store.directory.glob("*.h5")
    again = FeatureStore(tmp_path, DESCRIPTION)

    def fail(*args):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(_shards, "checksum_of_file", fail)
        with pytest.warns(StoreWarning, match="Input/output error"):
            assert again.find(digests_of([1]))[1][0] == -1
    assert shard.exists()
    again.refresh()
    assert again.find(digests_of([1]))[1][0] == 0


def exhaust_descriptors(directory, queue):
    import resource

    store = FeatureStore(directory, DESCRIPTION)
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    spare = []
    with contextlib.suppress(OSError):
        while True:
            spare.append(os.open(os.devnull, os.O_RDONLY))
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        late = FeatureStore(directory, DESCRIPTION)
        missed = late.find(digests_of([1]))[1][0]
    for descriptor in spare:
        os.close(descriptor)
    queue.put((len(store), int(missed), len(late.refresh())))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors by /proc")
def test_a_process_out_of_file_descriptors_harms_no_shard(store, tmp_path):
    put(store, [1])
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    worker = context.Process(target=exhaust_descriptors, args=(tmp_path, queue))
    worker.start()
    assert queue.get(timeout=60) == (1, -1, 1)
    worker.join(60)
    assert not list(tmp_path.rglob("*.damaged"))


def test_many_small_shards_become_one(store, tmp_path):
    reader = FeatureStore(tmp_path, DESCRIPTION)
    for number in range(100):
        put(store, [number, 7])
        assert len(list(store.directory.glob("shard-*.h5"))) <= _small_shards.MANY_SMALL
    np.testing.assert_array_equal(get(store, range(100)), rows_of(range(100)))
    np.testing.assert_array_equal(get(reader, range(100)), rows_of(range(100)))
    np.testing.assert_array_equal(get(FeatureStore(tmp_path, DESCRIPTION), range(100)), rows_of(range(100)))


def test_large_shards_are_left_alone(store, monkeypatch):
    monkeypatch.setattr(_small_shards, "SMALL_BYTES", 24)
    for number in range(40):
        put(store, [2 * number, 2 * number + 1])
    assert len(list(store.directory.glob("shard-*.h5"))) == 40


def test_small_shards_are_put_together_up_to_a_size(store, monkeypatch):
    monkeypatch.setattr(_small_shards, "MANY_SMALL", 10**6)
    for number in range(40):
        put(store, [number])
    monkeypatch.setattr(_small_shards, "MANY_SMALL", 16)
    monkeypatch.setattr(_small_shards, "MERGED_BYTES", 20 * 12)
    put(store, [40])
    assert len(list(store.directory.glob("shard-*.h5"))) == 41 - 20 + 1
    np.testing.assert_array_equal(get(store, range(41)), rows_of(range(41)))


def test_a_damaged_small_shard_stops_no_writer(store, tmp_path):
    for number in range(_small_shards.MANY_SMALL):
        put(store, [number])
    path = sorted(store.directory.glob("shard-*.h5"))[0]
    data = bytearray(path.read_bytes())
    (shard,) = [each for each in store.snapshot.shards if each.path == path]
    data[shard.offset] ^= 1
    path.write_bytes(data)
    again = FeatureStore(tmp_path, DESCRIPTION)
    with pytest.warns(StoreWarning, match="set aside"):
        put(again, [100])
    np.testing.assert_array_equal(get(again, [100]), rows_of([100]))
    assert (again.find(digests_of(range(16)))[1] < 0).sum() == 1
    put(again, [101])
    assert len(list(again.directory.glob("shard-*.h5"))) == 2


def test_a_full_disk_stops_no_merging_writer(store, monkeypatch):
    for number in range(_small_shards.MANY_SMALL):
        put(store, [number])

    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_small_shards, "write_shard", fail)
        with store.writing():
            pass
    np.testing.assert_array_equal(get(store, range(16)), rows_of(range(16)))


def test_other_threads_look_up_rows_while_a_shard_is_written(store, monkeypatch):
    put(store, [1])

    def write(*args):
        looked_up = threading.Thread(target=lambda: seen.append(len(store.refresh())))
        looked_up.start()
        looked_up.join(10)
        return _shards.write_shard(*args)

    seen = []
    monkeypatch.setattr(_store, "write_shard", write)
    put(store, [2])
    assert seen == [1]


def read_with_few_descriptors(directory, limit, queue):
    import resource

    store = FeatureStore(directory, DESCRIPTION)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    found = get(store, range(60))
    _shards.map_rows.cache_clear()
    spare = []
    with contextlib.suppress(OSError):
        while True:
            spare.append(os.open(os.devnull, os.O_RDONLY))
    os.close(spare.pop())  # enough to read a file, not to map it
    again = get(store, range(60))
    for descriptor in spare:
        os.close(descriptor)
    queue.put((found, again))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="limits descriptors")
def test_more_shards_than_file_descriptors(store, tmp_path):
    for number in range(60):
        put(store, [number])
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    worker = context.Process(target=read_with_few_descriptors, args=(tmp_path, 40, queue))
    worker.start()
    mapped, read = queue.get(timeout=60)
    worker.join(60)
    np.testing.assert_array_equal(mapped, rows_of(range(60)))
    np.testing.assert_array_equal(read, rows_of(range(60)))


def test_a_directory_that_cannot_be_listed_forgets_nothing(store, monkeypatch):
    put(store, [1])

    def fail(path):
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr("skcnn.cache._store.os.scandir", fail)
    np.testing.assert_array_equal(get(store, [1]), rows_of([1]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(store, value):
    with store.writing(), pytest.raises(ValueError, match="NaN or infinite values are never stored"):
        store.put(digests_of([1]), np.full((1, 3), value, np.float32))
    assert not list(store.directory.glob("*.h5"))


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "uint8"])
@pytest.mark.parametrize("row_shape", [(), (5,), (2, 3, 4), (2, 3, 4, 1)], ids=str)
def test_rows_of_every_dtype_and_rank(tmp_path, dtype, row_shape):
    rows = np.random.default_rng(0).integers(0, 256, (3, *row_shape)).astype(dtype)
    store = FeatureStore(tmp_path, DESCRIPTION, dtype)
    keys = np.arange(60, dtype=np.uint8).reshape(3, 20)
    with store.writing():
        store.put(keys, rows)
    found, locations = FeatureStore(tmp_path, DESCRIPTION, dtype).find(keys)
    np.testing.assert_array_equal(found.gather(locations), rows, strict=True)


def test_another_dtype_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'dtype' parameter must be one of .*'float32'.* Got 'int8' instead"):
        FeatureStore(tmp_path, DESCRIPTION, "int8")


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        ([0.5, 1.0], "uint8", r"values from 0.5 to 1 are no whole numbers in \[0, 255\]; use dtype='float32'"),
        ([-1.0, 3.0], "uint8", "values from -1 to 3 are no whole numbers"),
        ([0.0, 256.0], "uint8", "values from 0 to 256 are no whole numbers"),
        ([1.0, 70_000.0], "float16", "values of up to 7e[+]04 do not fit float16; use dtype='float32'"),
    ],
)
def test_values_that_a_dtype_cannot_hold(values, dtype, message):
    with pytest.raises(ValueError, match=message):
        fit_dtype(np.array([values], np.float32), np.dtype(dtype))


def test_values_that_a_dtype_can_hold():
    rows = np.array([[0, 255]], np.float32)
    np.testing.assert_array_equal(fit_dtype(rows, np.dtype("uint8")), np.array([[0, 255]], np.uint8), strict=True)
    assert fit_dtype(rows, np.dtype("float32")) is rows
