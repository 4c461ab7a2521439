"""Models of earlier fits, lent to the next one of the same shape: tracing one takes longer than many a training."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from skcnn._locks import Lock
from skcnn.backbones._fork import check_not_forked

__all__ = ["idle_models", "lend_model", "release_models"]

# A search over the unfreeze depth alternates between a few; more would fill the memory of a laptop.
MAX_IDLE = 4

_idle: OrderedDict[Hashable, Any] = OrderedDict()
_lock = Lock()


@contextlib.contextmanager
def lend_model(key: Hashable, make: Callable[[], Any]) -> Iterator[Any]:
    """Lend a model for the time of a ``with`` block; no other thread has it meanwhile.

    The borrower gives it the weights it needs, as it still has those of the last one. A model whose borrower fails is
    not lent again.

    Parameters
    ----------
    key : hashable
        Models of equal keys differ in nothing but weights.
    make : callable without arguments
        Makes one, if none is idle.

    Raises
    ------
    BackboneError
        In a process that was forked after TensorFlow had started.
    """
    check_not_forked()
    with _lock:
        model = _idle.pop(key, None)
    if model is None:
        model = make()
    yield model
    with _lock:
        _idle[key] = model
        while len(_idle) > MAX_IDLE:
            _idle.popitem(last=False)


def idle_models() -> int:
    """Return how many models this process holds for later."""
    return len(_idle)


def release_models() -> None:
    """Let go of all idle models; new ones are made when they are needed."""
    with _lock:
        _idle.clear()
