import multiprocessing

import numpy as np
import pytest

from skcnn.cache import FeatureCache, Label


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache")


@pytest.fixture
def fill():
    """Return a function that stores rows of about 100 kB under a name, and returns the store."""

    def fill(cache, name, rows=(0, 1)):
        store = cache.store({"network": name}, label=Label(name, "top", "8 x 8"))
        digests = np.zeros((len(rows), 20), np.uint8)
        digests[:, 0] = rows
        with store.writing():
            store.put(digests, np.full((len(rows), 12_500), 7.0, np.float32))
        return store

    return fill


@pytest.fixture
def in_child():
    """Return a function that runs another in a process of its own, and returns a function that ends it."""
    context = multiprocessing.get_context("spawn")
    children = []

    def start(function, *args):
        ready, end = context.Event(), context.Event()
        child = context.Process(target=function, args=(*args, ready, end))
        child.start()
        children.append((child, end))
        assert ready.wait(60)

        def stop():
            end.set()
            child.join(60)
            assert child.exitcode == 0

        return stop

    yield start
    for child, end in children:
        end.set()
        child.join(10)
        if child.is_alive():
            child.kill()
