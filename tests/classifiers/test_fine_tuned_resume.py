"""`FineTunedCNNClassifier` that is killed, stopped and gone on with."""

import json
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from skcnn import Augmentation, CNNEnsembleClassifier, FineTunedCNNClassifier
from skcnn.exceptions import CheckpointError, StoreWarning
from skcnn.images import ResizeCrop, TenCrop, as_image_sequence
from skcnn.training import CosineDecay, DenseHead, EarlyStopping, LinearHead
from skcnn.training._checkpoints import Checkpoints

LABELS = np.array(["cat", "dog", "emu"] * 4)


@pytest.fixture
def tuned(residual):
    """Return a function that makes a classifier of a tiny network."""

    def make(backbone=residual, **settings):
        defaults = {"epochs": 6, "random_state": 0, "unfreeze": "two_a", "learning_rate": 1e-3, "batch_size": 5}
        defaults |= {"checkpoint_every": 1, "schedule": None, "shrinkage": None}
        return FineTunedCNNClassifier(backbone, **{**defaults, **settings})

    return make


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch, request):
    """Draw nothing after each epoch, which would take longer than all the rest."""
    if "pictures" not in request.keywords:
        monkeypatch.setattr("skcnn.inspection._training_monitor.is_installed", lambda name: False)


@pytest.fixture
def killed_after(monkeypatch):
    """Return a function that makes fits end with an error after so many epochs, before anything is kept of the next."""
    from skcnn.training._callbacks import Recorder

    on_epoch_end = Recorder.on_epoch_end

    def kill(epochs, phase="fine-tune"):
        def ending(self, epoch, logs=None):
            if self.phase == phase and epoch >= epochs:
                raise SystemExit
            on_epoch_end(self, epoch, logs)

        monkeypatch.setattr(Recorder, "on_epoch_end", on_epoch_end if epochs is None else ending)

    return kill


def assert_same(one, two):
    for ours, theirs in zip(one.head_weights_ + one.tail_weights_, two.head_weights_ + two.tail_weights_, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    untimed = [[{k: v for k, v in r.items() if k != "seconds"} for r in each.history_] for each in (one, two)]
    np.testing.assert_equal(*untimed)


KINDS = {
    "defaults": {"schedule": "auto", "shrinkage": "auto"},
    "averaged": {"average_weights": True, "schedule": "cosine", "optimizer": "nadam"},
    "stopping": {"early_stopping": EarlyStopping("loss", min_delta=10.0, patience=3), "head": LinearHead(dropout=0.5)},
    "fresh views": {"augmentation": Augmentation(), "validation_fraction": 0.3, "schedule": {3: 1e-4}},
    "head alone": {"augmentation": Augmentation(), "augmented_views": 2, "unfreeze": 0},
    "random head": {"head": DenseHead(4, epochs=3, batch_norm=True)},
}
QUICK = {"defaults"}


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_a_fit_that_was_ended_goes_on_and_ends_where_it_would_have(tuned, files, tmp_path, killed_after, kind):
    whole = tuned(**KINDS[kind]).fit(files, LABELS)
    epochs = sum(record["phase"] == "fine-tune" for record in whole.history_)
    clf = tuned(checkpoint_dir=tmp_path / "run", **KINDS[kind])
    for after in (2, epochs - 1):
        killed_after(after)
        with pytest.raises(SystemExit):
            clf.fit(files, LABELS)
    killed_after(None)
    assert_same(clf.fit(files, LABELS), whole)
    # What has ended is not trained again.
    killed_after(0)
    assert_same(clone(clf).fit(files, LABELS), whole)


@pytest.mark.slow
def test_the_first_phase_is_gone_on_with_as_well(tuned, files, tmp_path, killed_after):
    settings = {"head": DenseHead(None, epochs=5), "epochs": 2}
    whole = tuned(**settings).fit(files, LABELS)
    clf = tuned(checkpoint_dir=tmp_path / "run", **settings)
    killed_after(3, "head")
    with pytest.raises(SystemExit):
        clf.fit(files, LABELS)
    assert len(json.loads((tmp_path / "run" / "history.json").read_text())) == 3
    killed_after(None)
    assert_same(clf.fit(files, LABELS), whole)


PROCESS = """
import sys, time
import numpy as np
from skcnn import FineTunedCNNClassifier
from skcnn.inspection import TrainingMonitor

update = TrainingMonitor.update
TrainingMonitor.update = lambda self, history, **kind: (update(self, history, **kind), time.sleep(0.3))
images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
settings = {"weights": None, "input_size": 32, "unfreeze": 1, "epochs": 6, "engine": "keras", "random_state": 1}
FineTunedCNNClassifier(**settings, checkpoint_dir=sys.argv[1], checkpoint_every=1).fit(images, ["cat", "dog", "emu"] * 4)
"""


@pytest.mark.slow
def test_a_process_that_was_killed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", PROCESS, str(tmp_path)])
    history = tmp_path / "history.json"
    deadline = time.monotonic() + 120
    while not history.exists() or len(json.loads(history.read_text())) < 4:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    settings = {"weights": None, "input_size": 32, "unfreeze": 1, "epochs": 6, "engine": "keras", "random_state": 1}
    with np.load(tmp_path / "checkpoint.npz") as file:
        assert 2 <= json.loads(file["known"].tobytes())["epochs"] < 6
    resumed = FineTunedCNNClassifier(**settings, checkpoint_dir=tmp_path).fit(images, LABELS)
    assert_same(resumed, FineTunedCNNClassifier(**settings).fit(images, LABELS))


@pytest.mark.slow
def test_stopping_looking_and_going_on_is_one_training_with_that_schedule(tuned, files, tmp_path):
    whole = tuned(schedule={2: 1e-4, 5: 1e-5}).fit(files, LABELS)
    clf = tuned(warm_start=True, epochs=2).fit(files, LABELS)
    assert len(clf.history_) == 3
    clf.set_params(learning_rate=1e-4, epochs=3).fit(files, LABELS)
    clf = pickle.loads(pickle.dumps(clf))
    clf.set_params(learning_rate=1e-5, epochs=1).fit(files, LABELS)
    assert_same(clf, whole)
    assert [record["epoch"] for record in clf.history_[1:]] == [1, 2, 3, 4, 5, 6]


def test_going_on_with_fresh_views(tuned, files):
    settings = {"augmentation": Augmentation()}
    whole = tuned(epochs=4, **settings).fit(files, LABELS)
    clf = tuned(epochs=2, warm_start=True, **settings).fit(files, LABELS).fit(files, LABELS)
    assert_same(clf, whole)


@pytest.mark.slow
def test_going_on_from_a_checkpoint_at_another_rate(tuned, files, tmp_path, killed_after):
    whole = tuned(schedule={2: 1e-4}).fit(files, LABELS)
    clf = tuned(checkpoint_dir=tmp_path / "run")
    killed_after(2)
    with pytest.raises(SystemExit):
        clf.fit(files, LABELS)
    killed_after(None)
    clf.set_params(learning_rate=1e-4, epochs=4)
    message = (
        "another training: epochs was 6 and is 4, learning_rate was 0.001 and is 0.0001.*or go on from there by warm"
    )
    with pytest.raises(CheckpointError, match=message):
        clf.fit(files, LABELS)
    assert_same(clf.set_params(warm_start=True).fit(files, LABELS), whole)
    # The same script once more finds that all of it is done.
    killed_after(0)
    assert_same(clone(clf).fit(files, LABELS), whole)


@pytest.mark.parametrize(
    "settings", [{"early_stopping": EarlyStopping("loss", min_delta=10.0)}, {"average_weights": True}]
)
def test_going_on_from_a_checkpoint_is_going_on_from_the_fit(tuned, files, tmp_path, settings):
    in_memory = tuned(warm_start=True, **settings).fit(files, LABELS)
    on_disk = tuned(checkpoint_dir=tmp_path, **settings).fit(files, LABELS)
    change = {"learning_rate": 1e-5, "epochs": 2, "early_stopping": False, "average_weights": False}
    in_memory.set_params(**change).fit(files, LABELS)
    assert_same(clone(on_disk).set_params(warm_start=True, **change).fit(files, LABELS), in_memory)


def test_a_warm_start_overwrites_no_checkpoint_of_other_images(tuned, files, tmp_path):
    tuned(epochs=1, checkpoint_dir=tmp_path).fit(files[::-1], LABELS)
    clf = tuned(epochs=1, warm_start=True).fit(files, LABELS).set_params(checkpoint_dir=tmp_path)
    with pytest.raises(CheckpointError, match="another training: images is another"):
        clf.fit(files, LABELS)


def test_one_view_of_several(tuned, files, tmp_path):
    crops = as_image_sequence(files).with_step(ResizeCrop(20, 20)).with_step(TenCrop(16, 16))
    tuned(epochs=1, checkpoint_dir=tmp_path).fit(crops.with_view(1), LABELS)
    tuned(epochs=1, checkpoint_dir=tmp_path).fit(crops.with_view(1), LABELS)
    with pytest.raises(CheckpointError, match="images is another"):
        tuned(epochs=1, checkpoint_dir=tmp_path).fit(crops.with_view(2), LABELS)


def test_without_a_warm_start_every_fit_begins_anew(tuned, files):
    clf = tuned(epochs=2)
    assert_same(clone(clf).fit(files, LABELS), clf.fit(files, LABELS).fit(files, LABELS))
    assert clf._left is None


def test_another_optimizer_begins_with_a_state_of_its_own(tuned, files):
    clf = tuned(epochs=2, warm_start=True).fit(files, LABELS)
    before = clf.head_weights_
    clf.set_params(optimizer=keras.optimizers.SGD(1e-3), learning_rate=None).fit(files, LABELS)
    assert len(clf.history_) == 5
    assert any((a != b).any() for a, b in zip(before, clf.head_weights_, strict=True))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"pooling": "max"}, "network is another"),
        ({"head": DenseHead(5, dropout=0)}, r"units was None and is 5, dropout was 0\.[12] and is 0\.0"),
    ],
)
def test_what_a_warm_start_cannot_go_on_from(tuned, files, change, what):
    clf = tuned(epochs=1, warm_start=True).fit(files, LABELS)
    with pytest.raises(ValueError, match=f"the fit before, and since then {what}; set that back, or warm_start=False"):
        clf.set_params(**change).fit(files, LABELS)


def test_a_warm_start_of_a_head_that_is_all_that_is_trained(tuned, files):
    settings = {"unfreeze": 0, "batch_size": 12}
    clf = tuned(head=DenseHead(4, epochs=3), warm_start=True, **settings).fit(files, LABELS).fit(files, LABELS)
    assert [record["epoch"] for record in clf.history_] == [1, 2, 3, 4, 5, 6]
    assert_same(clf, tuned(head=DenseHead(4, epochs=6), **settings).fit(files, LABELS))


def test_a_warm_start_with_nothing_left_to_train(tuned, files):
    clf = tuned(epochs=1, warm_start=True).fit(files, LABELS)
    before = clf.head_weights_
    with pytest.raises(ValueError, match="nothing is left to train; set 'epochs' above 0"):
        clf.set_params(epochs=0).fit(files, LABELS)
    assert clf.head_weights_ is before


def test_other_classes_are_no_warm_start(tuned, files):
    clf = tuned(epochs=1, warm_start=True).fit(files, LABELS)
    with pytest.raises(ValueError, match=r"since then classes changed \(new: 'owl'; gone: 'emu'\); set that back"):
        clf.fit(files, np.where(LABELS == "emu", "owl", LABELS))


@pytest.mark.slow
def test_a_seed_that_is_drawn_is_that_of_the_checkpoint(tuned, files, tmp_path, killed_after):
    clf = tuned(checkpoint_dir=tmp_path, random_state=None)
    killed_after(2)
    with pytest.raises(SystemExit):
        clf.fit(files, LABELS)
    killed_after(None)
    clf.fit(files, LABELS)
    assert len(clf.history_) == 7
    with np.load(tmp_path / "checkpoint.npz") as file:
        seed = json.loads(file["known"].tobytes())["run"]["seed"]
    assert isinstance(seed, int)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": slice(None, None, -1)}, "images is another"),
        (
            {"labels": ["a", "b", "c", "c"] * 3},
            r"classes changed \(new: 'a', 'b', 'c'; gone: 'cat', 'dog', 'emu'\), labels and weights is another",
        ),
        ({"settings": {"random_state": 5}}, "seed was"),
        (
            {"settings": {"batch_size": 4, "augmented_views": np.int64(2)}},
            "augmented_views was None and is 2, batch_size",
        ),
        ({"settings": {"unfreeze": "one_a"}}, "network is another, unfreeze was 'two_a' and is 'one_a'"),
    ],
)
def test_a_directory_of_another_training(tuned, files, tmp_path, change, message):
    tuned(epochs=1, checkpoint_dir=tmp_path).fit(files, LABELS)
    settings = change.get("settings", {})
    with pytest.raises(CheckpointError, match=f"has a checkpoint of another training: .*{message}") as caught:
        tuned(epochs=1, checkpoint_dir=tmp_path, **settings).fit(
            files[change.get("images", slice(None))], change.get("labels", LABELS)
        )
    assert "Name another directory, or remove" in str(caught.value)
    assert ("warm_start" in str(caught.value)) is (
        not any(each in message for each in ("classes", "images", "network"))
    )


def test_folds_need_directories_of_their_own(tuned, files, tmp_path):
    with pytest.raises(ValueError, match=r"Searches and folds need checkpoint_dir=None"):
        cross_val_score(tuned(epochs=1, checkpoint_dir=tmp_path), files, LABELS, cv=2, error_score="raise")


def test_a_damaged_checkpoint(tuned, files, tmp_path):
    clf = tuned(epochs=1, checkpoint_dir=tmp_path).fit(files, LABELS)
    path = tmp_path / "checkpoint.npz"
    whole = path.read_bytes()
    for damaged in (b"", whole[:1000], whole[:-10], b"no archive"):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"checkpoint\.npz is damaged: .*remove it, and the fit begins anew"):
            clf.fit(files, LABELS)
    path.unlink()
    clf.fit(files, LABELS)


@pytest.mark.pictures
def test_what_is_in_the_directory(tuned, files, tmp_path):
    clf = tuned(epochs=3, checkpoint_dir=tmp_path / "a" / "b", checkpoint_every=2, validation_fraction=0.3)
    clf.fit(files, LABELS)
    folder = tmp_path / "a" / "b"
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint.lock",
        "checkpoint.npz",
        "history.json",
        "history.png",
    ]
    records = json.loads((folder / "history.json").read_text())
    assert records[0]["learning_rate"] is None
    assert records[1:] == clf.history_[1:]
    assert (folder / "history.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_checkpoint_every_so_many_epochs(tuned, files, tmp_path, killed_after):
    clf = tuned(checkpoint_dir=tmp_path, checkpoint_every=2)
    killed_after(3)
    with pytest.raises(SystemExit):
        clf.fit(files, LABELS)
    with np.load(tmp_path / "checkpoint.npz") as file:
        assert json.loads(file["known"].tobytes())["epochs"] == 2
    killed_after(None)
    assert_same(clf.fit(files, LABELS), tuned().fit(files, LABELS))


def test_a_disk_that_is_full_costs_the_checkpoint_and_not_the_fit(tuned, files, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("skcnn.training._checkpoints.np.savez", full)
    with pytest.warns(StoreWarning, match=r"checkpoint\.npz cannot be written: .*No space left") as warned:
        clf = tuned(epochs=3, checkpoint_dir=tmp_path).fit(files, LABELS)
    assert len(warned) == 1
    assert_same(clf, tuned(epochs=3).fit(files, LABELS))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.lock", "history.json", "images"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warm_start": "yes"}, "'warm_start' parameter must be True or False"),
        ({"checkpoint_every": 0}, "'checkpoint_every' parameter must be an int of at least 1"),
    ],
)
def test_bad_parameters_are_refused_before_any_image_is_read(tuned, settings, message):
    with pytest.raises(ValueError, match=message):
        tuned(**settings).fit(["no/such/file.jpg"] * 2, ["a", "b"])


# One directory is for one training ---------------------------------------------------------------------------------------


def test_a_warm_start_is_from_a_checkpoint_of_the_same_images(tuned, files, tmp_path):
    clf = tuned(checkpoint_dir=tmp_path, warm_start=True, epochs=1, random_state=None)
    clf.fit(files[:9], LABELS[:9])
    again = clone(clf).set_params(learning_rate=1e-4).fit(files[:9], LABELS[:9])
    assert len(again.history_) == 3
    for images, labels in ((files[3:], LABELS[3:]), (files[:9], LABELS[2:11])):
        with pytest.raises(
            CheckpointError, match=r"another training: .* is another.*Searches and folds need"
        ) as caught:
            clone(clf).fit(images, labels)
        assert "warm_start=True" not in str(caught.value)


def test_folds_do_not_go_on_from_each_other(tuned, files, tmp_path):
    clf = tuned(checkpoint_dir=tmp_path, warm_start=True, epochs=1)
    with pytest.raises(CheckpointError, match="Searches and folds need checkpoint_dir=None"):
        cross_val_score(clf, files, LABELS, cv=3, error_score="raise")


@pytest.mark.slow
@pytest.mark.parametrize("warm_start", [False, True])
def test_members_have_directories_of_their_own(tuned, files, tmp_path, warm_start):
    member = tuned(checkpoint_dir=tmp_path, warm_start=warm_start, epochs=2)
    ensemble = CNNEnsembleClassifier(member, 2, random_state=0).fit(files, LABELS)
    assert [len(each.history_) for each in ensemble.estimators_] == [3, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "member-1", "member-2"]
    named = [("a", tuned(checkpoint_dir=tmp_path)), ("b", tuned(checkpoint_dir=tmp_path / "own", unfreeze=0))]
    CNNEnsembleClassifier(named, random_state=0).fit(files, LABELS)
    assert {"own", "checkpoint.npz"} <= {path.name for path in tmp_path.iterdir()}


def test_two_fits_into_one_directory(tuned, files, tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    class Slow(CosineDecay):
        def rate(self, *args):
            begun.set()
            assert go_on.wait(60)
            return super().rate(*args)

    first = tuned(checkpoint_dir=tmp_path, epochs=2, schedule=Slow())
    with ThreadPoolExecutor() as pool:
        running = pool.submit(first.fit, files, LABELS)
        try:
            assert begun.wait(60)
            with pytest.raises(CheckpointError, match="another fit is training into .* name another directory"):
                tuned(checkpoint_dir=tmp_path, epochs=2).fit(files, LABELS)
        finally:
            go_on.set()
        assert len(running.result().history_) == 3
    # Its lock is free again.
    assert len(clone(first).set_params(epochs=2).fit(files, LABELS).history_) == 3


@pytest.mark.slow
def test_checkpoints_take_little_of_the_time_where_epochs_are_short(tuned, files, tmp_path, monkeypatch):
    saved = []
    save = Checkpoints.save
    monkeypatch.setattr(
        Checkpoints, "save", lambda self, state: (saved.append(state.epochs), time.sleep(0.2), save(self, state))
    )
    tuned(checkpoint_dir=tmp_path, epochs=30, checkpoint_every=None).fit(files, LABELS)
    assert saved[0] == 1
    assert saved[-1] == 30
    assert len(saved) < 15


def test_a_directory_that_cannot_be_locked_costs_the_checkpoint_and_not_the_fit(tuned, files, tmp_path, monkeypatch):
    def read_only(self, timeout=None):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", read_only)
    clf = tuned(checkpoint_dir=tmp_path, epochs=1, cache=None).fit(files, LABELS)
    assert len(clf.history_) == 2
