"""One cache for a directory, whoever opens it."""

import pickle
import threading

import numpy as np
import pytest

from skcnn.cache import FeatureCache, FeatureStore

DESCRIPTION = {"made by": "test"}


def digests(count):
    return np.arange(20 * count, dtype=np.uint8).reshape(count, 20)


def test_one_for_a_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cache = FeatureCache.open(tmp_path / "cache")
    assert FeatureCache.open("cache") is cache
    assert FeatureCache.open(str(tmp_path / "other" / ".." / "cache")) is cache
    assert FeatureCache.open(cache) is cache
    assert FeatureCache.open(tmp_path / "other") is not cache
    assert cache.directory == tmp_path / "cache"
    assert repr(cache) == f"FeatureCache({str(tmp_path / 'cache')!r})"


def test_the_user_cache_is_looked_up_at_each_call(tmp_path, monkeypatch, private_cache):
    assert FeatureCache.open(True).directory == private_cache
    monkeypatch.setenv("SKCNN_CACHE_DIR", str(tmp_path / "moved"))
    assert FeatureCache.open(True).directory == tmp_path / "moved"


def test_none_keeps_nothing():
    assert FeatureCache.open(None) is None
    assert FeatureCache.open(False) is None


@pytest.mark.parametrize("cache", [1, "", 2.5, ["cache"]])
def test_anything_else_is_refused(cache):
    with pytest.raises(ValueError, match="'cache' parameter must be True, a directory or None. Got"):
        FeatureCache.open(cache)


def test_opening_makes_no_directory(tmp_path):
    FeatureCache.open(tmp_path / "cache").store(DESCRIPTION)
    assert not list(tmp_path.iterdir())


def test_one_store_for_a_description_and_a_dtype(tmp_path):
    cache = FeatureCache.open(tmp_path)
    assert cache.store(DESCRIPTION) is cache.store(dict(DESCRIPTION), "float32")
    assert cache.store(DESCRIPTION, "uint8") is not cache.store(DESCRIPTION)
    assert cache.store({"made by": "others"}) is not cache.store(DESCRIPTION)


def test_a_store_knows_what_others_have_added_by_then(tmp_path):
    store = FeatureCache.open(tmp_path).store(DESCRIPTION)
    other = FeatureStore(tmp_path, DESCRIPTION)
    with other.writing():
        other.put(digests(2), np.zeros((2, 3), np.float32))
    assert len(store) == 0
    assert len(FeatureCache.open(tmp_path).store(DESCRIPTION)) == 2


def test_a_cache_and_a_store_travel_as_their_directory(tmp_path):
    cache = FeatureCache.open(tmp_path)
    store = cache.store(DESCRIPTION, "uint8")
    assert pickle.loads(pickle.dumps(cache)) is cache
    assert pickle.loads(pickle.dumps(store)) is store


def test_threads_open_one(tmp_path):
    barrier, stores = threading.Barrier(8), []

    def open_store():
        barrier.wait()
        stores.append(FeatureCache.open(tmp_path).store(DESCRIPTION))

    threads = [threading.Thread(target=open_store) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(stores) == 8
    assert len(set(map(id, stores))) == 1


def test_memos_have_folders_of_their_own(tmp_path):
    cache = FeatureCache.open(tmp_path)
    cache.memo("layers").put({"question": 1}, "answer")
    assert cache.memo("layers") is cache.memo("layers")
    assert cache.memo("others").get({"question": 1}) is None
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("layers-")
