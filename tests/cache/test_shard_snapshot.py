import numpy as np
import pytest

from skcnn.cache._shard_snapshot import ShardSnapshot, copy_rows
from skcnn.cache._shards import open_shard, write_shard


def digests_of(numbers):
    digests = np.zeros((len(numbers), 20), np.uint8)
    digests[:, 19] = numbers  # equal first eight bytes: the worst case for the index
    return digests


@pytest.fixture
def snapshot(tmp_path):
    features = np.arange(30, dtype=np.float32).reshape(10, 3)
    paths = [write_shard(tmp_path, digests_of(list(part)), features[part]) for part in (range(4), range(4, 10))]
    shards = [open_shard(path, (3,), np.dtype("float32")) for path in paths]
    return ShardSnapshot(shards, (3,), np.dtype("float32"))


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [9, 0, 4, 3], [7, 7, 7], list(range(10)), [2, 3, 4, 5], []])
def test_gather_crosses_shards_in_any_order(snapshot, order):
    locations = snapshot.find(digests_of(order))
    np.testing.assert_array_equal(snapshot.gather(locations), np.arange(30).reshape(10, 3)[order])


def test_gather_into_chosen_rows_leaves_the_others(snapshot):
    out = np.full((5, 3), -1, np.float32)
    snapshot.gather(snapshot.find(digests_of([8, 1])), out, np.array([4, 0]))
    np.testing.assert_array_equal(out, [[3, 4, 5], [-1] * 3, [-1] * 3, [-1] * 3, [24, 25, 26]])


def test_copy_rows_in_many_small_pieces(monkeypatch):
    monkeypatch.setattr("skcnn.cache._shard_snapshot.COPY_BYTES", 8)
    source = np.random.default_rng(0).random((50, 2)).astype(np.float32)
    rows, targets = np.random.default_rng(1).permutation(50), np.random.default_rng(2).permutation(50)
    out = np.zeros_like(source)
    copy_rows(source, rows, out, targets)
    np.testing.assert_array_equal(out[targets], source[rows])
