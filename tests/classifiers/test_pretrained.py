"""`PretrainedCNNClassifier`: networks that were trained elsewhere, with their own classes."""

import json
import pickle

import keras
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.base import clone
from sklearn.metrics import accuracy_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

from skcnn import (
    AspectAwareResize,
    CNNClassifier,
    CNNEnsembleClassifier,
    FineTunedCNNClassifier,
    PretrainedCNNClassifier,
    TenCropClassifier,
    rank5,
    rank_report,
)
from skcnn.backbones._imagenet import imagenet_classes
from skcnn.exceptions import BackboneError, ImageReadError
from skcnn.images import as_image_sequence
from skcnn.training import DenseHead

LABELS = np.array(["cat", "dog", "emu"] * 4)
CLASSES = ["cat", "dog", "emu"]


def network(n_outputs=3, activation="softmax", seed=0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 255, name="scale")(inputs)
    x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, strides=2, activation="relu")(x))
    return keras.Model(inputs, keras.layers.Dense(n_outputs, activation=activation)(x))


def plain(model, pixels):
    return np.asarray(model(pixels.astype(np.float32), training=False), np.float64)


@pytest.fixture
def exports(residual, pixels, tmp_path):
    """A folder with exports of three fine-tuned members, and the members."""
    clf = FineTunedCNNClassifier(residual, unfreeze=0, head=DenseHead(4, epochs=3), epochs=0)
    ensemble = CNNEnsembleClassifier(clf, 3, random_state=0).fit(pixels, LABELS)
    for number, member in enumerate(ensemble.estimators_):
        member.export(tmp_path / "members" / f"{number}.keras")
    return tmp_path / "members", ensemble


# What it predicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["model", "file"])
@pytest.mark.parametrize("activation", ["softmax", None])
def test_probabilities_are_those_of_the_network(pixels, tmp_path, kind, activation):
    model = network(activation=activation)
    model.save(tmp_path / "own.keras")
    clf = PretrainedCNNClassifier(model if kind == "model" else tmp_path / "own.keras", classes=CLASSES)
    expected = plain(model, pixels)
    expected = expected if activation else softmax(expected, axis=1)
    np.testing.assert_allclose(clf.predict_proba(pixels), expected, rtol=1e-4)
    np.testing.assert_array_equal(clf.predict(pixels), np.array(CLASSES)[expected.argmax(axis=1)])
    np.testing.assert_allclose(clf.predict_proba(pixels).sum(axis=1), 1, rtol=1e-12)
    assert clf.score(pixels, LABELS) == accuracy_score(LABELS, clf.predict(pixels))
    check_is_fitted(clf)


def test_a_layer_of_softmax_counts_as_one(pixels):
    model = network(activation=None)
    for last in (keras.layers.Softmax(), keras.layers.Activation("softmax"), keras.ops.softmax):
        whole = keras.Model(model.input, last(model.output))
        clf = PretrainedCNNClassifier(whole, classes=CLASSES)
        np.testing.assert_allclose(clf.predict_proba(pixels), softmax(plain(model, pixels), axis=1), rtol=1e-4)


def test_one_sigmoid_tells_two_classes(pixels):
    model = network(1, "sigmoid")
    clf = PretrainedCNNClassifier(model, classes=["no", "yes"])
    expected = plain(model, pixels)[:, 0]
    np.testing.assert_allclose(clf.predict_proba(pixels)[:, 1], expected, rtol=1e-4)
    assert clf.predict(pixels).tolist() == ["yes" if p > 0.5 else "no" for p in expected]


def test_an_export_brings_its_classes(pixels, files, tmp_path):
    for name, clf in {
        "scratch": CNNClassifier("lenet", input_size=16, epochs=2, random_state=0),
        "tuned": FineTunedCNNClassifier(network(), unfreeze=1, epochs=1, random_state=0),
        "numbers": CNNClassifier("lenet", input_size=16, epochs=1, random_state=0),
    }.items():
        labels = np.tile([2, 30, 4], 4) if name == "numbers" else LABELS
        clf.fit(pixels, labels)
        loaded = PretrainedCNNClassifier(clf.export(tmp_path / f"{name}.keras"))
        np.testing.assert_array_equal(loaded.classes_, clf.classes_)
        assert loaded.classes_.dtype.kind == clf.classes_.dtype.kind
        np.testing.assert_allclose(loaded.predict_proba(files), clf.predict_proba(files), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_an_export_of_ten_crops(pixels, tmp_path):
    """It ends in a mean of probabilities."""
    inner = CNNClassifier("lenet", input_size=12, epochs=1, random_state=0)
    clf = TenCropClassifier(inner, resize=16, crop_size=12).fit(pixels, LABELS)
    loaded = PretrainedCNNClassifier(clf.export(tmp_path / "crops.keras"))
    np.testing.assert_allclose(loaded.predict_proba(pixels), clf.predict_proba(pixels), rtol=1e-3, atol=1e-5)


def test_imagenet_classes():
    names = imagenet_classes()
    assert len({*names}) == len(names) == 1000
    # As Keras and others number them.
    for number, name in {
        0: "tench",
        2: "great white shark",
        985: "daisy",
        999: "toilet tissue",
        517: "crane (machine)",
    }.items():
        assert names[number] == name


@pytest.mark.slow
def test_the_default_backbone_tells_the_classes_of_imagenet(image_paths):
    clf = PretrainedCNNClassifier(input_size=64)
    probabilities = clf.predict_proba(image_paths)
    assert probabilities.shape == (len(image_paths), 1000)
    assert clf.predict(image_paths)[0] in imagenet_classes()
    labels = clf.predict(image_paths)
    assert rank5(clf, image_paths, labels) == 1
    assert len(rank_report(labels, probabilities, labels=clf.classes_)) >= 1


@pytest.mark.slow
def test_networks_of_keras_have_their_heads(pixels, tmp_path):
    pixels = pixels.repeat(2, axis=1).repeat(2, axis=2)  # 32 x 32
    model = keras.applications.MobileNet(weights=None, input_shape=(32, 32, 3))
    model.save_weights(tmp_path / "whole.weights.h5")
    ours = PretrainedCNNClassifier("MobileNet", weights=tmp_path / "whole.weights.h5", input_size=32, engine="keras")
    expected = model(keras.applications.mobilenet.preprocess_input(pixels.astype(np.float32)), training=False)
    np.testing.assert_allclose(ours.predict_proba(pixels), expected, rtol=1e-3)
    assert ours.classes_[985] == "daisy"


def test_what_was_computed_is_read_from_the_cache(pixels, files, monkeypatch):
    clf = PretrainedCNNClassifier(network(), classes=CLASSES)
    expected = clf.predict_proba(files)
    monkeypatch.setattr("skcnn.backbones.FrozenNetwork.load", lambda *args: pytest.fail("it was run again"))
    np.testing.assert_array_equal(clf.predict_proba(files), expected)


# With others --------------------------------------------------------------------------------------------------------------


def test_it_needs_no_fit_and_fit_checks_the_labels(pixels):
    clf = PretrainedCNNClassifier(network(), classes=CLASSES)
    before = clf.predict_proba(pixels)
    assert clf.fit(pixels, LABELS) is clf
    np.testing.assert_array_equal(clf.predict_proba(pixels), before)
    with pytest.raises(ValueError, match="4 of 12 images have labels that are no class of the network: 'owl'"):
        clf.fit(pixels, np.where(LABELS == "emu", "owl", LABELS))
    assert len(cross_val_score(clf, pixels, LABELS, cv=3)) == 3
    pipeline = make_pipeline(AspectAwareResize(16), clone(clf))
    np.testing.assert_allclose(pipeline.fit(pixels, LABELS).predict_proba(pixels), before, rtol=1e-5)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(clf)).predict_proba(pixels), before, rtol=1e-5)


def test_ten_crops_of_it(pixels):
    inner = PretrainedCNNClassifier(network(), classes=CLASSES)
    clf = TenCropClassifier(inner, resize=20, crop_size=16)
    crops = clf._crops(as_image_sequence(pixels))
    expected = inner.predict_proba(crops).reshape(12, 10, 3).mean(axis=1)
    np.testing.assert_allclose(clf.predict_proba(pixels), expected, rtol=1e-6)


@pytest.mark.slow
def test_a_folder_of_saved_members(exports, pixels):
    folder, ensemble = exports
    loaded = CNNEnsembleClassifier.from_folder(folder)
    np.testing.assert_allclose(loaded.predict_proba(pixels), ensemble.predict_proba(pixels), rtol=1e-3)
    np.testing.assert_array_equal(loaded.classes_, ensemble.classes_)
    table = loaded.member_scores(pixels, LABELS)
    assert table.rows == ["0", "1", "2", "ensemble"]
    weighted = CNNEnsembleClassifier.from_folder(folder, weights=[2, 1, 0])
    np.testing.assert_allclose(weighted.weights_, [2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(
        loaded.fit(pixels, LABELS).predict_proba(pixels), ensemble.predict_proba(pixels), rtol=1e-3
    )


@pytest.mark.slow
def test_the_majority_decides_and_between_equals_the_average(exports, pixels):
    folder, _ = exports
    soft, hard = (CNNEnsembleClassifier.from_folder(folder, voting=voting) for voting in ("soft", "hard"))
    each = np.stack([member.predict_proba(pixels) for member in hard.estimators_])
    votes = np.eye(3)[each.argmax(axis=2)].mean(axis=0)
    np.testing.assert_allclose(hard.predict_proba(pixels), votes, atol=1e-8)
    np.testing.assert_allclose(hard.predict_proba(pixels).sum(axis=1), 1)
    assert hard.member_scores(pixels, LABELS)["rank-1"][-1] == hard.score(pixels, LABELS)

    class Fixed:
        classes_ = np.array(CLASSES)

        def __init__(self, rows):
            self.rows = np.array(rows)

        def predict_proba(self, X):
            return np.tile(self.rows, (len(X), 1))

    hard.estimators_ = [Fixed([0.6, 0.4, 0]), Fixed([0, 0.5, 0.5]), Fixed([0, 0.1, 0.9])]
    hard.weights_ = np.array([0.5, 0.25, 0.25])
    # cat 0.5 of the votes, dog and emu 0.25 each; on average cat has 0.3, dog 0.35, emu 0.35
    assert hard.predict(pixels[:1]).tolist() == ["cat"]
    hard.estimators_[1].rows = np.array([0, 0.4, 0.6])
    assert hard.predict(pixels[:1]).tolist() == ["emu"]
    assert soft.voting == "soft"


def test_voting_of_members_that_are_fitted(residual, pixels):
    clf = FineTunedCNNClassifier(residual, unfreeze=0, head=DenseHead(4, epochs=2), epochs=0)
    hard = CNNEnsembleClassifier(clf, 3, voting="hard", random_state=0).fit(pixels, LABELS)
    each = np.stack([member.predict_proba(pixels) for member in hard.estimators_])
    np.testing.assert_allclose(hard.predict_proba(pixels), np.eye(3)[each.argmax(axis=2)].mean(axis=0), atol=1e-8)
    with pytest.raises(ValueError, match="The 'voting' parameter must be one of 'soft', 'hard'"):
        hard.set_params(voting="majority").fit(pixels, LABELS)
    with pytest.raises(ValueError, match="method='soup' makes one network, and there is nothing to vote"):
        soup = CNNEnsembleClassifier(FineTunedCNNClassifier(residual, unfreeze=1), method="soup", voting="hard")
        soup.fit(pixels, LABELS)


# What cannot be -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["json", "txt"])
def test_classes_in_a_file(pixels, tmp_path, suffix):
    path = tmp_path / f"names.{suffix}"
    path.write_text(json.dumps(CLASSES) if suffix == "json" else "cat\ndog\nemu\n")
    assert PretrainedCNNClassifier(network(), classes=path).classes_.tolist() == CLASSES
    assert PretrainedCNNClassifier(network(), classes=str(path)).predict_proba(pixels).shape == (12, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ["cat", "dog"]}, "tells 3 classes, and there are 2 labels; give 'classes', in the order of its"),
        ({"classes": None}, "the classes of this network are not known; give 'classes'"),
        ({"classes": ["cat", "dog", "cat"]}, "each class needs a label of its own, and 'cat' is given twice"),
        ({"classes": 3}, "classes must be a list of at least two labels"),
        ({"classes": ["cat"]}, "classes must be a list of at least two labels"),
        ({"engine": "tpu"}, "The 'engine' parameter must be one of"),
        ({"preprocess": "some"}, "The 'preprocess' parameter must be"),
    ],
)
def test_parameters_that_cannot_be(pixels, settings, message):
    with pytest.raises(ValueError, match=message):
        PretrainedCNNClassifier(network(), **{"classes": CLASSES, **settings}).predict_proba(pixels)


@pytest.mark.parametrize(
    ("outputs", "activation", "message"),
    [
        (3, "sigmoid", "ends in a sigmoid, which judges each of 3 classes by itself; a classifier chooses"),
        (1, None, "gives one number that is no sigmoid; a classifier gives one number for each class"),
    ],
)
def test_networks_that_do_not_choose_between_classes(pixels, outputs, activation, message):
    with pytest.raises(BackboneError, match=message):
        PretrainedCNNClassifier(network(outputs, activation), classes=CLASSES).predict(pixels)


def test_a_network_without_a_classifier(pixels, residual):
    with pytest.raises(BackboneError, match="gives no vector for each image; a classifier gives one number"):
        PretrainedCNNClassifier(residual, classes=CLASSES).predict(pixels)


def test_a_folder_without_networks(tmp_path):
    with pytest.raises(FileNotFoundError, match="there are no .keras files in"):
        CNNEnsembleClassifier.from_folder(tmp_path)


def test_members_of_different_classes(exports, tmp_path):
    folder, _ = exports
    (folder / "1.keras.classes.json").write_text('["ant", "bee", "cow"]')
    with pytest.raises(ValueError, match="0 has the classes .*'cat'.*, and 1 has .*'ant'"):
        CNNEnsembleClassifier.from_folder(folder)


def test_unreadable_images_are_named(files, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    clf = PretrainedCNNClassifier(network(), classes=CLASSES)
    with pytest.raises(ImageReadError, match="broken.png"):
        clf.predict([*files, broken])
    pipeline = make_pipeline(AspectAwareResize(16, on_error="nan"), clf)
    assert np.isnan(pipeline.predict_proba([*files, broken])).any(axis=1).tolist() == [False] * 12 + [True]
