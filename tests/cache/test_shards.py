import errno
import os

import h5py
import numpy as np
import pytest

from skcnn.cache import _shards
from skcnn.cache._shards import (
    ShardDamagedError,
    ShardForeignError,
    open_shard,
    sync_to_disk,
    write_shard,
)

FLOAT32 = np.dtype("float32")


@pytest.fixture
def written(tmp_path):
    digests = np.random.default_rng(0).integers(0, 256, (5, 20), dtype=np.uint8)
    features = np.random.default_rng(1).random((5, 3)).astype(np.float32)
    return write_shard(tmp_path, digests, features), digests, features


def test_round_trip(written):
    path, digests, features = written
    shard = open_shard(path, (3,), FLOAT32)
    np.testing.assert_array_equal(shard.digests, digests)
    np.testing.assert_array_equal(shard.features, features)
    assert isinstance(shard.features, np.memmap)
    assert not shard.features.flags.writeable
    assert shard.features.flags.aligned


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("shape", [(2,), (1, 2, 3), ()])
def test_rows_of_any_rank(tmp_path, dtype, shape):
    features = np.random.default_rng(0).random((4, *shape)).astype(dtype)
    path = write_shard(tmp_path, np.zeros((4, 20), np.uint8), features)
    np.testing.assert_array_equal(open_shard(path, shape, np.dtype(dtype)).features, features)


def test_the_layout_is_plain_hdf5(written):
    path, digests, features = written
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["keys"], digests)
        np.testing.assert_array_equal(file["features"], features)
        assert file.attrs["version"] == 3
        assert set(file.attrs) == {"version", "features_checksum", "keys_checksum"}


def test_nothing_else_is_left_in_the_folder(written, tmp_path):
    assert list(tmp_path.iterdir()) == [written[0]]


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.999])
def test_a_shard_cut_short_is_damaged(written, keep):
    path = written[0]
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(ShardDamagedError, match="shard-"):
        open_shard(path, (3,), FLOAT32)


def test_other_digests_are_damage(written):
    path, digests, _ = written
    data = bytearray(path.read_bytes())
    data[data.index(digests.tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(ShardDamagedError, match="do not match their checksum"):
        open_shard(path, (3,), FLOAT32)


@pytest.mark.parametrize(("shape", "dtype"), [((4,), "float32"), ((3,), "float16"), ((3, 1), "float32")])
def test_rows_of_another_kind_are_foreign_not_damaged(written, shape, dtype):
    with pytest.raises(ShardForeignError, match=r"holds float32\(5, 3\), expected"):
        open_shard(written[0], shape, np.dtype(dtype))


def test_another_version_is_foreign_not_damaged(written):
    with h5py.File(written[0], "r+") as file:
        file.attrs["version"] = 99
    with pytest.raises(ShardForeignError, match="version 99"):
        open_shard(written[0], (3,), FLOAT32)


def test_a_file_of_the_older_hdf5_format_is_never_given_to_hdf5(tmp_path, monkeypatch):
    path = tmp_path / "shard-1.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        file.attrs["keys_checksum"] = "a string of variable length, which lies in the global heap"
    monkeypatch.setattr(h5py, "File", lambda *args, **options: pytest.fail("it was opened"))
    with pytest.raises(ShardDamagedError, match="is no whole shard: it does not begin as one"):
        open_shard(path, (3,), FLOAT32)


def test_attributes_are_of_fixed_length(written):
    with h5py.File(written[0]) as file:
        for name in file.attrs:
            kind = file.attrs.get_id(name).get_type()
            assert not (isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str())


def test_a_text_file_is_no_shard(tmp_path):
    path = tmp_path / "shard-1.h5"
    path.write_text("hello")
    with pytest.raises(ShardDamagedError, match="is no whole shard"):
        open_shard(path, (3,), FLOAT32)


def flip_a_bit(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("row", range(5))
def test_one_flipped_bit_in_any_row_is_found_when_it_is_verified(written, row):
    shard = open_shard(written[0], (3,), FLOAT32)
    flip_a_bit(written[0], shard.offset + row * 12 + 5)
    with pytest.raises(ShardDamagedError, match="the features of shard-.* do not match their checksum"):
        shard.verify()


def test_rows_are_verified_once(written, monkeypatch):
    shard = open_shard(written[0], (3,), FLOAT32)
    read = []
    checksum_of_file = _shards.checksum_of_file
    monkeypatch.setattr(_shards, "checksum_of_file", lambda *args: read.append(args) or checksum_of_file(*args))
    shard.verify()
    shard.verify()
    assert len(read) == 1


def test_rows_larger_than_one_read_are_verified(tmp_path, monkeypatch):
    monkeypatch.setattr(_shards, "READ_BYTES", 1000)
    rows = np.random.default_rng(0).random((1000, 3)).astype(np.float32)
    shard = open_shard(write_shard(tmp_path, np.zeros((1000, 20), np.uint8), rows), (3,), FLOAT32)
    shard.verify()
    flip_a_bit(shard.path, shard.offset + 7321)
    shard.verified = False
    with pytest.raises(ShardDamagedError):
        shard.verify()


def test_a_file_cut_short_after_it_was_opened_is_damage(written):
    shard = open_shard(written[0], (3,), FLOAT32)
    os.truncate(written[0], shard.offset + 10)
    with pytest.raises(ShardDamagedError):
        shard.verify()
    with pytest.raises(OSError, match="cannot be mapped"):
        _ = shard.features


@pytest.mark.parametrize(
    "failure", [OSError(errno.EIO, "Input/output error"), OSError(errno.EMFILE, "Too many open files")]
)
def test_a_file_that_cannot_be_read_is_not_called_damaged(written, monkeypatch, failure):
    def h5py_fails(path):
        raise OSError("Unable to synchronously open file")

    def reading_fails(path):
        raise failure

    monkeypatch.setattr(_shards, "read_structure", h5py_fails)
    monkeypatch.setattr(_shards, "read_through", reading_fails)
    with pytest.raises(OSError, match=failure.strerror):
        open_shard(written[0], (3,), FLOAT32)


def test_a_file_that_could_not_be_read_for_a_moment_is_opened(written, monkeypatch):
    read_structure, failures = _shards.read_structure, [OSError("errno = 24, too many open files")]

    def fail_once(path):
        if failures:
            raise failures.pop()
        return read_structure(path)

    monkeypatch.setattr(_shards, "read_structure", fail_once)
    np.testing.assert_array_equal(open_shard(written[0], (3,), FLOAT32).digests, written[1])


def test_memory_maps_in_use_are_bounded(tmp_path, monkeypatch):
    shards = [
        open_shard(write_shard(tmp_path, np.zeros((1, 20), np.uint8), np.full((1, 3), i, np.float32)), (3,), FLOAT32)
        for i in range(_shards.MAX_MAPS + 60)
    ]
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    assert [shard.features[0, 0] for shard in shards] == list(range(len(shards)))
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) <= before + _shards.MAX_MAPS


def test_a_file_is_synced_through_a_descriptor_that_may_write(written, monkeypatch):
    flags = []
    os_open = os.open
    monkeypatch.setattr(_shards.os, "open", lambda path, flag: flags.append(flag) or os_open(path, flag))
    sync_to_disk(written[0])
    assert flags == [os.O_RDWR]


def test_a_disk_that_cannot_sync_directories_is_no_error(tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(_shards.os, "fsync", refuse)
    sync_to_disk(tmp_path)
