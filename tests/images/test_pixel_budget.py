"""Threads never decode more pixels at a time than the limit, except one image alone."""

import os
import threading
import time

import pytest

from skcnn.images._pixel_budget import PixelBudget


@pytest.mark.parametrize(("sizes", "most"), [([40] * 10, 80), ([60] * 6, 60), ([500, 30, 30, 500, 30], 500)])
def test_no_more_than_the_limit(sizes, most):
    budget, lock, now, seen = PixelBudget(100), threading.Lock(), [0], []

    def decode(size):
        with budget.taken(size):
            with lock:
                now[0] += size
                seen.append(now[0])
            time.sleep(0.01)
            with lock:
                now[0] -= size

    threads = [threading.Thread(target=decode, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(seen) == len(sizes)
    assert max(seen) <= most


def test_an_error_gives_back_what_was_taken():
    budget = PixelBudget(100)
    with pytest.raises(MemoryError), budget.taken(100):
        raise MemoryError
    with budget.taken(100):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_begins_with_nothing_in_flight():
    budget = PixelBudget(100)
    with budget.taken(100):
        child = os.fork()
        if child == 0:
            threading.Timer(10, os._exit, (1,)).start()
            with budget.taken(100):
                os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
