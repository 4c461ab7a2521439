import threading
import time

import joblib
import pytest

from skcnn._parallel import available_threads, bounded_map


def no_threads_left():
    return not [thread for thread in threading.enumerate() if thread.name.startswith("skcnn")]


@pytest.mark.parametrize("window", [1, 2, 5, 100])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_results_come_in_order(n_threads, window):
    def work(item):
        time.sleep(0.002 * (item % 3))
        return item * item

    results = bounded_map(work, range(20), n_threads=n_threads, window=window)
    assert list(results) == [item * item for item in range(20)]
    assert no_threads_left()


def test_no_items():
    assert list(bounded_map(str, [], n_threads=2, window=3)) == []


def test_items_are_read_lazily_and_the_window_bounds_them():
    read, done = [], []

    def items():
        for item in range(50):
            read.append(item)
            yield item

    results = bounded_map(done.append, items(), n_threads=2, window=4)
    assert read == []
    for taken in range(1, 20):
        next(results)
        time.sleep(0.002)
        assert len(read) == taken + 3
        assert len(done) <= taken + 3
    results.close()
    assert len(done) <= 22
    assert no_threads_left()


def test_as_many_at_a_time_as_there_are_threads():
    lock, running, most = threading.Lock(), 0, 0

    def work(item):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    list(bounded_map(work, range(12), n_threads=3, window=12))
    assert most == 3


def test_an_error_arrives_in_its_place():
    def work(item):
        if item == 3:
            raise KeyError("three")
        return item

    results = bounded_map(work, range(10), n_threads=2, window=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="three"):
        next(results)
    assert no_threads_left()


def test_an_error_of_the_items_is_passed_on():
    def items():
        yield 1
        raise LookupError("no second item")

    with pytest.raises(LookupError, match="no second item"):
        list(bounded_map(str, items(), n_threads=2, window=4))
    assert no_threads_left()


def test_what_has_not_begun_is_cancelled():
    begun = []
    release = threading.Event()

    def work(item):
        begun.append(item)
        if item:
            release.wait(5)
        return item

    results = bounded_map(work, range(100), n_threads=2, window=50)
    assert next(results) == 0
    threading.Timer(0.05, release.set).start()
    results.close()
    # One that finished, two that were running; perhaps one more that was picked up meanwhile.
    assert len(begun) <= 5
    assert no_threads_left()


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", 1), ("3", 3), ("64", 8), ("", 8), ("0", 8), ("-2", 8), ("many", 8), ("2,1", 8), (None, 8)],
)
def test_available_threads(value, expected, monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    if value is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert available_threads() == expected
