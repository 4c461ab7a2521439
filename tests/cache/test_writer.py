import numpy as np
import pytest

from skcnn.cache import FeatureStore, _writer
from skcnn.cache._writer import ShardWriter
from skcnn.exceptions import StoreWarning


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path, {"network": "test"})


def digests(start, count):
    return [index.to_bytes(20, "big") for index in range(start, start + count)]


def refuse(digests, rows):
    pytest.fail("rows came back that should be stored")


def shards(store):
    return len(list(store.directory.glob("shard-*.h5")))


def test_rows_wait_for_a_flush(store):
    with store.writing():
        writer = ShardWriter(store, refuse)
        writer.add(digests(0, 2), np.zeros((2, 3), np.float32))
        writer.add(digests(2, 1), np.ones((1, 3), np.float32))
        assert shards(store) == 0
        writer.flush()
        writer.flush()
    assert shards(store) == 1
    assert len(store) == 3


@pytest.mark.parametrize(("limit", "value"), [("SHARD_ROWS", 4), ("SHARD_BYTES", 48), ("SHARD_SECONDS", 0.0)])
def test_a_shard_is_finished_by_rows_bytes_or_seconds(store, monkeypatch, limit, value):
    monkeypatch.setattr(_writer, limit, value)
    with store.writing():
        ShardWriter(store, refuse).add(digests(0, 4), np.zeros((4, 3), np.float32))
    assert shards(store) == 1


def test_a_store_that_fails_is_given_up_with_one_warning(store, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(store, "put", fail)
    kept = []
    writer = ShardWriter(store, lambda digests, rows: kept.append((list(digests), rows.tolist())))
    writer.add(digests(0, 1), np.zeros((1, 3), np.float32))
    with pytest.warns(StoreWarning, match=r"cannot be written \(disk full\).*not kept") as caught:
        writer.flush()
        writer.add(digests(1, 1), np.ones((1, 3), np.float32))
        writer.flush()
    assert len(caught) == 1
    assert kept == [(digests(0, 1), [[0, 0, 0]]), (digests(1, 1), [[1, 1, 1]])]
