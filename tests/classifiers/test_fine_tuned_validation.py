"""`FineTunedCNNClassifier` with schedules, images that are held out, early stopping and averages."""

import functools
import shutil

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skcnn import Augmentation, FineTunedCNNClassifier
from skcnn.exceptions import ImageReadError
from skcnn.images import ResizeCrop, TenCrop, as_image_sequence
from skcnn.training import CosineDecay, DenseHead, EarlyStopping, OneCycle

LABELS = np.array(["cat", "dog", "emu"] * 4)


@pytest.fixture
def tuned(residual):
    """Return a function that makes a classifier of a tiny network."""

    def make(backbone=residual, **settings):
        defaults = {"epochs": 4, "random_state": 0, "unfreeze": "two_a", "schedule": None, "shrinkage": None}
        return FineTunedCNNClassifier(backbone, **{**defaults, **settings})

    return make


def assert_same_weights(one, two):
    for ours, theirs in zip(one.head_weights_ + one.tail_weights_, two.head_weights_ + two.tail_weights_, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "augmented_views"),
    [({}, 0), ({}, 2), ({"head": DenseHead(None, epochs=3)}, 0), ({}, None)],
    ids=["probe", "stored views", "random head", "fresh views"],
)
def test_images_held_out_are_judged_and_not_trained_on(tuned, files, settings, augmented_views):
    if augmented_views != 0:
        settings = {**settings, "augmentation": Augmentation(), "augmented_views": augmented_views}
    clf = tuned(validation_fraction=0.3, **settings).fit(files, LABELS)
    held_out = clf.validation_indices_
    assert sorted(LABELS[held_out]) == ["cat", "cat", "dog", "emu"] or len(held_out) == 4
    last = clf.history_[-1]
    files, rest = np.array(files), np.setdiff1d(np.arange(12), held_out)
    probabilities = clf.predict_proba(files[held_out])
    codes = np.searchsorted(clf.classes_, LABELS[held_out])
    assert last["val_accuracy"] == pytest.approx(np.mean(probabilities.argmax(axis=1) == codes))
    assert last["val_loss"] == pytest.approx(-np.log(probabilities[np.arange(4), codes]).mean(), rel=1e-4)
    assert all({"val_loss", "val_accuracy"} <= record.keys() for record in clf.history_)
    if augmented_views is None:
        return  # its views depend on the positions of the images
    alone = tuned(**settings).fit(files[rest], LABELS[rest])
    assert_same_weights(clf, alone)
    assert not any("val_loss" in record for record in alone.history_)
    assert len(alone.validation_indices_) == 0


def test_the_images_held_out_are_stratified_and_drawn_by_the_seed(tuned, files):
    many, labels = files * 5, np.tile(LABELS, 5)
    one, same, other = (
        tuned(validation_fraction=0.25, random_state=seed, epochs=0).fit(many, labels).validation_indices_
        for seed in (0, 0, 1)
    )
    assert np.unique(labels[one], return_counts=True)[1].tolist() == [5, 5, 5]
    np.testing.assert_array_equal(one, same)
    assert set(one) != set(other)


@pytest.mark.slow
def test_weights_of_images_held_out_count(tuned, files):
    weights = np.arange(1.0, 13)
    clf = tuned(validation_fraction=0.3, learning_rate=1e-9).fit(files, LABELS, sample_weight=weights)
    held_out = clf.validation_indices_
    probabilities = clf.predict_proba(np.array(files)[held_out])
    losses = -np.log(probabilities[np.arange(4), np.searchsorted(clf.classes_, LABELS[held_out])])
    assert clf.history_[0]["val_loss"] == pytest.approx(np.average(losses, weights=weights[held_out]), rel=1e-3)


def test_stopping_early(tuned, files):
    # Labels that say nothing: what is learned of them is wrong for the others.
    clf = tuned(epochs=60, learning_rate=1e-3, early_stopping=EarlyStopping(patience=2), validation_fraction=0.3)
    clf.fit(files, LABELS)
    figures = [record["val_loss"] for record in clf.history_[1:]]
    assert len(figures) == np.argmin(figures) + 1 + 2 < 60
    held_out = clf.validation_indices_
    probabilities = clf.predict_proba(np.array(files)[held_out])
    codes = np.searchsorted(clf.classes_, LABELS[held_out])
    assert min(figures) == pytest.approx(-np.log(probabilities[np.arange(4), codes]).mean(), rel=1e-4)


def test_stopping_early_holds_out_a_tenth_where_no_share_is_given(tuned, files):
    clf = tuned(early_stopping=True).fit(files, LABELS)
    assert len(clf.validation_indices_) == 3  # at least one of each class
    clf = tuned(early_stopping=EarlyStopping("loss")).fit(files, LABELS)
    assert len(clf.validation_indices_) == 0


def test_schedules(tuned, pixels):
    def rates(schedule):
        clf = tuned(learning_rate=0.01, schedule=schedule).fit(pixels, LABELS)
        return [record["learning_rate"] for record in clf.history_[1:]]

    assert rates(None) == rates("constant") == pytest.approx([0.01] * 4)
    assert rates({1: 0.001, 3: 0.0001}) == pytest.approx([0.01, 0.001, 0.001, 0.0001])
    assert rates("polynomial") == pytest.approx([0.01, 0.0075, 0.005, 0.0025])
    assert rates(CosineDecay(warmup=0, cycles=2)) == pytest.approx([0.01, 0.005] * 2)


@pytest.mark.slow
def test_a_search_over_schedules_traces_the_training_once(tuned, files, monkeypatch):
    from skcnn.training._model import TrainedModel

    compiled = []
    compile_ = TrainedModel.compile
    monkeypatch.setattr(
        TrainedModel, "compile", lambda self, **settings: (compiled.append(1), compile_(self, **settings))
    )
    grid = {"schedule": [None, "cosine", OneCycle(), {2: 1e-5}], "augmentation": [None, Augmentation()]}
    search = GridSearchCV(tuned(augmented_views=2, epochs=3), grid, cv=2).fit(files, LABELS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(compiled) <= 1
    assert clone(search.best_estimator_).get_params()["schedule"] == search.best_params_["schedule"]


def test_averaged_weights(tuned, files):
    ends = [tuned(epochs=epochs).fit(files, LABELS) for epochs in (7, 8)]
    clf = tuned(epochs=8, average_weights=True).fit(files, LABELS)
    for mean, one, two in zip(clf.head_weights_, *(end.head_weights_ for end in ends), strict=True):
        np.testing.assert_allclose(mean, (one + two) / 2, atol=1e-6)


def weights_of(clf):
    return [*clf.head_weights_, *clf.tail_weights_]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{}, {"average_weights": True}, {"head": DenseHead(4, epochs=2, batch_norm=False)}]
)
def test_weights_are_moved_back_a_share_of_the_way(tuned, files, settings):
    end = tuned(**settings).fit(files, LABELS)
    begin = tuned(**settings, shrinkage=1.0).fit(files, LABELS)
    between = tuned(**settings, shrinkage=0.25).fit(files, LABELS)
    head_alone = tuned(**{**settings, "average_weights": False, "epochs": 0}).fit(files, LABELS)
    for ours, first in zip(begin.head_weights_, head_alone.head_weights_, strict=True):
        np.testing.assert_allclose(ours, first, atol=1e-6)
    np.testing.assert_allclose(begin.predict_proba(files), head_alone.predict_proba(files), atol=1e-5)
    for ours, first, last in zip(*map(weights_of, (between, begin, end)), strict=True):
        np.testing.assert_allclose(ours, 0.25 * first + 0.75 * last, atol=1e-6)
    assert between.history_[-1]["loss"] == end.history_[-1]["loss"]


def test_automatic_shrinkage_goes_by_the_images_and_the_errors_of_their_features(tuned, files):
    automatic = tuned(shrinkage="auto").fit(files, LABELS)
    accuracy = automatic.history_[0]["loo_accuracy"]
    images = len(files) / 3
    errors = (1 - accuracy) * images
    share = 1 - images**2 / (images**2 + 100) * errors / (errors + 1)
    given = tuned(shrinkage=share).fit(files, LABELS)
    for ours, theirs in zip(weights_of(automatic), weights_of(given), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert "loo_accuracy" not in given.history_[0]


def test_shrinkage_goes_back_from_the_best_epoch(tuned, files):
    stopping = {"early_stopping": EarlyStopping("loss", min_delta=10.0, patience=3)}
    best, begin, between = (tuned(**stopping, shrinkage=share).fit(files, LABELS) for share in (None, 1, 0.5))
    for ours, first, last in zip(*map(weights_of, (between, begin, best)), strict=True):
        np.testing.assert_allclose(ours, (first + last) / 2, atol=1e-6)


def test_a_head_that_begins_at_random_is_not_moved_back(tuned, files):
    for settings in ({"unfreeze": 0, "head": DenseHead(4, epochs=3)}, {"head": DenseHead(4, epochs=0)}):
        clf, plain = (tuned(**settings, shrinkage=share).fit(files, LABELS) for share in (0.9, None))
        for ours, theirs in zip(weights_of(clf), weights_of(plain), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_automatic_schedule_falls_where_nothing_else_sets_the_rate(tuned, files):
    def rates(**settings):
        return [r["learning_rate"] for r in tuned(schedule="auto", **settings).fit(files, LABELS).history_]

    falling = rates(epochs=8)[1:]
    assert falling[-1] < 0.1 * max(falling)
    np.testing.assert_allclose(rates(unfreeze=0, head=DenseHead(None, epochs=3)), 1e-3, rtol=1e-6)
    own = keras.optimizers.SGD(keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.5, 0.25]))
    assert rates(optimizer=own, learning_rate=None, epochs=2)[-1] == 0.25


def test_every_unreadable_image_is_named_wherever_it_is(tuned, files, tmp_path):
    for bad in (1, 5, 8):
        (tmp_path / f"bad{bad}.png").write_bytes(b"\x89PNG")
        files[bad] = str(tmp_path / f"bad{bad}.png")
    with pytest.raises(ImageReadError) as caught:
        tuned(validation_fraction=0.3).fit(files, LABELS)
    assert set(caught.value.failures) == {1, 5, 8}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation_fraction": 0}, r"'validation_fraction' parameter must be a number above 0 and below 1"),
        ({"validation_fraction": 5}, r"'validation_fraction'.*Got 5"),
        ({"early_stopping": 5}, r"'early_stopping' parameter must be True, False or a skcnn\.training\.EarlyStopping"),
        ({"early_stopping": True, "average_weights": True}, "goes back to the weights of the best epoch.*set one of"),
        ({"shrinkage": 1.5}, "'shrinkage' parameter must be 'auto', None or a number from 0 to 1. Got 1.5"),
        ({"shrinkage": True}, "'shrinkage' parameter must be"),
        ({"average_weights": 0.25}, "'average_weights' parameter must be True or False"),
        ({"schedule": "cosin"}, "'schedule' parameter must be one of 'auto', 'constant'"),
        ({"schedule": {10: 0.1}}, "after 10 epochs, and training ends after 4"),
    ],
)
def test_bad_parameters_are_refused_before_any_image_is_read(tuned, settings, message):
    with pytest.raises(ValueError, match=message):
        tuned(**settings).fit(["no/such/file.jpg"] * 2, ["a", "b"])


def test_a_schedule_for_an_optimizer_that_has_one(tuned):
    import keras

    optimizer = keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 5))
    with pytest.raises(ValueError, match="has a schedule of its own; give it a number, or schedule=None"):
        tuned(optimizer=optimizer, schedule="cosine").fit(["no/such/file.jpg"] * 2, ["a", "b"])


def test_too_few_images_to_hold_out_some(tuned, files):
    with pytest.raises(ValueError, match="1 of 3 classes have one image; to hold out some, each class needs two"):
        tuned(validation_fraction=0.2).fit(files[:5], LABELS[:5])


def test_of_a_large_share_an_image_of_each_class_is_trained_on(tuned, files):
    clf = tuned(validation_fraction=0.9, epochs=1).fit(files, LABELS)
    assert sorted(np.delete(LABELS, clf.validation_indices_)) == ["cat", "dog", "emu"]


def test_images_of_weight_0_are_not_judged_by(tuned, files):
    weights = np.ones(12)
    weights[[0, 1, 2, 3, 4, 5]] = 0
    clf = tuned(validation_fraction=0.5, epochs=2).fit(files, LABELS, sample_weight=weights)
    assert weights[clf.validation_indices_].all()
    assert all(np.isfinite(record["val_loss"]) for record in clf.history_)


def test_copies_of_images_and_their_views_are_held_out_together(tuned, files, tmp_path):
    # Of random labels nothing can be learned but by heart.
    copies = []
    for number, file in enumerate(files * 3):
        copies.append(str(tmp_path / f"{number}.png"))
        shutil.copyfile(file, copies[-1])
    labels = np.tile(LABELS, 3)
    clf = tuned(validation_fraction=0.3, epochs=1).fit(copies, labels)
    held_out = clf.validation_indices_ % 12
    assert len(held_out) == 3 * len(set(held_out))
    crops = as_image_sequence(files).with_step(ResizeCrop(20, 20)).with_step(TenCrop(16, 16)).with_views_apart()
    clf = tuned(validation_fraction=0.3, epochs=1).fit(crops, np.repeat(LABELS, 10))
    held_out = clf.validation_indices_ // 10
    assert len(held_out) == 10 * len(set(held_out))


@pytest.mark.slow
@pytest.mark.parametrize("units", [None, 6])
def test_where_the_head_alone_is_trained_stopping_and_schedule_are_for_it(tuned, files, units):
    tuned = functools.partial(tuned, unfreeze=0, validation_fraction=0.3)
    head = functools.partial(DenseHead, units, learning_rate=0.05)
    stopped = tuned(head=head(epochs=200), early_stopping=EarlyStopping(patience=3)).fit(files, LABELS)
    figures = [record["val_loss"] for record in stopped.history_]
    assert len(figures) == np.argmin(figures) + 1 + 3 < 200
    falling = tuned(head=head(epochs=4), schedule="polynomial").fit(files, LABELS)
    assert [record["learning_rate"] for record in falling.history_] == pytest.approx([0.05, 0.0375, 0.025, 0.0125])
    averaged = tuned(head=head(epochs=8), average_weights=True).fit(files, LABELS)
    ends = [tuned(head=head(epochs=epochs)).fit(files, LABELS) for epochs in (7, 8)]
    for mean, one, two in zip(averaged.head_weights_, *(end.head_weights_ for end in ends), strict=True):
        np.testing.assert_allclose(mean, (one + two) / 2 if mean.dtype.kind == "f" else mean, atol=1e-6)


def test_a_schedule_that_the_head_cannot_follow(tuned, files):
    clf = tuned(unfreeze=0, head=DenseHead(None, epochs=3), epochs=20, schedule={10: 1e-4})
    with pytest.raises(ValueError, match="after 10 epochs, and training ends after 3"):
        clf.fit(files, LABELS)
    own = keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 10))
    with pytest.raises(ValueError, match="the optimizer has a schedule of its own"):
        clf.set_params(schedule="cosine", head__optimizer=own).fit(files, LABELS)


def test_the_rate_of_a_configured_optimizer_of_the_head(tuned, files):
    def rate(**settings):
        clf = tuned(unfreeze=0, head=DenseHead(None, epochs=1, **settings)).fit(files, LABELS)
        return clf.history_[0]["learning_rate"]

    assert rate() == rate(optimizer="sgd") == pytest.approx(1e-3)
    assert rate(optimizer=keras.optimizers.Adam(0.125)) == 0.125
    assert rate(optimizer=keras.optimizers.Adam(0.125), learning_rate=0.25) == 0.25


@pytest.mark.slow
def test_settings_of_numpy_from_a_search(tuned, files, tmp_path):
    settings = {
        "unfreeze": np.int64(1),
        "epochs": np.int64(2),
        "head": DenseHead(
            units=np.int32(4),
            epochs=np.int64(1),
            batch_norm=np.True_,
            dropout=np.float32(0.1),
            l2=np.float32(1e-4),
        ),
        "batch_size": np.int64(8),
        "label_smoothing": np.float64(0.1),
        "learning_rate": np.float64(1e-3),
        "schedule": {np.int64(1): np.float32(1e-4)},
        "early_stopping": EarlyStopping(min_delta=np.float32(0), patience=np.int64(3)),
        "average_weights": np.False_,
        "warm_start": np.False_,
        "cache": np.True_,
        "input_size": np.array([16, 16]),
        "checkpoint_every": np.int64(1),
        "random_state": np.int64(3),
        "verbose": np.int64(0),
    }
    clf = tuned(**settings, checkpoint_dir=tmp_path / "run").fit(files, LABELS)
    plain = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in settings.items()}
    plain["head"] = DenseHead(
        units=4, epochs=1, batch_norm=True, dropout=float(np.float32(0.1)), l2=float(np.float32(1e-4))
    )
    plain |= {"schedule": {1: float(np.float32(1e-4))}, "early_stopping": EarlyStopping(patience=3)}
    same = tuned(**plain, checkpoint_dir=tmp_path / "run").fit(files, LABELS)  # read from the checkpoint
    assert [record["seconds"] for record in same.history_] == [record["seconds"] for record in clf.history_]
    assert_same_weights(clf, same)


@pytest.mark.slow
def test_a_grid_of_booleans_of_numpy(tuned, files):
    search = GridSearchCV(tuned(epochs=1), {"early_stopping": np.array([True, False])}, cv=2, error_score="raise")
    assert len(search.fit(files, LABELS).cv_results_["params"]) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"monitor": "val_acc"},
            "'early_stopping__monitor' parameter must be one of 'val_loss', 'val_accuracy', 'val_rank5_accuracy', 'loss'",
        ),
        ({"patience": 0}, "'early_stopping__patience' parameter must be an int of at least 1"),
        ({"min_delta": -1}, "'early_stopping__min_delta' parameter must be a number of at least 0"),
    ],
)
def test_bad_early_stopping(tuned, files, settings, message):
    with pytest.raises(ValueError, match=message):
        tuned(early_stopping=EarlyStopping(**settings)).fit(files, LABELS)
