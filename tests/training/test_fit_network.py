import contextlib

import numpy as np
import pytest

from skcnn.exceptions import ImageReadError
from skcnn.features import RawPixels
from skcnn.images import as_image_sequence
from skcnn.training._feed import Feed
from skcnn.training._fit_network import fit_network
from skcnn.training._phase import PhaseEnd
from skcnn.training._plan import Plan
from skcnn.training._problem import Problem, Targets
from skcnn.training._session import Session
from skcnn.training._state import TrainingState, Weights

TRUNK = RawPixels((8, 8, 3))
PLAN = Plan(3, None)


class Noted:
    """A phase that notes what it is given."""

    augments = False
    normalises_batches = False
    trunk = TRUNK

    def __init__(self, name, *, is_finished=True):
        self.name = name
        self.is_finished = is_finished
        self.given = []

    def run(self, rows, split, before, session, **settings):
        self.given.append((rows, before, settings))
        return PhaseEnd(Weights([np.float32([len(self.name)])]), [{"phase": self.name}], None, self.is_finished)


class InPhases:
    def __init__(self, *phases):
        self._phases = phases

    def phases(self, plan, n_classes, *, augments):
        assert (plan, n_classes, augments) == (PLAN, 2, False)
        return self._phases


def fit(pixels, *phases, state=None, snapshots=None):
    feed = Feed(as_image_sequence(pixels), None, 4, "keras", 0)
    problem = Problem(Targets(np.arange(12) % 2, None, 2), np.array(["a", "b"]), 0.25, lambda: np.arange(12))
    session = contextlib.nullcontext(Session(7, state))
    return fit_network(InPhases(*phases), PLAN, problem, feed, session, snapshots=snapshots)


def state_of(phase):
    return TrainingState(phase, 0, 2, False, [], [], "", {}, [])


def test_a_phase_begins_with_what_the_one_before_ended_with(pixels):
    first, last = Noted("one"), Noted("last")
    end, split, seed = fit(pixels, first, last, snapshots="snapshots")
    assert (end.history, end.weights.head, seed) == ([{"phase": "last"}], [4.0], 7)
    assert sorted([*split.trained, *split.held_out]) == [*range(12)]
    ((rows, before, settings),) = first.given
    assert before is None
    assert settings == {"batch_size": 4, "verbose": 0, "snapshots": None}
    assert [len(each) for each in rows] == [len(split.trained), len(split.held_out)]
    ((_, before, settings),) = last.given
    assert before.weights.head == [3.0]
    assert settings["snapshots"] == "snapshots"


def test_after_an_interrupt_no_phase_follows(pixels):
    first, last = Noted("one", is_finished=False), Noted("last")
    end, _, _ = fit(pixels, first, last)
    assert end.history == [{"phase": "one"}]
    assert not last.given


def test_it_goes_on_with_the_phase_of_its_state(pixels):
    first, last = Noted("one"), Noted("last")
    fit(pixels, first, last, state=state_of("last"))
    assert not first.given
    assert last.given[0][1] is None
    with pytest.raises(ValueError, match="nothing is left to train"):
        fit(pixels, first, state=state_of("last"))


def test_images_are_read_before_the_session_begins(tmp_path):
    @contextlib.contextmanager
    def session():
        pytest.fail("the session began")
        yield

    (tmp_path / "broken.jpg").write_bytes(b"no image")
    feed = Feed(as_image_sequence([tmp_path / "broken.jpg"]), None, 4, "keras", 0)
    problem = Problem(Targets(np.arange(2), None, 2), np.array(["a", "b"]), None, list)
    with pytest.raises(ImageReadError, match=r"broken\.jpg"):
        fit_network(InPhases(Noted("one")), PLAN, problem, feed, session())
