"""Ctrl-C ends a training and keeps what was trained, as scikit-learn's `MLPClassifier` does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from skcnn import CNNEnsembleClassifier, FineTunedCNNClassifier
from skcnn.training import DenseHead, release_models

LABELS = np.array(["cat", "dog", "emu"] * 4)
SAID = r"training was interrupted in epoch {} of {} of phase '{}'; the weights so far are kept"


@pytest.fixture
def interrupted(monkeypatch):
    """Return a function that presses Ctrl-C within an epoch of a phase; None does so never again."""
    from skcnn.training._callbacks import Recorder

    def press(epoch, phase="fine-tune"):
        def on_train_batch_end(self, batch, logs=None):
            done = sum(record["phase"] == phase for record in self.records)
            if self.phase == phase and done == epoch:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(Recorder, "on_train_batch_end", on_train_batch_end)

    return press


@pytest.fixture
def tuned(tiny_model):
    release_models()

    def make(**settings):
        defaults = {"unfreeze": 1, "epochs": 6, "random_state": 0, "learning_rate": 1e-2, "schedule": None}
        return FineTunedCNNClassifier(tiny_model, **{**defaults, "shrinkage": None, **settings})

    return make


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"average_weights": True},
        {"early_stopping": True},
        pytest.param({"unfreeze": "all"}, marks=pytest.mark.slow),
    ],
)
def test_what_was_trained_is_kept(tuned, files, interrupted, settings):
    interrupted(2)
    clf = tuned(**settings)
    with pytest.warns(UserWarning, match=SAID.format(3, 6, "fine-tune")):
        clf.fit(files, LABELS)
    assert [record["phase"] for record in clf.history_] == ["head", "fine-tune", "fine-tune"]
    assert np.isfinite(clf.predict_proba(files)).all()
    head_alone = tuned(epochs=0).fit(files, LABELS)
    assert not np.array_equal(clf.head_weights_[0], head_alone.head_weights_[0])


@pytest.mark.slow
def test_the_best_weights_are_those_of_an_interrupted_fit_with_early_stopping(tuned, files, interrupted):
    settings = {"early_stopping": True, "validation_fraction": 0.3}
    interrupted(3)
    with pytest.warns(UserWarning, match="was interrupted"):
        clf = tuned(**settings).fit(files, LABELS)
    losses = [record["val_loss"] for record in clf.history_[1:]]
    interrupted(None)
    best = tuned(**settings, epochs=int(np.argmin(losses)) + 1).fit(files, LABELS)
    np.testing.assert_array_equal(clf.head_weights_[0], best.head_weights_[0])


def test_an_interrupted_head_is_the_classifier(tuned, files, interrupted):
    clf = tuned(head=DenseHead(None, epochs=5))
    interrupted(1, "head")
    with pytest.warns(UserWarning, match=SAID.format(2, 5, "head")):
        clf.fit(files, LABELS)
    assert [record["phase"] for record in clf.history_] == ["head"]
    assert clf.tail_weights_ == []
    assert clf.predict(files).shape == (12,)


@pytest.mark.slow
def test_the_same_fit_goes_on_from_its_checkpoint_and_says_from_where(tuned, files, tmp_path, interrupted, capsys):
    whole = tuned().fit(files, LABELS)
    assert capsys.readouterr().err == ""
    clf = tuned(checkpoint_dir=tmp_path, checkpoint_every=1)
    interrupted(2)
    with pytest.warns(UserWarning, match="was interrupted"):
        clf.fit(files, LABELS)
    interrupted(None)
    clf.fit(files, LABELS)
    assert capsys.readouterr().err.splitlines() == [
        f"training goes on after epoch 2 of phase 'fine-tune', from its checkpoint: {tmp_path / 'checkpoint.npz'}"
    ]
    np.testing.assert_array_equal(clf.head_weights_[0], whole.head_weights_[0])
    clf.fit(files, LABELS)
    assert "training is complete, its weights after epoch 6 of phase 'fine-tune'" in capsys.readouterr().err
    clf.set_params(verbose=0).fit(files, LABELS)
    assert capsys.readouterr().err == ""


def test_a_warm_start_goes_on_from_the_weights_that_were_kept(tuned, files, interrupted):
    clf = tuned(warm_start=True)
    interrupted(2)
    with pytest.warns(UserWarning, match="was interrupted"):
        clf.fit(files, LABELS)
    interrupted(None)
    clf.set_params(epochs=3).fit(files, LABELS)
    assert [record["epoch"] for record in clf.history_[1:]] == [1, 2, 3, 4, 5]


def test_snapshots_that_are_not_complete_are_no_ensemble(tuned, files, interrupted):
    interrupted(2)
    with pytest.raises(KeyboardInterrupt):
        CNNEnsembleClassifier(tuned(), 3, method="snapshot").fit(files, LABELS)


def test_before_anything_is_trained_ctrl_c_ends_the_work(tuned, files, monkeypatch):
    monkeypatch.setattr("skcnn.training._phase.fit_probe", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        tuned().fit(files, LABELS)


PROCESS = """
import sys
import numpy as np
from skcnn import FineTunedCNNClassifier
images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
clf = FineTunedCNNClassifier(weights=None, input_size=32, epochs=100_000, checkpoint_dir=sys.argv[1], cache=None)
clf.fit(images, ["cat", "dog", "emu"] * 4)
print(len(clf.history_) > 1, clf.predict(images).shape, flush=True)
"""


@pytest.mark.slow
def test_a_signal_from_another_process(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    begin = time.monotonic()
    while not (tmp_path / "history.json").exists() and time.monotonic() < begin + 100:
        time.sleep(0.2)
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.strip() == "True (12,)"
    assert "UserWarning: training was interrupted" in err
