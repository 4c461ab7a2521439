"""Locks that a forked child can use: one that another thread of its parent held would never be released in it."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any, Protocol


class Lock:
    """A lock to hold with `with`; in a child process it is a new one, held by nobody.

    Parameters
    ----------
    reentrant : bool, default=False
        Whether the thread that holds it may take it again.
    """

    def __init__(self, *, reentrant: bool = False):
        self._make: Any = threading.RLock if reentrant else threading.Lock
        self._lock = self._make()
        # What each thread holds: a child releases the lock that it took before it was forked, not the new one.
        self._held = threading.local()
        renew_at_fork(self)

    def __enter__(self) -> None:
        lock = self._lock
        lock.acquire()
        self._held.__dict__.setdefault("stack", []).append(lock)

    def __exit__(self, *error: object) -> None:
        self._held.stack.pop().release()

    def renew(self) -> None:
        """Forget who holds it."""
        self._lock = self._make()


class Renewable(Protocol):
    """Has state that another thread of the parent may have been changing when the child was forked."""

    def renew(self) -> None:
        """Begin anew, in a child that was just forked."""


_renewable: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_at_fork(item: Renewable) -> None:
    """Call an object's `renew` in every child that is forked, as long as the object lives."""
    _renewable.add(item)


def renew_all() -> None:
    """Call `renew` of every registered object."""
    for item in list(_renewable):
        item.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=renew_all)
