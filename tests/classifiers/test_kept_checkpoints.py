"""States that are kept of a training: to look at, to go back to, and to go on from."""

import keras
import numpy as np
import pytest

from skcnn import Augmentation, CNNClassifier, FineTunedCNNClassifier
from skcnn.architectures import conv_module
from skcnn.exceptions import CheckpointError, StoreWarning
from skcnn.training import DenseHead, StepTable

LABELS = np.array(["cat", "dog", "emu"] * 4)


def small(input_shape, n_classes):
    inputs = keras.Input(input_shape)
    x = keras.layers.Dropout(0.2)(conv_module(inputs, 4, batch_norm="after"))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(n_classes)(x))


KINDS = {
    "from scratch": {},
    "fine-tuned": {"unfreeze": "two_a", "shrinkage": None},
    "live": {"unfreeze": "all", "batch_norm": "live", "shrinkage": None},
    "dense head": {"unfreeze": 0, "head": DenseHead(8, epochs=6, batch_norm=True), "epochs": 0},
    "head on views": {"unfreeze": 0, "augmentation": Augmentation(), "augmented_views": 2, "shrinkage": None},
}
pytestmark = pytest.mark.usefixtures("no_pictures")


def kinds(*quick, of=KINDS):
    """Parametrize a test by kinds, of which only some run each time."""
    marked = [pytest.param(kind, marks=[] if kind in quick else pytest.mark.slow) for kind in of]
    return pytest.mark.parametrize("kind", marked)


@pytest.fixture
def make(residual):
    def make(kind, **settings):
        defaults = {"epochs": 6, "random_state": 0, "batch_size": 5, "schedule": None, "learning_rate": 1e-2}
        settings = {**defaults, **KINDS[kind], **settings}
        return (
            CNNClassifier(small, input_size=16, **settings)
            if kind == "from scratch"
            else FineTunedCNNClassifier(residual, **settings)
        )

    return make


def weights(clf):
    return clf.weights_ if isinstance(clf, CNNClassifier) else clf.head_weights_ + clf.tail_weights_


def assert_same(one, two):
    for ours, theirs in zip(weights(one), weights(two), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def names(folder):
    return sorted(path.name for path in folder.glob("*-*.npz"))


def phase_of(clf):
    return clf.history_[-1]["phase"]


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"keep_checkpoints": "all"}, [1, 2, 3, 4, 5, 6]),
        ({"keep_checkpoints": "all", "checkpoint_every": 2}, [2, 4, 6]),
        ({"keep_checkpoints": 2}, [5, 6]),
        ({"keep_checkpoints": np.int64(1), "checkpoint_every": 4}, [4]),
        ({}, []),
    ],
)
def test_all_or_the_last_ones_of_every_so_many_epochs(make, pixels, tmp_path, settings, kept):
    make("fine-tuned", checkpoint_dir=tmp_path, **settings).fit(pixels, LABELS)
    assert names(tmp_path) == [*(f"checkpoint-fine-tune-{epoch:04d}.npz" for epoch in kept)]


@pytest.mark.slow
@kinds("live", "dense head")
def test_each_is_the_classifier_that_a_shorter_training_ends_with(make, pixels, tmp_path, kind):
    clf = make(kind, checkpoint_dir=tmp_path, keep_checkpoints="all").fit(pixels, LABELS)
    short = {"head": DenseHead(8, epochs=4, batch_norm=True)} if kind == "dense head" else {"epochs": 4}
    shorter = make(kind, **short).fit(pixels, LABELS)
    loaded = make(kind).load_checkpoint(tmp_path / f"checkpoint-{phase_of(clf)}-0004.npz")
    assert_same(loaded, shorter)
    np.testing.assert_array_equal(loaded.predict_proba(pixels), shorter.predict_proba(pixels))
    assert loaded.predict(pixels).dtype == LABELS.dtype
    assert loaded.history_[-1]["epoch"] == 4
    # Of a directory, the last state.
    assert_same(make(kind).load_checkpoint(tmp_path), clf)


@pytest.mark.slow
@kinds("live")
def test_keeping_them_changes_nothing_of_the_training(make, pixels, tmp_path, kind):
    kept = make(kind, checkpoint_dir=tmp_path, keep_checkpoints="all").fit(
        pixels, LABELS, validation_data=(pixels, LABELS)
    )
    without = make(kind).fit(pixels, LABELS, validation_data=(pixels, LABELS))
    assert_same(kept, without)
    assert kept.history_[-1]["val_loss"] == without.history_[-1]["val_loss"]


@kinds("from scratch", of=[kind for kind in KINDS if kind != "dense head"])
def test_stop_look_lower_the_rate_and_go_on(make, pixels, tmp_path, kind):
    """The story of the field's books: the curves stand still, so training goes on from an earlier epoch, more slowly."""
    settings = {"checkpoint_dir": tmp_path, "keep_checkpoints": "all"}
    first = make(kind, **settings).fit(pixels, LABELS)
    phase = phase_of(first)

    # Look: in another process perhaps, with a classifier that is not fitted.
    clf = make(kind, **settings)
    table = clf.checkpoint_scores(pixels, LABELS)
    assert table.rows == [1, 2, 3, 4, 5, 6]
    scores = [
        make(kind).load_checkpoint(tmp_path / f"checkpoint-{phase}-{n:04d}.npz").score(pixels, LABELS)
        for n in table.rows
    ]
    assert table["rank-1"].tolist() == pytest.approx(scores)
    assert not hasattr(clf, "classes_")

    # Lower, and go on from the third epoch.
    clf.load_checkpoint(tmp_path / f"checkpoint-{phase}-0003.npz")
    clf.set_params(warm_start=True, learning_rate=1e-3, epochs=2).fit(pixels, LABELS)
    assert [record["learning_rate"] for record in clf.history_[-5:]] == pytest.approx([1e-2] * 3 + [1e-3] * 2)
    assert [record["epoch"] for record in clf.history_[-5:]] == [1, 2, 3, 4, 5]
    assert_same(clf, make(kind, epochs=5, schedule=StepTable({3: 1e-3})).fit(pixels, LABELS))
    assert names(tmp_path) == [*(f"checkpoint-{phase}-{epoch:04d}.npz" for epoch in range(1, 6))]
    assert names(tmp_path / "superseded") == [f"checkpoint-{phase}-{epoch:04d}.npz" for epoch in (4, 5, 6)]
    assert clf.checkpoint_scores(pixels, LABELS).rows == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_a_table_has_rank5_where_there_are_more_than_five_classes(make, pixels, tmp_path):
    labels = np.array([*"abcdefghijkl"])
    clf = make("fine-tuned", checkpoint_dir=tmp_path, keep_checkpoints=2).fit(pixels, labels)
    table = clf.checkpoint_scores(pixels, labels)
    assert [*table.columns] == ["rank-1", "rank-5"]
    assert (table["rank-5"] >= table["rank-1"]).all()
    assert table["rank-1"][-1] == clf.score(pixels, labels)


@pytest.mark.slow
def test_phases_are_told_apart(make, pixels, tmp_path):
    clf = make("fine-tuned", head=DenseHead(4, epochs=3), epochs=2, checkpoint_dir=tmp_path, keep_checkpoints="all")
    table = clf.fit(pixels, LABELS).checkpoint_scores(pixels, LABELS)
    assert table.rows == ["fine-tune 1", "fine-tune 2", "head 1", "head 2", "head 3"]


@pytest.mark.slow
@pytest.mark.parametrize("labels", [LABELS, np.tile([3, 10, 200], 4), np.tile([True, False], 6)], ids=str)
def test_labels_come_back_as_they_were(make, pixels, tmp_path, labels):
    clf = make("fine-tuned", checkpoint_dir=tmp_path).fit(pixels, labels)
    loaded = make("fine-tuned").load_checkpoint(tmp_path)
    np.testing.assert_array_equal(loaded.classes_, clf.classes_)
    assert loaded.classes_.dtype.kind == clf.classes_.dtype.kind


def test_a_fit_that_begins_anew_moves_what_was_kept(make, pixels, tmp_path):
    clf = make("fine-tuned", checkpoint_dir=tmp_path, keep_checkpoints="all").fit(pixels, LABELS)
    (tmp_path / "checkpoint.npz").unlink()
    clf.set_params(epochs=2).fit(pixels, LABELS)
    assert names(tmp_path) == ["checkpoint-fine-tune-0001.npz", "checkpoint-fine-tune-0002.npz"]
    assert len(names(tmp_path / "superseded")) == 6


def test_another_network_is_refused(make, pixels, tmp_path):
    make("fine-tuned", checkpoint_dir=tmp_path).fit(pixels, LABELS)
    for change in ({"unfreeze": 1}, {"head": DenseHead(4)}):
        with pytest.raises(CheckpointError, match="is a checkpoint of another classifier: .*; set that back"):
            make("fine-tuned", **change).load_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="another classifier"):
        make("from scratch").load_checkpoint(tmp_path)


def test_what_is_no_checkpoint(make, pixels, tmp_path):
    clf = make("fine-tuned")
    with pytest.raises(FileNotFoundError):
        clf.load_checkpoint(tmp_path)
    (tmp_path / "checkpoint-fine-tune-0001.npz").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="checkpoint-fine-tune-0001.npz is damaged"):
        clf.load_checkpoint(tmp_path / "checkpoint-fine-tune-0001.npz")
    with pytest.raises(ValueError, match="no states of a training were kept in .*; fit with keep_checkpoints='all'"):
        clf.checkpoint_scores(pixels, LABELS, directory=tmp_path / "other")
    with pytest.raises(ValueError, match="there is no directory of checkpoints"):
        clf.checkpoint_scores(pixels, LABELS)
    assert not hasattr(clf, "classes_")


@pytest.mark.parametrize("value", [0, -1, "some", 1.5, True])
def test_other_values_are_refused(make, pixels, value):
    message = "The 'keep_checkpoints' parameter must be 'all', None or a whole number of at least 1"
    with pytest.raises(ValueError, match=message):
        make("fine-tuned", keep_checkpoints=value).fit(pixels, LABELS)


def test_where_they_cannot_be_written_training_goes_on(make, pixels, tmp_path):
    (tmp_path / "checkpoint-fine-tune-0001.npz").mkdir()
    with pytest.warns(StoreWarning, match="cannot be written: .*; training goes on without"):
        clf = make("fine-tuned", checkpoint_dir=tmp_path, keep_checkpoints="all")
        (tmp_path / "superseded" / "checkpoint-fine-tune-0001.npz").mkdir(parents=True)
        (tmp_path / "superseded" / "checkpoint-fine-tune-0001.npz" / "in the way").touch()
        clf.fit(pixels, LABELS)
    assert_same(clf, make("fine-tuned").fit(pixels, LABELS))
