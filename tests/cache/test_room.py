import os
import shutil
import time
import types

import numpy as np
import pytest

from skcnn import CNNFeatureExtractor
from skcnn.cache import FeatureCache, _room
from skcnn.cache._room import limit_of
from skcnn.exceptions import StoreWarning

KB = 1000


def size_of_all_files(directory):
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def what_is_stored(cache):
    return {entry.what for entry in cache.entries()}


def set_last_use(cache, **days):
    """Set how many days ago stores were last used."""
    for entry in cache.entries():
        if entry.what in days:
            then = time.time() - 86_400 * days[entry.what]
            os.utime(entry.directory / "used", (then, then))


def test_what_was_not_used_for_longest_is_removed_first(cache, fill):
    cache.limit = 400 * KB
    for name in "abc":
        fill(cache, name)
    set_last_use(cache, a=1, b=3, c=2)
    fill(cache, "d")
    assert what_is_stored(cache) == {"a", "c", "d"}
    fill(cache, "e")
    assert what_is_stored(cache) == {"a", "d", "e"}
    assert size_of_all_files(cache.directory) <= 400 * KB


def test_nothing_is_removed_below_the_limit(cache, fill):
    cache.limit = 400 * KB
    for name in "abc":
        fill(cache, name)
    for name in "abc":
        assert len(cache.store({"network": name})) == 2


def test_what_this_process_uses_stays_and_a_warning_says_why(cache, fill):
    cache.limit = 250 * KB
    used = [fill(cache, name).usage.begin() for name in "ab"]
    set_last_use(cache, a=9, b=8)
    with pytest.warns(StoreWarning, match=r"takes 3\d\d kB, more than its limit of 250 kB; what it holds is in use"):
        fill(cache, "c")
    assert what_is_stored(cache) == {"a", "b", "c"}
    fill(cache, "d")  # says it once
    del used
    fill(cache, "e")
    assert "e" in what_is_stored(cache)
    assert size_of_all_files(cache.directory) <= 250 * KB


def test_what_is_used_through_another_object_stays(cache, fill):
    """As by the clones of an estimator that was given a cache object."""
    cache.limit = 250 * KB
    use = fill(FeatureCache(cache.directory), "a").usage.begin()
    set_last_use(cache, a=9)
    for name in "bcd":
        fill(cache, name)
    assert what_is_stored(cache) == {"a", "d"}
    del use


def test_what_was_removed_and_is_filled_again_is_in_use_for_others(cache, fill):
    fill(cache, "a")
    cache.clear()
    directory = fill(cache, "a").directory
    assert {path.name.partition("-")[0] for path in directory.glob("used*")} == {"used"}
    assert len(list(directory.glob("used-by-*"))) == 1


def read_and_wait(directory, ready, end):
    store = FeatureCache(directory).store({"network": "a"})
    use = store.usage.begin()
    ready.set()
    end.wait(60)
    digests = np.zeros((2, 20), np.uint8)
    digests[:, 0] = 0, 1
    rows, found = store.find(digests)
    assert (rows.gather(found) == 7).all()
    del use


@pytest.mark.slow
def test_what_another_process_uses_stays(cache, fill, in_child):
    cache.limit = 250 * KB
    fill(cache, "a")
    stop = in_child(read_and_wait, cache.directory)
    set_last_use(cache, a=9)
    for name in "bcd":
        fill(cache, name)
    assert what_is_stored(cache) == {"a", "d"}
    stop()
    fill(cache, "e")
    fill(cache, "f")
    assert "a" not in what_is_stored(cache)


def write_and_wait(directory, ready, end):
    store = FeatureCache(directory).store({"network": "a"})
    with store.writing():
        ready.set()
        end.wait(60)
        store.put(np.full((1, 20), 9, np.uint8), np.ones((1, 12_500), np.float32))


@pytest.mark.slow
def test_what_another_process_writes_stays(cache, fill, in_child):
    cache.limit = 250 * KB
    fill(cache, "a")
    stop = in_child(write_and_wait, cache.directory)
    for file in (cache.directory / cache.entries()[0].directory.name).glob("used*"):
        file.unlink()
    for name in "bcd":
        fill(cache, name)
    assert what_is_stored(cache) == {"a", "d"}
    stop()
    assert len(cache.store({"network": "a"})) == 3


def test_many_small_writes_stay_below_the_limit(cache, fill):
    cache.limit = 400 * KB
    for number in range(40):
        fill(cache, f"{number % 7}", rows=[number])
        assert size_of_all_files(cache.directory) <= 400 * KB


def test_rows_that_were_removed_are_computed_again(cache, fill):
    cache.limit = 250 * KB
    store = fill(cache, "a")
    fill(cache, "b")
    fill(cache, "c")
    assert len(store.refresh()) == 0
    fill(cache, "a", rows=(3, 4))
    assert len(cache.store({"network": "a"})) == 2


def test_five_backbones_stay_below_the_limit_and_the_one_in_use_is_kept(tmp_path):
    """As a search over backbones fills it, each network used again after the others."""
    import keras

    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)

    def network(seed):
        inputs = keras.Input((8, 8, 3))
        kernel = keras.initializers.RandomNormal(seed=seed)
        return keras.Model(inputs, keras.layers.Dense(1250, kernel_initializer=kernel)(keras.layers.Flatten()(inputs)))

    cache = FeatureCache(tmp_path / "cache", limit="350 kB")
    extractors = [CNNFeatureExtractor(network(seed), layer=-1, cache=cache, batch_size=4) for seed in range(5)]
    expected = [extractor.fit_transform(images) for extractor in extractors]
    for extractor, features in zip(extractors, expected, strict=True):
        assert size_of_all_files(cache.directory) <= 350 * KB
        np.testing.assert_array_equal(extractor.transform(images), features)
        hits = extractor.cache_info().hits
        extractor.transform(images)
        assert extractor.cache_info().hits == hits + 20
    assert len(cache.entries()) == 3


def test_features_that_are_held_can_be_read_after_the_cache_was_filled(tmp_path):
    from skcnn.features import RawPixels, extract

    cache = FeatureCache(tmp_path / "cache", limit="200 kB")
    images = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    features = extract(images, RawPixels((32, 32, 3)), cache)
    for size in range(20, 30):
        extract(images, RawPixels((size, size, 3)), cache)
    np.testing.assert_array_equal(features[:], images)


def test_the_limit_comes_from_the_environment(cache, fill, monkeypatch):
    monkeypatch.setenv("SKCNN_CACHE_LIMIT", "250 kB")
    assert cache.limit_in_effect == 250 * KB
    for name in "abc":
        fill(cache, name)
    assert len(cache.entries()) == 2
    cache.limit = "inf"
    for name in "abc":
        fill(cache, name)
    assert len(cache.entries()) == 3


def test_a_smaller_limit_holds_from_the_next_rows_on(cache, fill):
    cache.limit = "1 GB"
    for name in "abc":
        fill(cache, name)
    cache.limit = 250 * KB
    fill(cache, "d")
    assert size_of_all_files(cache.directory) <= 250 * KB


def test_a_wrong_limit_is_told_at_once(cache, fill, monkeypatch):
    with pytest.raises(ValueError, match="The limit of a cache must be a size above 0"):
        FeatureCache(cache.directory, limit="much")
    monkeypatch.setenv("SKCNN_CACHE_LIMIT", "much")
    with pytest.raises(ValueError, match="SKCNN_CACHE_LIMIT must be a size above 0 such as '20 GB'"):
        cache.store({"network": "a"})


def test_by_default_a_cache_takes_as_much_as_it_leaves_free(tmp_path, monkeypatch):
    monkeypatch.delenv("SKCNN_CACHE_LIMIT", raising=False)
    disk = types.SimpleNamespace(total=10**9, free=300)
    monkeypatch.setattr(_room.shutil, "disk_usage", lambda directory: disk)
    assert limit_of(tmp_path, 500) == 400
    disk.total = disk.free = 0  # some network disks say so
    assert limit_of(tmp_path, 500) == np.inf
    monkeypatch.undo()
    monkeypatch.delenv("SKCNN_CACHE_LIMIT", raising=False)
    assert limit_of(tmp_path / "missing", 0) == np.inf
    assert 0 < limit_of(tmp_path, 0) <= shutil.disk_usage(tmp_path).total


def test_what_an_earlier_version_stored_is_told_once_and_removed_first(cache, fill, caplog):
    cache.limit = 400 * KB
    fill(cache, "a")
    old = cache.directory / ("0" * 32)
    cache.entries()[0].directory.rename(old)
    cache = FeatureCache(cache.directory, limit=cache.limit)
    fill(cache, "b")
    assert len(caplog.records) == 1
    assert "104 kB" in caplog.text
    assert "were stored by an earlier version, which this one does not read" in caplog.text
    set_last_use(cache, b=5)
    os.utime(old / "used", (1, 1))
    for name in "cd":
        fill(cache, name)
    assert what_is_stored(cache) == {"b", "c", "d"}
    assert len(caplog.records) == 1


def test_a_copy_of_a_cache_keeps_its_limit(cache):
    import pickle

    cache.limit = "1 MB"
    again = pickle.loads(pickle.dumps(cache))
    assert again.limit == 1e6
    assert again is FeatureCache.open(cache.directory)
    assert pickle.loads(pickle.dumps(FeatureCache(cache.directory))).limit == 1e6
