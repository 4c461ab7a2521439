"""Keras callbacks of the user's own: `callbacks=[...]`."""

import threading
from typing import ClassVar

import keras
import numpy as np
import pytest
from sklearn.base import clone

from skcnn import Augmentation, CNNClassifier, CNNEnsembleClassifier, FineTunedCNNClassifier
from skcnn.training import DenseHead

LABELS = np.array(["cat", "dog", "emu"] * 4)
KINDS = {
    "from scratch": lambda residual, **settings: CNNClassifier("lenet", input_size=16, **settings),
    "fine-tuned": lambda residual, **settings: FineTunedCNNClassifier(residual, unfreeze="two_a", **settings),
    "dense head": lambda residual, **settings: FineTunedCNNClassifier(
        residual, unfreeze=0, head=DenseHead(8, epochs=settings.pop("epochs")), **settings
    ),
    "augmented": lambda residual, **settings: FineTunedCNNClassifier(
        residual, unfreeze="two_a", augmentation=Augmentation(), augmented_views=1, **settings
    ),
}


QUICK = {"from scratch", "fine-tuned"}


@pytest.fixture(params=[kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS])
def make(request, residual):
    def make(callbacks, **settings):
        defaults = {"epochs": 4, "random_state": 0, "schedule": None, "engine": "keras"}
        if request.param == "from scratch":
            del defaults["engine"]
        return KINDS[request.param](residual, callbacks=callbacks, **{**defaults, **settings})

    return make


def of_gradients(clf):
    return clf.history_[-4:]


class Collecting(keras.callbacks.Callback):
    """Keeps what it is called with in a list that copies share."""

    seen: ClassVar[list] = []

    def __init__(self):
        super().__init__()
        self.count = 0

    def on_epoch_end(self, epoch, logs=None):
        self.count += 1
        Collecting.seen.append((self, epoch, dict(logs)))


def test_they_are_called_with_the_figures_of_each_epoch(make, pixels):
    Collecting.seen.clear()
    callback = Collecting()
    clf = make([callback]).fit(pixels, LABELS, validation_data=(pixels[:3], LABELS[:3]))
    assert [epoch for _, epoch, _ in Collecting.seen] == [0, 1, 2, 3]
    for (_, _, logs), record in zip(Collecting.seen, of_gradients(clf), strict=True):
        assert {name: record[name] for name in logs} == pytest.approx(logs)
        assert logs.keys() == {"loss", "accuracy", "val_loss", "val_accuracy"}


def test_each_fit_has_copies_of_its_own(make, pixels):
    Collecting.seen.clear()
    callback = Collecting()
    clf = make([callback])
    clf.fit(pixels, LABELS).fit(pixels, LABELS)
    assert clf.callbacks == [callback]
    assert (callback.count, callback.model) == (0, None)
    assert [epoch for _, epoch, _ in Collecting.seen] == [0, 1, 2, 3] * 2
    assert len({id(each) for each, _, _ in Collecting.seen}) == 2
    CNNEnsembleClassifier(clone(clf), 2, random_state=0).fit(pixels, LABELS)
    assert len(Collecting.seen) == 16


def test_they_change_nothing_by_being_there(make, pixels):
    one, two = make([Collecting()]).fit(pixels, LABELS), make(None).fit(pixels, LABELS)
    np.testing.assert_allclose(one.predict_proba(pixels), two.predict_proba(pixels), rtol=1e-5)


def test_tensorboard_writes_scalars(make, pixels, tmp_path):
    make([keras.callbacks.TensorBoard(tmp_path)]).fit(pixels, LABELS, validation_data=(pixels[:3], LABELS[:3]))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for part in ("train", "validation"):
        (file,) = (tmp_path / part).glob("events.out.tfevents.*")
        log = EventAccumulator(str(file))
        log.Reload()
        assert {"epoch_loss", "epoch_accuracy"} <= {*log.Tags()["tensors"]}
        assert len(log.Tensors("epoch_loss")) == 4


@pytest.mark.slow
def test_keras_may_stop_the_training(make, pixels):
    stopping = keras.callbacks.EarlyStopping("accuracy", patience=1, min_delta=2)
    clf = make([stopping]).fit(pixels, LABELS)
    assert [record["epoch"] for record in clf.history_ if record["phase"] == clf.history_[-1]["phase"]] == [1, 2]


def test_keras_may_set_the_learning_rate(make, pixels):
    falling = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.01 / 2**epoch)
    clf = make([falling]).fit(pixels, LABELS)
    rates = [record["learning_rate"] for record in of_gradients(clf)]
    assert rates == pytest.approx([0.01, 0.005, 0.0025, 0.00125])
    with pytest.raises(ValueError, match="LearningRateScheduler sets the learning rate, and so does the schedule; set"):
        make([falling], schedule="cosine").fit(pixels, LABELS)


def test_the_whole_network_is_refused_before_anything_is_trained(make, pixels, tmp_path):
    saving = keras.callbacks.ModelCheckpoint(tmp_path / "whole.keras")
    with pytest.raises(
        ValueError, match="ModelCheckpoint cannot write the network while it is trained; keep_checkpoints"
    ):
        make([saving], epochs=50).fit(pixels, LABELS)
    saving = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True)
    make([saving]).fit(pixels, LABELS)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{epoch}.weights.h5" for epoch in (1, 2, 3, 4)]


def test_an_interrupt_keeps_the_weights_so_far(make, pixels):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="training was interrupted"):
        clf = make([Interrupt()]).fit(pixels, LABELS)
    assert len(clf.predict(pixels)) == 12


def test_what_a_callback_raises_is_raised(make, pixels):
    class Failing(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise RuntimeError("full")

    with pytest.raises(RuntimeError, match="^full$"):
        make([Failing()]).fit(pixels, LABELS)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_they_are_no_part_of_a_checkpoint(make, pixels, tmp_path):
    first = make([Collecting()], checkpoint_dir=tmp_path).fit(pixels, LABELS)
    again = make([Collecting(), Collecting()], checkpoint_dir=tmp_path).fit(pixels, LABELS)
    assert again.history_[-1] == first.history_[-1]


@pytest.mark.parametrize("callbacks", [keras.callbacks.Callback(), ["TensorBoard"], [keras.callbacks.TensorBoard], 1])
def test_other_values_are_refused(make, pixels, callbacks):
    with pytest.raises(ValueError, match="The 'callbacks' parameter must be None or a list of Keras callbacks"):
        make(callbacks).fit(pixels, LABELS)


def test_what_cannot_be_copied_is_refused(make, pixels):
    callback = keras.callbacks.Callback()
    callback.lock = threading.Lock()
    with pytest.raises(
        TypeError, match=r"each fit makes copies of its callbacks, and Callback cannot be copied: TypeErr"
    ):
        make([callback]).fit(pixels, LABELS)


def test_as_an_argument_of_fit_they_are_refused_with_the_parameter(make, pixels):
    with pytest.raises(TypeError, match=r"'callbacks'; it is a parameter of the classifier: .*\(callbacks=\[...\]\)"):
        make(None).fit(pixels, LABELS, callbacks=[])
