"""Validation images of one's own: `fit(X, y, validation_data=(X_val, y_val))`."""

import warnings

import numpy as np
import pytest
from sklearn import config_context
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skcnn import (
    AspectAwareResize,
    Augmentation,
    CNNClassifier,
    CNNEnsembleClassifier,
    FineTunedCNNClassifier,
    TenCropClassifier,
)
from skcnn.exceptions import CheckpointError, ImageReadError
from skcnn.images import as_image_sequence
from skcnn.training import DenseHead, EarlyStopping

LABELS = np.array(["cat", "dog", "emu"] * 4)
FIGURES = {"val_loss", "val_accuracy"}


@pytest.fixture
def tuned(residual):
    def make(**settings):
        defaults = {"epochs": 3, "random_state": 0, "unfreeze": "two_a", "shrinkage": None}
        return FineTunedCNNClassifier(residual, **{**defaults, **settings})

    return make


@pytest.fixture
def own(pixels):
    """Images that nothing is trained on, of two of three classes, with labels."""
    return pixels[::-1][:5] // 2, np.array(["dog", "cat", "dog", "dog", "cat"])


def judge(clf, images, labels, weights=None):
    probabilities = clf.predict_proba(images)
    codes = np.searchsorted(clf.classes_, labels)
    losses = -np.log(probabilities[np.arange(len(codes)), codes])
    return np.mean(probabilities.argmax(axis=1) == codes), np.average(losses, weights=weights)


SETTINGS = {
    "probe alone": {"epochs": 0},
    "probe and tail": {},
    "dense head": {"head": DenseHead(8, epochs=3), "epochs": 0},
    "stored views": {"augmentation": Augmentation(), "augmented_views": 2},
    "fresh views": {"augmentation": Augmentation()},
    "from pixels": {"unfreeze": "all"},
    "live": {"unfreeze": "all", "batch_norm": "live"},
}


QUICK = {"probe and tail", "dense head", "fresh views"}


@pytest.mark.parametrize(
    "settings",
    [pytest.param(each, id=kind, marks=[] if kind in QUICK else pytest.mark.slow) for kind, each in SETTINGS.items()],
)
def test_they_are_judged_after_each_epoch(tuned, files, own, settings):
    clf = tuned(**settings).fit(files, LABELS, validation_data=own)
    assert all(record.keys() >= FIGURES for record in clf.history_)
    assert len(clf.validation_indices_) == 0
    if settings.get("batch_norm") == "live":
        return  # the statistics are computed anew after the last epoch was judged
    accuracy, loss = judge(clf, *own)
    last = clf.history_[-1]
    assert (last["val_accuracy"], last["val_loss"]) == (pytest.approx(accuracy), pytest.approx(loss, rel=1e-4))


def test_they_change_nothing_of_what_is_trained(tuned, files, own):
    with_them, without = tuned().fit(files, LABELS, validation_data=own), tuned().fit(files, LABELS)
    for one, two in zip(with_them.tail_weights_, without.tail_weights_, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.slow
def test_from_scratch_too(files, own):
    clf = CNNClassifier("lenet", input_size=32, epochs=2, random_state=0).fit(files, LABELS, validation_data=own)
    accuracy, loss = judge(clf, *own)
    assert clf.history_[-1]["val_accuracy"] == pytest.approx(accuracy)
    assert clf.history_[-1]["val_loss"] == pytest.approx(loss, rel=1e-4)


def test_weights_of_images_and_of_classes_count(tuned, files, own):
    weights = np.array([1.0, 2, 0, 1, 3])
    clf = tuned(class_weight={"cat": 3}).fit(files, LABELS, validation_data=(*own, weights))
    _, loss = judge(clf, *own, weights=weights * np.where(own[1] == "cat", 3, 1))
    # Of mean 1, and averaged as Keras averages the loss.
    assert clf.history_[-1]["val_loss"] == pytest.approx(loss, rel=1e-4)


@pytest.mark.slow
def test_balanced_weights_are_those_of_the_classes_that_are_trained_on(tuned, files, own):
    labels = np.where(LABELS == "emu", "cat", LABELS)
    clf = tuned(class_weight="balanced").fit(files, labels, validation_data=own)
    _, loss = judge(clf, *own, weights=np.where(own[1] == "cat", 12 / 8 / 2, 12 / 4 / 2))
    assert clf.history_[-1]["val_loss"] == pytest.approx(loss, rel=1e-4)


def test_early_stopping_goes_by_them_and_holds_nothing_out(tuned, files, own):
    stopping = EarlyStopping("val_accuracy", patience=1)
    clf = tuned(epochs=8, learning_rate=1e-9, early_stopping=stopping).fit(files, LABELS, validation_data=own)
    assert len(clf.history_) == 3  # the probe, the best epoch, and one without anything better
    assert len(clf.validation_indices_) == 0


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 12])
def test_a_search_and_folds_hand_them_on(tuned, files, own, count):
    images = own[0].repeat(3, axis=0)[:count]  # also as many as there are in X
    labels = np.resize(own[1].repeat(3), count)
    search = GridSearchCV(tuned(), {"epochs": [1, 2]}, cv=2).fit(files, LABELS, validation_data=(images, labels))
    accuracy, _ = judge(search.best_estimator_, images, labels)
    assert search.best_estimator_.history_[-1]["val_accuracy"] == pytest.approx(accuracy)


def test_in_a_pipeline_they_go_through_the_steps_before(tuned, own, files):
    pipeline = make_pipeline(AspectAwareResize((20, 10)), tuned())
    pipeline.fit(files, LABELS, finetunedcnnclassifier__validation_data=own)
    _, loss = judge(pipeline, *own)
    assert pipeline[-1].history_[-1]["val_loss"] == pytest.approx(loss, rel=1e-4)
    # Those that went through steps before are taken as they are.
    done = pipeline[:-1].transform(as_image_sequence(own[0]))
    again = tuned().fit(pipeline[:-1].transform(files), LABELS, validation_data=(done, own[1]))
    assert again.history_[-1]["val_loss"] == pytest.approx(loss, rel=1e-4)
    # So that it matters which steps these are.
    stretched = tuned().fit(pipeline[:-1].transform(files), LABELS, validation_data=own)
    plain = tuned().fit(files, LABELS, validation_data=own)
    assert stretched.history_[-1]["val_loss"] == pytest.approx(loss, rel=1e-4)
    assert plain.history_[-1]["val_loss"] != pytest.approx(loss, rel=1e-4)


def test_arrays_that_did_not_go_through_the_steps_are_refused(tuned, pixels, own):
    pipeline = make_pipeline(AspectAwareResize((20, 10)), tuned(epochs=50))
    with pytest.raises(
        ValueError, match=r"validation_data: .* 16 x 16 pixels, .* of 20 x 10; .*pipeline\[:-1\].transform"
    ):
        pipeline.fit(pixels, LABELS, finetunedcnnclassifier__validation_data=own)


@pytest.mark.slow
@pytest.mark.parametrize("routes", [False, True])
def test_wrappers_hand_them_on(tuned, files, own, routes):
    with config_context(enable_metadata_routing=routes):
        one = tuned().set_fit_request(validation_data=True) if routes else tuned()
        members = CNNEnsembleClassifier(one, 2, random_state=0).fit(files, LABELS, validation_data=own).estimators_
        crops = TenCropClassifier(one, resize=16, crop_size=12).fit(files, LABELS, validation_data=own)
        pipeline = make_pipeline(AspectAwareResize(16), CNNEnsembleClassifier(one, 2, method="snapshot"))
        name = "validation_data" if routes else "cnnensembleclassifier__validation_data"
        snapshots = pipeline.fit(files, LABELS, **{name: own})[-1].estimators_
    for fitted in (*members, crops.estimator_, *snapshots):
        accuracy, _ = judge(fitted, *own)
        assert fitted.history_[-1]["val_accuracy"] == pytest.approx(accuracy)


def test_each_crop_is_judged_where_each_crop_is_trained_on(tuned, files, own):
    clf = TenCropClassifier(tuned(), resize=16, crop_size=12, fit_crops=True).fit(files, LABELS, validation_data=own)
    crops = clf._crops(as_image_sequence(own[0]))
    _, loss = judge(clf.estimator_, crops, own[1].repeat(10))
    assert clf.estimator_.history_[-1]["val_loss"] == pytest.approx(loss, rel=1e-4)


@pytest.mark.usefixtures("no_pictures")
def test_a_checkpoint_is_of_these_images(tuned, files, own, tmp_path):
    clf = tuned(checkpoint_dir=tmp_path).fit(files, LABELS, validation_data=own)
    assert tuned(checkpoint_dir=tmp_path).fit(files, LABELS, validation_data=own).history_[1:] == clf.history_[1:]
    with pytest.raises(CheckpointError, match="another training: validation data is another"):
        tuned(checkpoint_dir=tmp_path).fit(files, LABELS, validation_data=(own[0][:4], own[1][:4]))
    warm = tuned(checkpoint_dir=tmp_path, warm_start=True).fit(files, LABELS, validation_data=(own[0][:4], own[1][:4]))
    assert len(warm.history_) == len(clf.history_) + 3


def test_unreadable_ones_are_named_before_anything_is_trained(tuned, files, own, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    clf = tuned(epochs=50)
    with pytest.raises(ImageReadError, match="broken.png"):
        clf.fit(files, LABELS, validation_data=([broken], ["cat"]))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("folder", TypeError, r"validation_data must be images and labels, \(X_val, y_val\).* Got str of 6"),
        (3, TypeError, "Got int$"),
        (([],), TypeError, "Got tuple of 1"),
        ((1, 2, 3, 4), TypeError, "Got tuple of 4"),
        (
            (None, ["gnu", "cat", "yak"]),
            ValueError,
            "validation_data: 2 of 3 images have labels that are no label in y: 'gnu', 'yak'",
        ),
        ((None, [1, 2, 3]), ValueError, "validation_data: 3 of 3 images have labels that are no label in y: 1, 2, 3"),
        ((None, ["cat", None, "cat"]), ValueError, "validation_data: Input y contains NaN: 1 of 3 labels"),
        ((None, None), ValueError, "validation_data: .*the target y is None"),
        ((None, ["cat", "cat"]), ValueError, "validation_data: .*inconsistent numbers of samples"),
        ((None, ["cat"] * 3, [0, 0, 0]), ValueError, "validation_data: .*(non-zero|are 0)"),
        ((None, ["cat"] * 3, [1, -1, 0]), ValueError, "validation_data: Negative values"),
        (([], []), ValueError, "validation_data: "),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(tuned, pixels, given, error, message):
    if isinstance(given, tuple) and given[0] is None:
        given = (pixels[:3], *given[1:])
    with warnings.catch_warnings(), pytest.raises(error, match=message):
        tuned(epochs=50).fit(pixels, LABELS, validation_data=given)


def test_one_way_of_validating_is_enough(tuned, pixels, own):
    with pytest.raises(ValueError, match="validation_data names images, and validation_fraction=0.2 holds some out"):
        tuned(validation_fraction=0.2).fit(pixels, LABELS, validation_data=own)
