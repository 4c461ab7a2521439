import errno
import multiprocessing
import os
import signal
import threading
import time

import pytest

from skcnn.cache import _lock
from skcnn.cache._lock import WriterStalledError, writer_lock


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Everything twenty times as fast."""
    monkeypatch.setattr(_lock, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(_lock, "STALLED_SECONDS", 0.5)
    monkeypatch.setattr(_lock, "POLL_SECONDS", 0.05)


def test_a_waiting_writer_says_so_and_waits_as_long_as_the_holder_works(tmp_path, caplog):
    holding, ended = threading.Event(), threading.Event()

    def hold():
        with writer_lock(tmp_path) as heartbeat:
            holding.set()
            end = time.monotonic() + 4 * _lock.STALLED_SECONDS
            while time.monotonic() < end:
                time.sleep(_lock.POLL_SECONDS)
                heartbeat.beat()
            ended.set()

    holder = threading.Thread(target=hold)
    holder.start()
    assert holding.wait(10)
    with writer_lock(tmp_path) as heartbeat:
        assert heartbeat
        assert ended.is_set()
    holder.join()
    assert f"waiting for process {os.getpid()} on " in caplog.text
    assert caplog.text.count("waiting for") == 1


def hold_for_ever(directory, holding):
    with writer_lock(directory):
        holding.set()
        time.sleep(60)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="suspends a process by a POSIX signal")
def test_a_suspended_holder_is_not_waited_for(tmp_path):
    context = multiprocessing.get_context("spawn")
    holding = context.Event()
    holder = context.Process(target=hold_for_ever, args=(tmp_path, holding))
    holder.start()
    try:
        assert holding.wait(30)
        os.kill(holder.pid, signal.SIGSTOP)
        with pytest.raises(WriterStalledError, match=rf"process {holder.pid} on .* holds its writer lock, but has not"):
            writer_lock(tmp_path).__enter__()
    finally:
        holder.kill()
        holder.join(30)
    with writer_lock(tmp_path) as locked:  # the lock of a killed process is free
        assert locked


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("no flock")])
def test_a_file_system_without_locks_is_written_without_one(tmp_path, monkeypatch, caplog, error):
    def refuse(self, timeout=None):
        raise error

    monkeypatch.setattr(_lock.FileLock, "acquire", refuse)
    with writer_lock(tmp_path) as locked:
        assert not locked
    assert "file system without locks" in caplog.text


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    def refuse(self, timeout=None):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(_lock.FileLock, "acquire", refuse)
    with pytest.raises(OSError, match="Read-only"):
        writer_lock(tmp_path).__enter__()


def test_a_holder_that_hangs_is_not_waited_for(tmp_path):
    holding, end = threading.Event(), threading.Event()

    def hang():  # as at a breakpoint, while other threads go on
        with writer_lock(tmp_path):
            holding.set()
            end.wait(30)

    holder = threading.Thread(target=hang)
    holder.start()
    try:
        assert holding.wait(10)
        with pytest.raises(WriterStalledError, match="holds its writer lock, but has not moved"):
            writer_lock(tmp_path).__enter__()
    finally:
        end.set()
        holder.join()
