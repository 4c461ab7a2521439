import h5py
import numpy as np
import pytest

from skcnn.cache._shards import ShardDamagedError, ShardForeignError, open_shard, temporary_beside, write_shard

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
        assert file.attrs["version"] == 1
        assert set(file.attrs) == {"version", "checksum", "digests_checksum"}


def test_nothing_else_is_left_in_the_folder(written, tmp_path):
    assert list(tmp_path.iterdir()) == [written[0]]


@pytest.mark.parametrize("keep", [0, 100, 4000, -1])
def test_a_shard_cut_short_is_damaged(written, keep):
    path = written[0]
    path.write_bytes(path.read_bytes()[:keep])
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
def test_rows_of_another_kind_are_damage(written, shape, dtype):
    with pytest.raises(ShardDamagedError, match=r"holds float32\(5, 3\), expected"):
        open_shard(written[0], shape, np.dtype(dtype))


def test_another_version_is_foreign_not_damaged(written):
    with h5py.File(written[0], "r+") as file:
        file.attrs["version"] = 99
    with pytest.raises(ShardForeignError, match="version 99"):
        open_shard(written[0], (3,), FLOAT32)


def test_a_text_file_is_no_shard(tmp_path):
    path = tmp_path / "shard-1.h5"
    path.write_text("hello")
    with pytest.raises(ShardDamagedError, match="cannot be opened"):
        open_shard(path, (3,), FLOAT32)


def test_temporary_beside_leaves_nothing_when_the_writing_fails(tmp_path):
    with pytest.raises(RuntimeError), temporary_beside(tmp_path / "final") as partial:
        partial.write_text("half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())
