"""The helper process by itself; what a forked process gets from it is in test_fork.py."""

import os
import pickle
import sys
import warnings

import numpy as np
import pytest

from skcnn.backbones import _helper_process
from skcnn.backbones._helper_process import HelperProcess, HelperRunner, answer_to, load_runner, run_runner
from skcnn.backbones._runner import Runner
from skcnn.exceptions import BackboneError, EngineWarning


@pytest.fixture
def helper():
    started = HelperProcess()
    yield started
    started._process.kill()
    started._process.wait()
    started._requests.close()
    started._answers.close()


class Doubling(Runner):
    """A runner that can be told from others by its factor."""

    def __init__(self, factor):
        self.factor = factor

    @property
    def output_shape(self):
        return (self.factor,)

    def run(self, batch):
        return self.factor * batch


def fail_with_a_lambda():
    error = ValueError("cannot be pickled")
    error.cause = lambda: None
    raise error


def warn_and_print():
    print("on stdout, where the answers go")
    warnings.warn("a warning of the helper", EngineWarning, stacklevel=1)
    return os.getpid()


def test_functions_run_in_another_process(helper):
    with pytest.warns(EngineWarning, match="a warning of the helper"):
        pid = helper.call(warn_and_print)
    assert pid == helper.pid != os.getpid()
    assert helper.call(getattr, sys, "path") == [os.fspath(path) for path in sys.path]


def test_errors_come_here_and_the_helper_goes_on(helper):
    with pytest.raises(ZeroDivisionError):
        helper.call(divmod, 1, 0)
    with pytest.raises(BackboneError, match="ValueError.*cannot be pickled"):
        helper.call(fail_with_a_lambda)
    assert helper.call(divmod, 7, 2) == (3, 1)


def test_a_runner_is_kept_there_as_long_as_it_is_used(helper):
    first, second = HelperRunner(helper, Doubling, 2), HelperRunner(helper, Doubling, 3)
    batch = np.arange(4.0)
    np.testing.assert_array_equal(first.run(batch), 2 * batch)
    np.testing.assert_array_equal(second.run(batch), 3 * batch)
    assert (first.output_shape, second.output_shape) == ((2,), (3,))
    assert helper.call(runners) == 2
    del first
    assert helper.call(runners) == 1
    np.testing.assert_array_equal(second.run(batch), 3 * batch)


def runners():
    return len(_helper_process._runners)


def test_a_helper_that_has_ended_is_named(helper):
    with pytest.raises(BackboneError, match="has ended, with exit code 3.*try again: it starts anew"):
        helper.call(os._exit, 3)
    assert not helper.is_alive


def test_after_an_interrupt_no_late_answer_is_taken_for_another(helper, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(helper._answers, "recv_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        helper.call(os.getpid)
    assert not helper.is_alive


def test_what_is_sent_back(monkeypatch):
    monkeypatch.setattr(_helper_process, "_runners", {})
    answer = pickle.loads(answer_to(pickle.dumps((load_runner, (5, Doubling, (2,)), []))))
    assert answer == ((2,), False, [])
    answer, failed, warned = pickle.loads(answer_to(pickle.dumps((run_runner, (6, np.zeros(1)), [5]))))
    assert isinstance(answer, KeyError)
    assert failed
    assert warned == []
    assert _helper_process._runners == {}
