import threading

import pytest

from skcnn.cache import FeatureCache
from skcnn.cache._contents import entries_of, remove_entry


def test_entries_say_what_is_stored(cache, fill):
    fill(cache, "lite0", rows=(1, 2, 3))
    (entry,) = cache.entries()
    assert (entry.what, entry.layer, entry.image_size, entry.is_readable) == ("lite0", "top", "8 x 8", True)
    assert entry.bytes == sum(path.stat().st_size for path in entry.directory.iterdir())
    assert 0 <= entry.age() < 60
    summary = entry.summary()
    assert summary["images"] == 3
    assert summary["row_shape"] == [12_500]
    assert summary["dtype"] == "float32"
    assert cache.size == entry.bytes


def test_a_cache_that_is_not_there_is_empty(cache):
    assert cache.entries() == []
    assert cache.size == 0
    assert cache.verify() == {}
    assert cache.compact() == 0
    assert cache.clear() == ([], [])
    assert not cache.directory.exists()


@pytest.mark.parametrize("name", ["lite0", "LITE0", "networks/Lite0", "lite1"])
def test_a_backbone_is_found_by_its_name(cache, fill, name):
    fill(cache, "networks/lite0")
    assert cache.entries()[0].matches(name) == (name != "lite1")


def test_clear_removes_what_is_asked_for(cache, fill):
    for name in "abc":
        fill(cache, name)
    removed, in_use = cache.clear(backbone="b", dry_run=True)
    assert [entry.what for entry in removed] == ["b"]
    assert len(cache.entries()) == 3
    removed, in_use = cache.clear(backbone="b")
    assert [entry.what for entry in removed] == ["b"]
    assert {entry.what for entry in cache.entries()} == {"a", "c"}
    assert cache.clear(older_than="1h") == ([], [])
    assert cache.clear(unreadable=True) == ([], [])
    use = cache.store({"network": "a"}).usage.begin()
    removed, in_use = cache.clear()
    assert [entry.what for entry in removed] == ["c"]
    assert [entry.what for entry in in_use] == ["a"]
    del use


def test_clear_all_forgets_files_and_networks_too(cache, fill):
    fill(cache, "a")
    cache.memo("layers").put({"question": 1}, "answer")
    cache.digests.file.write_bytes(b"")
    cache.clear(backbone="a")
    assert len(list(cache.directory.iterdir())) == 2
    cache.clear()
    assert list(cache.directory.iterdir()) == []
    assert cache.memo("layers").get({"question": 1}) is None


def test_rows_are_stored_again_after_everything_was_removed(cache, fill):
    store = fill(cache, "a")
    cache.clear()
    fill(cache, "a")
    assert len(store.refresh()) == 2
    assert len(FeatureCache(cache.directory).store({"network": "a"})) == 2


@pytest.mark.parametrize("stranger", ["notes.txt", "folder"])
def test_a_directory_with_files_of_others_is_left_alone(cache, fill, stranger):
    directory = fill(cache, "a").directory
    (directory / stranger).mkdir() if stranger == "folder" else (directory / stranger).write_text("mine")
    assert cache.entries() == []
    assert cache.clear() == ([], [])
    assert (directory / stranger).exists()


def test_a_writer_that_waited_for_a_removed_directory_makes_it_again(cache, fill, monkeypatch):
    from skcnn.cache import _contents

    store = fill(cache, "a")
    waiting = threading.Thread(target=fill, args=(FeatureCache(cache.directory), "a", (5, 6)))

    def start_writer(directory):
        waiting.start()
        waiting.join(1)
        return False

    monkeypatch.setattr(_contents, "is_used_by_others", start_writer)
    assert remove_entry(store.directory) in (True, False)
    waiting.join(60)
    assert not waiting.is_alive()
    again = FeatureCache(cache.directory).store({"network": "a"})
    assert len(again) == 2
    assert len(entries_of(cache.directory)) == 1


def test_verify_finds_damaged_files_and_sets_them_aside(cache, fill):
    fill(cache, "a")
    store = fill(cache, "b")
    (path,) = store.directory.glob("shard-*.h5")
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="do not match their checksum; it is set aside"):
        assert cache.verify() == {store.directory: [path.name]}
    assert cache.verify() == {store.directory: [path.name]}
    assert cache.compact() > 100_000
    assert cache.verify() == {}


def test_compact_puts_small_files_together(cache, fill):
    for row in range(10):
        store = fill(cache, "a", rows=[row])
    assert len(list(store.directory.glob("shard-*.h5"))) == 10
    assert cache.compact() > 0
    assert len(list(store.directory.glob("shard-*.h5"))) == 1
    assert len(store.refresh()) == 10
