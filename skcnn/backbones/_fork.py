"""Forked processes: a child has TensorFlow's memory but not its threads, and would wait for them for ever."""

from __future__ import annotations

import os

from skcnn._private import tensorflow_has_started
from skcnn.exceptions import BackboneError

# Whether TensorFlow was running in the process that this one was forked from.
_started_before_fork = False


def check_not_forked() -> None:
    """Refuse to load, build or train networks in a child that was forked after TensorFlow had started.

    Raises
    ------
    BackboneError
        Naming the ways out.
    """
    if _started_before_fork:
        msg = (
            "this process was forked after TensorFlow had started in its parent, so a network would hang here. Start "
            "processes another way: joblib's default backend 'loky', or multiprocessing.get_context('spawn')"
        )
        raise BackboneError(msg)


def note_fork() -> None:
    """Remember, in a child that was just forked, whether TensorFlow had started."""
    global _started_before_fork
    _started_before_fork = _started_before_fork or tensorflow_has_started()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=note_fork)
