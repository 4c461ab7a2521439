"""A lock works as any other, and in a forked child nobody holds it."""

import os
import threading

import pytest

from skcnn._locks import Lock


def test_one_thread_at_a_time():
    lock, inside, most = Lock(), [], []

    def work():
        for _ in range(200):
            with lock:
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


def test_it_is_released_by_an_error():
    lock = Lock()
    with pytest.raises(ValueError, match="inside"), lock:
        raise ValueError("inside")
    with lock:
        pass


def test_a_reentrant_lock_may_be_taken_twice():
    lock = Lock(reentrant=True)
    with lock, lock:
        pass


def in_child(action):
    """Return whether `action` came to its end in a forked child within ten seconds."""
    child = os.fork()
    if child == 0:
        watch = threading.Timer(10, os._exit, (1,))
        watch.daemon = True
        watch.start()
        action()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("reentrant", [False, True])
def test_a_child_can_take_a_lock_that_another_thread_of_its_parent_holds(reentrant):
    lock, held, end = Lock(reentrant=reentrant), threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            end.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def take():
        with lock:
            pass

    try:
        assert in_child(take)
    finally:
        end.set()
        thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_is_forked_while_its_own_thread_holds_a_lock_can_release_it():
    lock = Lock()

    def go_on():
        lock.__exit__()
        with lock:
            pass

    with lock:
        assert in_child(go_on)
