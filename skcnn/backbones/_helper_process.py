"""A process beside this one that runs networks, for a process that cannot: one that was forked from TensorFlow's."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pickle
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from skcnn._locks import Lock
from skcnn.backbones._runner import Runner
from skcnn.exceptions import BackboneError, EngineWarning

__all__ = ["HelperRunner", "helper", "serve"]

# The module search path of the process that starts it comes as an argument: what it can import, the helper can.
START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from skcnn.backbones._helper_process import serve; serve()"
)

_helper: HelperProcess | None = None
_helper_lock = Lock()

# In the helper: the runners that were asked for, by the numbers their users know them by.
_runners: dict[int, Runner] = {}


class HelperProcess:
    """Calls functions in a new process, one at a time. It ends when this one does.

    Attributes
    ----------
    serves : int
        The process it serves, by its id: a child that is forked later must not use the same pipes.
    """

    def __init__(self) -> None:
        self.serves = os.getpid()
        self._lock = Lock()
        self._dropped: list[int] = []
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, json.dumps([os.fspath(path) for path in sys.path])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._requests = Connection(os.dup(self._process.stdin.fileno()), readable=False)
        self._answers = Connection(os.dup(self._process.stdout.fileno()), writable=False)
        self._process.stdin.close()
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return what a function of skcnn returns there; its warnings and errors come here.

        Raises
        ------
        BackboneError
            When the helper has ended, and what the function raises.
        """
        import cloudpickle  # what a script defines has to go along

        with self._lock:
            dropped, self._dropped = self._dropped, []
            request = cloudpickle.dumps((function, args, dropped))
            try:
                self._requests.send_bytes(request)
                answer, failed, warned = pickle.loads(self._answers.recv_bytes())
            except (EOFError, OSError) as error:
                code = self._process.wait()
                msg = f"the process that runs networks for this one has ended, with exit code {code}. If memory ran "
                raise BackboneError(f"{msg}out, use fewer workers; else try again: it starts anew") from error
            except BaseException:  # Ctrl-C, after which the answer would be taken for that to the next request
                self._process.kill()
                self._process.wait()
                raise
        for message in warned:
            warnings.warn(message, stacklevel=3)
        if failed:
            raise answer
        return answer

    def drop(self, number: int) -> None:
        """Let go of a runner there, with the next call."""
        self._dropped.append(number)


class HelperRunner(Runner):
    """A network that runs in the helper.

    Parameters
    ----------
    helper : HelperProcess
    load : callable
        A function of skcnn, or a method, that returns a runner.
    *args
        What it is called with.
    """

    numbers = itertools.count()

    def __init__(self, helper: HelperProcess, load: Callable[..., Runner], *args: Any):
        self._helper = helper
        self._number = next(self.numbers)
        self._shape = helper.call(load_runner, self._number, load, args)
        weakref.finalize(self, helper.drop, self._number)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the activations of one image."""
        return self._shape

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Return the activations of a batch."""
        return self._helper.call(run_runner, self._number, batch)


def helper() -> HelperProcess:
    """Return the helper of this process; the first time, or after it ended, it is started."""
    global _helper
    with _helper_lock:
        if _helper is None or _helper.serves != os.getpid() or not _helper.is_alive:
            msg = (
                "this process was forked after TensorFlow had started in its parent, and networks would hang in it. "
                "They run in one more process, which has to load them again. Better start processes another way: "
                "joblib's default backend 'loky', or multiprocessing.get_context('spawn')"
            )
            warnings.warn(msg, EngineWarning, stacklevel=3)
            _helper = HelperProcess()
        return _helper


def load_runner(number: int, load: Callable[..., Runner], args: tuple[Any, ...]) -> tuple[int, ...]:
    """Load a network, in the helper; return the shape of its activations."""
    _runners[number] = runner = load(*args)
    return runner.output_shape


def run_runner(number: int, batch: np.ndarray) -> np.ndarray:
    """Run a batch, in the helper."""
    return _runners[number].run(batch)


def serve() -> None:
    """Answer requests until the process that started this one ends."""
    requests, answers = Connection(os.dup(0), writable=False), Connection(os.dup(1), readable=False)
    # What anything prints must not end up among the answers.
    os.dup2(2, 1)
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            answers.send_bytes(answer_to(requests.recv_bytes()))


def answer_to(request: bytes) -> bytes:
    """Return what is sent back for one request: the result or the error, whether it is an error, and all warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            function, args, dropped = pickle.loads(request)
            for number in dropped:
                _runners.pop(number, None)
            answer, failed = function(*args), False
        except Exception as error:
            answer, failed = error, True
    warned = [each.message for each in caught if type(each.message).__module__ in ("builtins", "skcnn.exceptions")]
    try:
        return pickle.dumps((answer, failed, warned))
    except Exception:  # an error that cannot be pickled
        return pickle.dumps((BackboneError(repr(answer)), True, []))
