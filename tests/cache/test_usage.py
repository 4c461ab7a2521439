import gc
import os
import time

import numpy as np
import pytest

from skcnn import _aside
from skcnn.cache import FeatureCache, _usage
from skcnn.cache._usage import Usage, is_used_by_others, last_used


@pytest.fixture
def directory(tmp_path):
    directory = tmp_path / "store"
    directory.mkdir()
    return directory


def test_a_store_is_in_use_as_long_as_somebody_holds_a_use(directory):
    usage = Usage(directory)
    with usage.unless_used() as is_free:
        assert is_free
    first, second = usage.begin(), usage.begin()
    del first
    gc.collect()
    with usage.unless_used() as is_free:
        assert not is_free
    del second
    gc.collect()
    with usage.unless_used() as is_free:
        assert is_free


def test_the_own_process_is_no_other(directory):
    use = Usage(directory).begin()
    assert not is_used_by_others(directory)
    del use


def use_and_wait(directory, ready, end):
    Usage(directory).begin()
    ready.set()
    end.wait(60)


def test_another_process_uses_a_store_until_it_ends(directory, in_child):
    stop = in_child(use_and_wait, directory)
    assert is_used_by_others(directory)
    stop()
    assert not is_used_by_others(directory)
    assert not list(directory.glob("used-by-*"))


def test_another_process_that_reads_nothing_for_an_hour_uses_it_no_more(directory, in_child):
    in_child(use_and_wait, directory)
    (file,) = directory.glob("used-by-*")
    before = time.time() - _aside.ABANDONED_SECONDS - 60
    os.utime(file, (before, before))
    assert not is_used_by_others(directory)
    assert file.exists()


def test_a_process_of_another_machine_uses_it_for_an_hour(directory):
    file = directory / "used-by-0123abcd-17"
    file.touch()
    assert is_used_by_others(directory)
    before = time.time() - _aside.ABANDONED_SECONDS - 60
    os.utime(file, (before, before))
    assert not is_used_by_others(directory)


def test_times_are_renewed_once_a_minute(directory, monkeypatch):
    usage, clock = Usage(directory), [1000.0]
    monkeypatch.setattr(_usage.time, "monotonic", lambda: clock[0])
    usage.touch()
    for file in directory.iterdir():
        os.utime(file, (1, 1))
    usage.touch()
    assert last_used(directory) == 1
    clock[0] += 61
    usage.touch()
    assert last_used(directory) > 1
    assert all(file.stat().st_mtime > 1 for file in directory.iterdir())


def test_what_ended_processes_left_is_removed_by_the_next_that_uses_the_store(directory):
    left = directory / f"used-by-{_aside.this_machine()}-{2**30}"
    left.touch()
    Usage(directory).touch()
    assert not left.exists()


def test_a_directory_that_is_not_there_is_not_made(tmp_path):
    usage = Usage(tmp_path / "missing")
    usage.begin()
    assert not usage.directory.exists()
    assert not is_used_by_others(usage.directory)
    assert last_used(usage.directory) == 0


def test_whoever_holds_features_uses_their_store(cache, fill):
    from skcnn.features import RawPixels, extract

    images = np.zeros((2, 4, 4, 3), np.uint8)
    features = extract(images, RawPixels((4, 4, 3)), FeatureCache.open(cache.directory))
    with features.store.usage.unless_used() as is_free:
        assert not is_free
    usage = features.store.usage
    del features
    gc.collect()
    with usage.unless_used() as is_free:
        assert is_free
