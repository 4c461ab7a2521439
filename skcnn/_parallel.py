"""Threads: how many there are to use, and a map that holds only a few results at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import joblib

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_threads() -> int:
    """Return how many threads this process should use.

    Every core this process may run on, or as many as ``OMP_NUM_THREADS`` says: joblib sets it in its workers to the
    share that is left to each.
    """
    cores = joblib.cpu_count()
    share = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(share)) if share.isdigit() and int(share) > 0 else cores


def bounded_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, n_threads: int, window: int
) -> Generator[Result]:
    """Apply `function` to `items` in threads; yield the results in the order of the items.

    At most `window` results are in flight or waiting at any time, so a slow consumer bounds the memory. When the
    consumer stops early (an exception, Ctrl-C, `close`), what has not begun is cancelled and what has is awaited.

    Parameters
    ----------
    function : callable
        Should release the GIL for most of its time.
    items : iterable
        Read lazily, from the consumer's thread.
    n_threads : int
        Number of threads.
    window : int
        Number of items in flight, at least 1.
    """
    pending: deque[Future[Result]] = deque()
    executor = ThreadPoolExecutor(max_workers=n_threads, thread_name_prefix="skcnn")
    try:
        for item in items:
            pending.append(executor.submit(function, item))
            if len(pending) >= window:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
