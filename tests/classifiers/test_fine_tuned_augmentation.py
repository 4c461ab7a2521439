"""`FineTunedCNNClassifier` with augmentation."""

import keras
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from skcnn import Augmentation, FineTunedCNNClassifier
from skcnn.exceptions import ImageReadError, PreprocessingError
from skcnn.images import ResizeCrop, TenCrop, as_image_sequence
from skcnn.training import DenseHead, LinearHead, build_head, epoch_order
from skcnn.training._fine_tuned_network import TAIL_ORDER
from skcnn.training._model import TrainedModel

LABELS = np.array(["cat", "dog", "emu"] * 4)
AUGMENTATION = Augmentation(crop=(0.5, 1), brightness=20)
# With these the twelve images of 16 x 16 are as they were, and every second view is a mirror image.
MIRRORED = Augmentation.only(horizontal_flip=True)


@pytest.fixture
def tuned(residual):
    """Return a function that makes a classifier of a tiny network."""

    def make(backbone=residual, **settings):
        defaults = {"epochs": 4, "random_state": 0, "unfreeze": "two_a", "augmentation": AUGMENTATION}
        return FineTunedCNNClassifier(backbone, **{**defaults, "schedule": None, "shrinkage": None, **settings})

    return make


def assert_same_weights(one, two, **tolerance):
    for ours, theirs in zip(one.head_weights_ + one.tail_weights_, two.head_weights_ + two.tail_weights_, strict=True):
        np.testing.assert_allclose(ours, theirs, **tolerance)


@pytest.mark.parametrize(
    ("unfreeze", "n_views"),
    [pytest.param(0, 3, marks=pytest.mark.slow), ("two_a", 3), pytest.param("all", 1, marks=pytest.mark.slow)],
)
def test_the_weights_are_those_of_plain_keras_on_the_views(tuned, residual, pixels, unfreeze, n_views):
    clf = tuned(unfreeze=unfreeze, augmented_views=n_views, head=LinearHead(dropout=0), optimizer="adam", batch_size=5)
    clf.fit(pixels, LABELS)

    seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max)
    images = as_image_sequence(pixels).with_step(AUGMENTATION.views(n_views, (16, 16)))
    views = np.asarray(images, np.float32).reshape(12, n_views, 16, 16, 3)
    first_view = int(np.random.SeedSequence(seed).generate_state(2)[0])
    first = np.random.default_rng(first_view).integers(n_views, size=12)
    base = keras.models.clone_model(residual)
    base.set_weights(residual.get_weights())
    for layer in base.layers:
        layer.trainable = layer.name not in (() if unfreeze == "all" else ("stem", "one_a", "one_bn", "one_b"))
    base.trainable = base.trainable and unfreeze != 0
    features = keras.Model(base.input, keras.layers.GlobalAveragePooling2D()(base.output))
    probe = tuned(unfreeze=0, augmentation=None, head=LinearHead(dropout=0)).fit(pixels, LABELS)
    head = build_head(8, 3)
    head.set_weights(probe.head_weights_)
    plain = TrainedModel(features, head)
    plain.compile(keras.optimizers.Adam(1e-4), keras.losses.CategoricalCrossentropy(from_logits=True))
    targets = np.eye(3, dtype=np.float32)[np.arange(12) % 3]
    for epoch in range(4):
        order = epoch_order(12, (seed, TAIL_ORDER), epoch)
        for batch in (order[:5], order[5:10], order[10:]):
            plain.train_on_batch(views[batch, (first[batch] + epoch) % n_views], targets[batch])

    for ours, theirs in zip(clf.head_weights_, head.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert max(np.abs(a - b).max() for a, b in zip(clf.head_weights_, probe.head_weights_, strict=True)) > 1e-4
    logits = plain.predict_on_batch(pixels.astype(np.float32))
    np.testing.assert_allclose(clf.predict_proba(pixels), keras.ops.softmax(logits), atol=1e-4)


@pytest.mark.slow
def test_stored_views_pass_the_network_once_for_all_folds_and_settings(tuned, files, run_sizes, new_process):
    clf = tuned(augmented_views=5, epochs=2, head=LinearHead())
    search = GridSearchCV(clf, {"learning_rate": [1e-4, 1e-3], "head__dropout": [0, 0.5]}, cv=2).fit(files, LABELS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    # Each image once for the probe, once to be predicted from the cut, and its five views.
    assert sum(run_sizes) == (1 + 1 + 5) * len(files)
    run_sizes.clear()
    new_process()
    for seed in (1, 2):
        tuned(augmented_views=5, random_state=seed).fit(files, LABELS)
    assert not run_sizes


def test_fresh_views_pass_the_network_in_every_epoch(tuned, files, run_sizes, private_cache):
    clf = tuned(epochs=3, batch_size=5).fit(files, LABELS)
    assert sum(run_sizes) == (1 + 3) * len(files)
    stored = sum(path.stat().st_size for path in private_cache.rglob("shard-*.h5"))
    clf.fit(files, LABELS)
    assert sum(path.stat().st_size for path in private_cache.rglob("shard-*.h5")) == stored


@pytest.mark.parametrize("views", [None, 3])
def test_the_seed_decides(tuned, pixels, views):
    one, same, other = (tuned(augmented_views=views, random_state=seed).fit(pixels, LABELS) for seed in (0, 0, 1))
    assert_same_weights(one, same, atol=1e-6)
    assert any((a != b).any() for a, b in zip(one.head_weights_, other.head_weights_, strict=True))


@pytest.mark.slow
def test_fresh_views_without_a_trunk(tuned, pixels):
    clf = tuned(unfreeze="all", epochs=2).fit(pixels, LABELS)
    assert len(clf.history_) == 3
    assert clf.predict(pixels).shape == (12,)


@pytest.mark.slow
def test_images_are_predicted_as_they_are(tuned, residual, pixels):
    # A mirrored image has other pixels, but training at a rate of next to nothing changes no weights.
    plain = tuned(augmentation=None, learning_rate=1e-12, head=LinearHead(dropout=0)).fit(pixels, LABELS)
    for views in (None, 2):
        clf = tuned(augmentation=MIRRORED, augmented_views=views, learning_rate=1e-12, head=LinearHead(dropout=0)).fit(
            pixels, LABELS
        )
        np.testing.assert_allclose(clf.predict_proba(pixels), plain.predict_proba(pixels), atol=1e-5)


def test_the_head_begins_on_the_images_as_they_are(tuned, pixels):
    for head in ("probe", DenseHead(None, epochs=2)):
        settings = {"head": head, "epochs": 0}
        assert_same_weights(
            tuned(**settings).fit(pixels, LABELS), tuned(**settings, augmentation=None).fit(pixels, LABELS), atol=1e-6
        )


def test_an_image_that_vanishes_while_it_is_trained_on_is_named(tuned, files, monkeypatch):
    from pathlib import Path

    from skcnn.training._probe import fit_probe

    def fit_and_remove(*args, **kwargs):
        Path(files[3]).unlink()
        return fit_probe(*args, **kwargs)

    monkeypatch.setattr("skcnn.training._phase.fit_probe", fit_and_remove)
    with pytest.raises(ImageReadError, match=r"03\.png"):
        tuned().fit(files, LABELS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augmentation": "flip"}, r"'augmentation' parameter must be a skcnn\.Augmentation or None\. Got 'flip'"),
        ({"augmentation": Augmentation}, "'augmentation' parameter must be"),
        ({"augmented_views": 0}, r"'augmented_views' parameter must be an int of at least 1\. Got 0"),
        ({"augmented_views": 2.0}, "'augmented_views' parameter must be an int"),
    ],
)
def test_bad_parameters_are_refused_before_any_image_is_read(tuned, settings, message):
    with pytest.raises(ValueError, match=message):
        tuned(**settings).fit(["no/such/file.jpg"] * 2, ["a", "b"])


def test_views_are_not_augmented(tuned, files):
    crops = as_image_sequence(files).with_step(ResizeCrop(20, 20)).with_step(TenCrop(16, 16)).with_view(0)
    with pytest.raises(ValueError, match="a step already makes 10 views .* or augmentation=None"):
        tuned().fit(crops, LABELS)


@pytest.mark.parametrize("augmented_views", [None, 2])
def test_levels_are_not_added_to_pixels_in_0_to_1(tuned, pixels, augmented_views):
    clf = tuned(preprocess=None, augmentation=Augmentation(brightness=20), augmented_views=augmented_views)
    with pytest.raises(PreprocessingError, match="brightness of the augmentation are of levels of 0 to 255; multiply"):
        clf.fit(pixels.astype(np.float32) / 255, LABELS)


# The phase of the head alone ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_head_is_trained_on_views_where_it_asks_for_them(tuned, pixels):
    head = DenseHead(8, dropout=0, epochs=5, augmented=True)
    own = pixels[:5], LABELS[:5]
    clf = tuned(head=head, epochs=0, augmented_views=1).fit(pixels, LABELS, validation_data=own)
    views = np.asarray(as_image_sequence(pixels).with_step(AUGMENTATION.views(1, (16, 16))), np.float32)
    views = views.reshape(pixels.shape)
    alone = tuned(head=head, epochs=0, augmentation=None).fit(views, LABELS, validation_data=own)
    assert_same_weights(clf, alone, atol=1e-6)
    assert clf.history_[-1]["val_loss"] == pytest.approx(alone.history_[-1]["val_loss"], rel=1e-5)
    plain = tuned(head=DenseHead(8, dropout=0, epochs=5), epochs=0).fit(pixels, LABELS)
    assert any((ours != theirs).any() for ours, theirs in zip(clf.head_weights_, plain.head_weights_, strict=True))


def test_fresh_views_of_a_head_are_others_in_each_epoch(tuned, pixels):
    """With a learning rate of next to nothing, the loss changes from epoch to epoch by the views alone."""
    settings = {"dropout": 0, "epochs": 3, "learning_rate": 1e-12}
    fresh = tuned(head=DenseHead(8, augmented=True, **settings), epochs=1).fit(pixels, LABELS).history_[:3]
    same = tuned(head=DenseHead(8, **settings), epochs=1).fit(pixels, LABELS).history_[:3]
    assert len({round(record["loss"], 5) for record in fresh}) == 3
    assert len({round(record["loss"], 5) for record in same}) == 1


@pytest.mark.slow
def test_views_of_a_head_and_of_a_tail(tuned, pixels):
    clf = tuned(head=DenseHead(8, epochs=2, augmented=True), augmented_views=2, epochs=2).fit(pixels, LABELS)
    assert [record["phase"] for record in clf.history_] == ["head"] * 2 + ["fine-tune"] * 2
