"""`Pace`: how often to do work that takes time and is not needed at every call."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator


class Pace:
    """Says when something is due again, so that it takes at most a share of all the time.

    Parameters
    ----------
    share : float, default=0.05
        Of the time that passes; 0.05 waits nineteen times as long as it took.
    least : float, default=0.0
        Seconds that pass from one time to the next at least.
    clock : callable, default=time.monotonic
        Returns seconds.
    """

    def __init__(self, share: float = 0.05, least: float = 0.0, clock: Callable[[], float] = time.monotonic):
        self._share = share
        self._least = least
        self._clock = clock
        self._next = -float("inf")

    def is_due(self) -> bool:
        """Whether it is time; the first time, it is."""
        return self._clock() >= self._next

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Time the work of this context; it sets when it is due again."""
        begin = self._clock()
        try:
            yield
        finally:
            end = self._clock()
            self._next = max(end + (end - begin) * (1 / self._share - 1), begin + self._least)
