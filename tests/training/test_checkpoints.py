import dataclasses
import io
import json

import numpy as np
import pytest

from skcnn.exceptions import CheckpointError, StoreWarning
from skcnn.training._checkpoints import Checkpoints, describe_change
from skcnn.training._state import TrainingState

RUN = {"network": {"layer": "top"}, "classes": ["a", "b"], "learning_rate": 0.1}


def make_state(epochs=3):
    return TrainingState(
        phase="fine-tune",
        begin=2,
        epochs=epochs,
        is_finished=False,
        weights=[np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, 2], np.uint32)],
        optimizer=[np.array(7), np.zeros((2, 3), np.float32)],
        optimizer_settings="adam",
        callbacks={"average_count": [np.array(1)], "average_sums": []},
        history=[{"phase": "head", "loss": 0.5, "learning_rate": float("nan")}],
    )


def test_a_state_comes_back_as_it_was(tmp_path):
    Checkpoints(tmp_path / "run", RUN).save(make_state())
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoint.npz"]
    state, differences = Checkpoints(tmp_path / "run", RUN).load()
    assert differences == []
    np.testing.assert_equal(vars(state), vars(make_state()))
    assert [weight.dtype for weight in state.weights] == [np.float32, np.uint32]


def test_where_there_is_none(tmp_path):
    assert Checkpoints(tmp_path / "run", RUN).load() is None


def test_what_differs_is_named(tmp_path):
    Checkpoints(tmp_path, RUN).save(make_state())
    other = Checkpoints(
        tmp_path, RUN | {"learning_rate": 0.2, "network": {"layer": "x" * 200}, "more": None, "seed": 1}
    )
    _, differences = other.load()
    assert differences == ["network", "learning_rate", "seed"]
    assert describe_change("head", {"l2": 0.0, "n_classes": 2}, {"l2": 0.1, "n_classes": 2}) == "l2 was 0.0 and is 0.1"
    before, now = ["ant", "bee", "cow"], ["ant", "cat", *"123456"]
    said = "classes changed (new: 'cat', '1', '2', '3', '4' and 2 more; gone: 'bee', 'cow')"
    assert describe_change("classes", before, now) == said
    assert describe_change("classes", before, [*before, "dog"]) == "classes changed (new: 'dog')"
    assert other.describe(differences) == "network is another, learning_rate was 0.1 and is 0.2, seed was None and is 1"


def test_another_fit_begins_where_this_one_was():
    beginning = make_state().as_beginning()
    assert (beginning.begin, beginning.epochs, beginning.callbacks) == (5, 0, {})
    assert beginning.weights[0] is not None


def archive(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def known(**values):
    return archive(known=np.frombuffer(json.dumps(values).encode(), np.uint8))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is damaged"),
        (b"PK\x03\x04 no archive", "is damaged"),
        (archive(other=np.zeros(3)), "is damaged"),
        (archive(known=np.array([object()])), "is damaged"),
        (known(version=1), "is damaged"),
        (known(version=1, run={}, counts={"weights": 1, "optimizer": 0}), "is damaged"),
        (known(version=1, run={}, counts={"weights": 0, "optimizer": 0}, surprise=1), "is damaged"),
        (known(version=1, run={}, counts=[]), "is damaged"),
    ],
    ids=["empty", "no archive", "other arrays", "pickled", "few items", "no weights", "other items", "no counts"],
)
def test_files_that_are_no_checkpoints(tmp_path, data, message):
    (tmp_path / "checkpoint.npz").write_bytes(data)
    with pytest.raises(CheckpointError, match=f"checkpoint.npz {message}.*; remove it, and the fit begins anew"):
        Checkpoints(tmp_path, RUN).load()


def test_another_version(tmp_path, monkeypatch):
    Checkpoints(tmp_path, RUN).save(make_state())
    monkeypatch.setattr("skcnn.training._checkpoints.VERSION", 99)
    with pytest.raises(CheckpointError, match="is of another version of skcnn; remove it"):
        Checkpoints(tmp_path, RUN).load()


def test_a_write_that_fails_leaves_the_state_before(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, RUN)
    checkpoints.save(make_state(3))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("skcnn.training._checkpoints.os.replace", full)
    with pytest.warns(StoreWarning, match="cannot be written: .*No space left.*; training goes on without") as warned:
        checkpoints.save(make_state(4))
        checkpoints.save(make_state(5))
    assert len(warned) == 1
    assert checkpoints.load()[0].epochs == 3
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.npz"]


def test_what_json_has_no_form_for_ends_no_training(tmp_path):
    checkpoints, state = Checkpoints(tmp_path, RUN), make_state()
    state.history.append({"phase": object()})
    with pytest.warns(StoreWarning, match=r"cannot be written: .*not JSON serializable; training goes on without"):
        checkpoints.save(state)
    assert checkpoints.load() is None
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_numpy_are_written(tmp_path):
    state = dataclasses.replace(make_state(), begin=np.int64(2), is_finished=np.bool_(True))
    run = {**RUN, "epochs": np.int64(3), "table": {np.int64(1): np.float32(0.5)}}
    Checkpoints(tmp_path, run).save(state)
    found, differences = Checkpoints(tmp_path, run).load()
    assert (found.begin, found.is_finished, differences) == (2, True, [])
