"""`CNNClassifier`: a network that is trained from random weights."""

import pickle
import threading

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from skcnn import (
    AspectAwareResize,
    Augmentation,
    CNNClassifier,
    CNNEnsembleClassifier,
    CNNFeatureExtractor,
    FineTunedCNNClassifier,
    MeanSubtract,
    TenCropClassifier,
    architectures,
)
from skcnn.architectures import ARCHITECTURES, Architecture
from skcnn.exceptions import BackboneError, CheckpointError, PreprocessingError
from skcnn.training import CosineDecay, EarlyStopping, epoch_order
from skcnn.training._model import TrainedModel, begin_at_random

LABELS = np.array(["cat", "dog", "emu"] * 8)


@pytest.fixture
def images():
    """24 images of 16 x 16 of three classes, which differ in where they are bright."""
    pixels = np.random.default_rng(0).integers(0, 100, (24, 16, 16, 3), dtype=np.uint8)
    pixels[1::3, :8] += 120
    pixels[2::3, :, :8] += 120
    return pixels


def network(input_shape, n_classes, width=8, dropout=0.25):
    """A network with all that is special in training: batch normalisation, dropout and L2."""
    inputs = keras.Input(input_shape)
    x = architectures.conv_module(inputs, width, batch_norm="after", l2=1e-3)
    x = keras.layers.MaxPooling2D(4)(x)
    x = keras.layers.Dropout(dropout)(x)
    x = architectures.dense_module(keras.layers.Flatten()(x), 16, batch_norm="after")
    return keras.Model(inputs, keras.layers.Dense(n_classes, activation="softmax")(x))


def make(architecture=network, **settings):
    defaults = {"input_size": 16, "epochs": 8, "random_state": 0, "batch_size": 6, "optimizer": "adam"}
    return CNNClassifier(architecture, **{**defaults, "schedule": None, **settings})


@pytest.fixture(scope="module")
def fitted():
    """A classifier that was fitted once, to be read."""
    pixels = np.random.default_rng(0).integers(0, 100, (24, 16, 16, 3), dtype=np.uint8)
    pixels[1::3, :8] += 120
    pixels[2::3, :, :8] += 120
    return make(cache=None).fit(pixels, LABELS)


def assert_same(one, two):
    for ours, theirs in zip(one.weights_, two.weights_, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    untimed = [[{k: v for k, v in r.items() if k != "seconds"} for r in each.history_] for each in (one, two)]
    np.testing.assert_equal(*untimed)


def trained(clf):
    """Return the weights that are trained, without the statistics of batch normalisation."""
    weights = clf._layers.build().weights
    return [value for value, weight in zip(clf.weights_, weights, strict=True) if weight.trainable]


# What it computes ---------------------------------------------------------------------------------------------------------


def test_it_learns(fitted, images):
    assert fitted.score(images, LABELS) == 1
    assert [*fitted.classes_] == ["cat", "dog", "emu"]
    assert [record["epoch"] for record in fitted.history_] == [*range(1, 9)]
    assert {record["phase"] for record in fitted.history_} == {"train"}
    assert fitted.history_[-1]["loss"] < fitted.history_[0]["loss"]
    np.testing.assert_allclose(fitted.predict_proba(images).sum(axis=1), 1)


@pytest.mark.parametrize(
    "optimizer",
    [pytest.param(keras.optimizers.SGD(0.01, momentum=0.9), marks=pytest.mark.slow), keras.optimizers.AdamW(1e-3)],
)
def test_the_weights_are_those_of_plain_keras(images, optimizer):
    """The same network, seeds and batches: with live batch normalisation, dropout and L2, after several epochs."""
    clf = make(optimizer=optimizer, epochs=5, batch_size=5).fit(images, LABELS)

    seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max)
    plain = network((16, 16, 3), 3)
    begin_at_random(plain, (seed, 0))
    plain.compile(type(optimizer).from_config(optimizer.get_config()), "categorical_crossentropy")
    targets, pixels = np.eye(3)[np.arange(24) % 3], images * np.float32(1 / 255)
    for epoch in range(5):
        order = epoch_order(24, (seed, 1), epoch)
        for start in range(0, 24, 5):
            chosen = order[start : start + 5]
            plain.train_on_batch(pixels[chosen], targets[chosen])
    ours = keras.models.clone_model(plain)
    ours.set_weights(clf.weights_)
    for variable, other in zip(ours.trainable_variables, plain.trainable_variables, strict=True):
        np.testing.assert_allclose(variable, other, rtol=1e-4, atol=1e-4)


def test_batch_normalisation_has_the_statistics_of_all_images(images):
    """Also after a few steps, when those that Keras keeps are still near their beginning."""
    clf = make(epochs=2).fit(images, LABELS)
    model = keras.models.Model.from_config(clf._layers.build().get_config())
    model.set_weights(clf.weights_)
    (first, *_) = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    values = np.asarray(keras.Model(model.input, first.input)(images.astype(np.float32)), np.float64)
    np.testing.assert_allclose(first.moving_mean, values.mean(axis=(0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(first.moving_variance, values.var(axis=(0, 1, 2)), rtol=1e-4)


@pytest.mark.parametrize("averages", [False, True])
def test_the_statistics_are_of_the_weights_that_are_kept(images, averages):
    """The mean of weights has other statistics than the weights; so do weights that an early stop goes back to."""
    settings = {"average_weights": True} if averages else {"early_stopping": EarlyStopping("loss", patience=1)}
    clf = make(epochs=6, **settings).fit(images, LABELS)
    model = TrainedModel(None, clf._layers.build())
    model.head.set_weights(clf.weights_)
    order = epoch_order(24, (np.random.RandomState(0).randint(np.iinfo(np.int32).max), 1), 5)
    model.set_norm_statistics(images[order[start : start + 6]] for start in range(0, 24, 6))
    for variable, expected in zip(model.head.get_weights(), clf.weights_, strict=True):
        np.testing.assert_allclose(variable, expected, rtol=1e-3, atol=1e-4)


def test_the_same_seed_gives_the_same_and_another_one_another(fitted, images):
    again = make(cache=None).fit(images, LABELS)
    assert_same(fitted, again)
    other = make(random_state=1, epochs=1).fit(images, LABELS)
    assert not np.allclose(other.weights_[0], fitted.weights_[0])


@pytest.mark.slow
def test_neither_the_image_store_nor_its_absence_changes_anything(fitted, images, image_paths):
    assert_same(fitted, make(cache=True).fit(images, LABELS))
    y = np.repeat(["apple", "leaf", "sea"], 4)
    stored, fresh = (make(epochs=2, cache=cache).fit(image_paths, y) for cache in (True, None))
    assert_same(stored, fresh)


def test_pixels_are_stored_as_uint8_and_decoded_once(image_paths, private_cache, monkeypatch):
    y = np.repeat(["apple", "leaf", "sea"], 4)
    make(epochs=1).fit(image_paths, y)
    assert sum(file.stat().st_size for file in private_cache.rglob("*.h5")) < 12 * 16 * 16 * 3 + 20_000
    monkeypatch.setattr("skcnn.images._sequence.ImageSequence.decode", None)
    make(epochs=3, random_state=3).fit(image_paths, y).predict(image_paths)


def test_augmented_views_are_made_of_stored_pixels(image_paths, monkeypatch):
    from skcnn.images._sequence import ImageSequence

    decode, decoded = ImageSequence.decode, []
    monkeypatch.setattr(ImageSequence, "decode", lambda *args: [decoded.append(args), decode(*args)][1])
    clf = make(epochs=4, augmentation=Augmentation(zoom=0.5)).fit(image_paths, np.repeat(["apple", "leaf", "sea"], 4))
    # The first eight to learn how large they are; all for the pixels at 16 and at 24; and in one fit no more.
    assert len(decoded) == 8 + 12 + 12
    assert clf.predict(image_paths).shape == (12,)


# Architectures ------------------------------------------------------------------------------------------------------------

SMALL = {"resnet": {"stages": (1, 1), "filters": (4, 4, 8)}, "deepergooglenet": {"stages": (3,)}}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("lenet", "mlp", "minivggnet") else [pytest.mark.slow])
        for name in ARCHITECTURES
    ],
)
def test_each_architecture_by_name(images, name):
    size = 64 if name == "alexnet" else 16
    clf = make(Architecture(name, **SMALL.get(name, {})), input_size=size, epochs=1).fit(images[:6], LABELS[:6])
    assert clf.predict_proba(images[:2]).shape == (2, 3)
    expected = ARCHITECTURES[name]((size, size, 3), 3, **SMALL.get(name, {}))
    assert [weight.shape for weight in clf.weights_] == [weight.shape for weight in expected.get_weights()]


@pytest.mark.slow
def test_a_name_of_keras(images):
    clf = make(Architecture("MobileNetV2", alpha=0.35), input_size=32, epochs=1).fit(images[:6], LABELS[:6])
    assert clf.predict_proba(images[:2]).shape == (2, 3)


def test_names_of_keras_have_their_own_normalisation():
    """Pixels are normalised as for the published weights, here in the order BGR, and not scaled twice."""
    layers = make("VGG16", input_size=32)._network().layers(3).config["config"]["layers"]
    assert layers[1]["class_name"] == "GetItem"
    assert "Rescaling" not in {layer["class_name"] for layer in layers}
    assert layers[-1]["config"]["activation"] == "linear"


@pytest.mark.slow
def test_a_keras_model_gives_its_layers_but_not_its_weights(images):
    model = network((16, 16, 3), 3)
    before = model.get_weights()
    one, two = (make(model, epochs=1, random_state=seed).fit(images, LABELS) for seed in (0, 1))
    for weight, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)
    assert not np.allclose(one.weights_[0], two.weights_[0])
    assert_same(one, make(network, epochs=1).fit(images, LABELS))
    assert clone(one).architecture is model


@pytest.mark.parametrize("nested", [False, True])
def test_a_sequential_model_that_scales_its_pixels_itself(images, nested):
    body = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.GlobalAveragePooling2D()]
    body = [keras.Sequential([keras.Input((16, 16, 3)), *body])] if nested else body
    last = [keras.layers.Dense(3), keras.layers.Softmax()]
    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Rescaling(1 / 127.5, offset=-1), *body, *last])
    clf = make(model, epochs=1).fit(images, LABELS)
    layers = [layer["class_name"] for layer in clf._layers.config["config"]["layers"]]
    assert layers == ["InputLayer", "Rescaling", "Conv2D", "GlobalAveragePooling2D", "Dense"]


@pytest.mark.parametrize("ending", ["softmax of the layer", "softmax layer", "activation", "logits"])
def test_networks_end_in_a_softmax_or_in_logits(images, ending):
    def build(input_shape, n_classes):
        inputs = keras.Input(input_shape)
        activation = "softmax" if ending == "softmax of the layer" else None
        x = keras.layers.Dense(n_classes, activation=activation)(keras.layers.Flatten()(inputs))
        if ending == "softmax layer":
            x = keras.layers.Softmax()(x)
        elif ending == "activation":
            x = keras.layers.Activation("softmax")(x)
        return keras.Model(inputs, x)

    clf = make(build, epochs=1).fit(images, LABELS)
    weights, bias = clf.weights_
    logits = images.reshape(24, -1) / 255 @ weights.astype(np.float64) + bias
    np.testing.assert_allclose(
        np.log(clf.predict_proba(images)), logits - np.log(np.exp(logits).sum(axis=1))[:, None], atol=1e-5
    )


@keras.saving.register_keras_serializable("test_cnn")
class Scale(keras.layers.Layer):
    """Its weights have an initializer that no configuration tells of."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],), initializer="uniform")

    def call(self, x):
        return x * self.factor


def with_own_code(input_shape, n_classes, factor=2.0):
    x = inputs = keras.Input(input_shape)
    x = keras.layers.Lambda(lambda x: x * factor)(Scale()(keras.layers.Flatten()(x)))
    return keras.Model(inputs, keras.layers.Dense(n_classes)(x))


def test_custom_layers_and_functions(images):
    one, two = (make(with_own_code, epochs=1).fit(images, LABELS) for _ in range(2))
    assert_same(one, two)
    again = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(again.predict_proba(images), one.predict_proba(images))
    assert make(Architecture(with_own_code, factor=3.0))._network().describe(3) != one._network().describe(3)


LOCK = threading.Lock()


def test_code_that_depends_on_something_unknown(images):
    """It is trained and gone on with all the same."""

    def build(input_shape, n_classes):
        inputs = keras.Input(input_shape)
        x = keras.layers.Lambda(lambda x: x * 2 if LOCK else x)(keras.layers.Flatten()(inputs))
        return keras.Model(inputs, keras.layers.Dense(n_classes)(x))

    clf = make(build, epochs=2, warm_start=True).fit(images, LABELS).fit(images, LABELS)
    assert len(clf.history_) == 4
    assert clf.predict_proba(images).shape == (24, 3)


def test_grey_images(images):
    clf = make("lenet", input_size=28, channels=1, epochs=1).fit(images, LABELS)
    assert clf.weights_[0].shape == (5, 5, 1, 20)
    assert clf.predict(images[..., :1]).shape == (24,)


@pytest.mark.slow
def test_pixels_that_were_centred(images):
    pipeline = make_pipeline(AspectAwareResize(16), MeanSubtract(), make(epochs=1, preprocess=None))
    assert pipeline.fit(images, LABELS).predict(images).shape == (24,)
    with pytest.raises(PreprocessingError, match="normalises them itself"):
        pipeline.set_params(cnnclassifier__preprocess="auto").fit(images, LABELS)


# Bad input ----------------------------------------------------------------------------------------------------------------


def two_outputs(input_shape, n_classes):
    inputs = keras.Input(input_shape)
    x = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, [keras.layers.Dense(n_classes)(x), keras.layers.Dense(1)(x)])


def sigmoid(input_shape, n_classes):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, keras.layers.Dense(n_classes, activation="sigmoid")(keras.layers.Flatten()(inputs)))


@pytest.mark.parametrize(
    ("architecture", "settings", "error", "message"),
    [
        ("minivgnet", {}, ValueError, "unknown architecture 'minivgnet'; closest: 'minivggnet'.*There are alexnet, "),
        ("alexnet", {}, ValueError, "alexnet takes images of 57 x 57 pixels or more, and input_shape=.* is 16 x 16"),
        (
            "MobileNetV2",
            {},
            ValueError,
            "MobileNetV2 cannot be built for images of 16 x 16 pixels: Input size must be at least",
        ),
        (lambda shape, n: None, {}, TypeError, r"<lambda>\(input_shape, n_classes\) has to return a keras.Model, and"),
        (lambda shape, n: network(shape, 7), {}, ValueError, r"gives \(7,\) values for each image, and there are 3"),
        (lambda shape, n: network((8, 8, 3), n), {}, ValueError, "takes images of 8 x 8 pixels with 3 channels, and"),
        (two_outputs, {}, ValueError, "two_outputs has 1 inputs and 2 outputs; a classifier has one of each"),
        (sigmoid, {}, ValueError, "sigmoid ends in a sigmoid.*; end it in n_classes outputs with a softmax"),
        (5, {}, ValueError, "The 'architecture' parameter must be the name of a network, a function"),
        (network, {"channels": 4}, ValueError, "'channels' parameter must be one of 1, 3"),
        (network, {"input_size": 0}, ValueError, "'input_size'"),
        (network, {"batch_size": 1}, ValueError, "normalises the images of a batch by each other, and batch_size=1"),
        (network, {"epochs": 0}, ValueError, "nothing is left to train; set 'epochs' above 0"),
        (network, {"preprocess": "yes"}, ValueError, "'preprocess'"),
    ],
)
def test_bad_parameters(images, architecture, settings, error, message):
    with pytest.raises(error, match=message):
        make(architecture, **settings).fit(images, LABELS)


def test_bad_labels(images):
    with pytest.raises(ValueError, match="needs at least 2 classes, got 1 class"):
        make().fit(images, ["cat"] * 24)
    with pytest.raises(ValueError, match="24.*23"):
        make().fit(images, LABELS[:-1])


def test_a_network_without_a_graph(images):
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(BackboneError, match="has no graph of layers"):
        make(lambda shape, n: Own()).fit(images, LABELS)


def test_a_loss_that_is_no_number_keeps_the_weights_before_it(images):
    clf = make(epochs=4, schedule={2: 1e30}, learning_rate=1e-3, optimizer="sgd", warm_start=True)
    message = (
        r"loss became (nan|inf) in epoch 3 of phase 'train' at a learning rate of 1e\+30; lower .*keeps the weights"
    )
    with pytest.raises(FloatingPointError, match=message):
        clf.fit(images, LABELS)
    assert [record["epoch"] for record in clf.history_] == [1, 2]
    assert all(np.isfinite(weight).all() for weight in clf.weights_)
    assert np.isfinite(clf.predict_proba(images)).all()
    whole = make(epochs=2, learning_rate=1e-3, optimizer="sgd").fit(images, LABELS)
    for ours, theirs in zip(trained(clf), trained(whole), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    clf.set_params(schedule=None).fit(images, LABELS)
    assert len(clf.history_) == 6


def test_a_loss_that_is_no_number_at_once_leaves_it_unfitted(images):
    clf = make(learning_rate=1e30, optimizer="sgd")
    with pytest.raises(FloatingPointError, match="in epoch 1 of phase 'train'"):
        clf.fit(images, LABELS)
    assert not hasattr(clf, "classes_")


# In company ---------------------------------------------------------------------------------------------------------------


def test_pickles_and_clones(fitted, images):
    for other in (pickle.loads(pickle.dumps(fitted)), fitted.set_params(verbose=0)):
        np.testing.assert_array_equal(other.predict_proba(images), fitted.predict_proba(images))
    assert not hasattr(clone(fitted), "classes_")


def test_a_fitted_one_computes_by_what_it_was_fitted_with(fitted, images):
    expected = fitted.predict_proba(images)
    changed = pickle.loads(pickle.dumps(fitted)).set_params(architecture="lenet", input_size=8, preprocess=None)
    np.testing.assert_array_equal(changed.predict_proba(images), expected)


@pytest.mark.parametrize("suffix", [".keras", ""])
def test_an_export_computes_the_same(fitted, images, tmp_path, suffix):
    path = fitted.export(tmp_path / f"model{suffix}")
    if suffix:
        probabilities = keras.models.load_model(path)(images.astype(np.float32))
    else:
        import tensorflow as tf

        loaded = tf.saved_model.load(path)
        probabilities = loaded.serve(images.astype(np.float32))
    np.testing.assert_allclose(probabilities, fitted.predict_proba(images), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_an_export_is_a_backbone(fitted, images, tmp_path):
    path = fitted.export(tmp_path / "model.keras")
    features = CNNFeatureExtractor(path, input_size=16).fit_transform(images)
    assert features.shape[0] == 24
    tuned = FineTunedCNNClassifier(path, unfreeze=1, epochs=2, random_state=0).fit(images, LABELS)
    assert tuned.score(images, LABELS) == 1


def test_checkpoints_go_on_where_they_were_left(images, tmp_path, monkeypatch):
    """Killed and gone on with is the same as never killed: with live batch normalisation, dropout and a schedule."""
    from skcnn.training._callbacks import Recorder

    settings = {"schedule": "cosine", "checkpoint_every": 1, "average_weights": True, "validation_fraction": 0.25}
    whole = make(**settings).fit(images, LABELS)
    on_epoch_end = Recorder.on_epoch_end

    def ending(self, epoch, logs=None):
        if epoch >= 4:
            raise SystemExit
        on_epoch_end(self, epoch, logs)

    clf = make(checkpoint_dir=tmp_path / "run", **settings)
    monkeypatch.setattr(Recorder, "on_epoch_end", ending)
    with pytest.raises(SystemExit):
        clf.fit(images, LABELS)
    monkeypatch.setattr(Recorder, "on_epoch_end", on_epoch_end)
    assert_same(clf.fit(images, LABELS), whole)
    assert len(clf.history_) == 8
    with pytest.raises(CheckpointError, match="network is another"):
        make("lenet", checkpoint_dir=tmp_path / "run", **settings).fit(images, LABELS)


def test_a_warm_start_goes_on(images):
    once = make(epochs=6, optimizer="sgd", learning_rate=0.01).fit(images, LABELS)
    twice = make(epochs=3, optimizer="sgd", learning_rate=0.01, warm_start=True).fit(images, LABELS).fit(images, LABELS)
    for ours, theirs in zip(trained(twice), trained(once), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert [record["epoch"] for record in twice.history_] == [*range(1, 7)]
    with pytest.raises(ValueError, match="warm_start=True goes on from the fit before.*network is another"):
        twice.set_params(architecture="lenet").fit(images, LABELS)


@pytest.mark.parametrize("n_views", [2, None])
def test_augmentation(images, n_views):
    clf = make(augmentation=Augmentation(rotation=5), augmented_views=n_views, epochs=2)
    one, two = (clone(clf).fit(images, LABELS) for _ in range(2))
    assert_same(one, two)
    assert not np.allclose(one.weights_[0], make(epochs=2).fit(images, LABELS).weights_[0])


@pytest.mark.slow
def test_ensembles(images):
    independent = CNNEnsembleClassifier(make(epochs=2), n_estimators=2, random_state=0).fit(images, LABELS)
    one, two = independent.estimators_
    assert not np.allclose(one.weights_[0], two.weights_[0])
    assert independent.predict_proba(images).shape == (24, 3)
    snapshots = CNNEnsembleClassifier(
        make(epochs=4, schedule="constant"), n_estimators=2, method="snapshot", random_state=0
    )
    snapshots.fit(images, LABELS)
    assert [len(each.history_) for each in snapshots.estimators_] == [2, 4]
    assert snapshots.score(images, LABELS) > 0.5
    soup = CNNEnsembleClassifier(make(epochs=2), n_estimators=2, method="soup", random_state=0)
    with pytest.raises(ValueError, match="begin with the same weights, and those of every member begin at random"):
        soup.fit(images, LABELS)


@pytest.mark.slow
def test_ten_crops_and_calibration(images):
    crops = TenCropClassifier(make(input_size=12, epochs=2), resize=16, crop_size=12).fit(images, LABELS)
    assert crops.predict_proba(images).shape == (24, 3)
    calibrated = CalibratedClassifierCV(make(epochs=2), cv=2).fit(images, LABELS)
    assert calibrated.predict_proba(images).shape == (24, 3)


@pytest.mark.slow
def test_a_search_over_architectures_and_their_options(images):
    search = GridSearchCV(make(Architecture(network), epochs=2), {"architecture__width": [4, 8]}, cv=2).fit(
        images, LABELS
    )
    assert search.best_estimator_.architecture.options["width"] == search.best_params_["architecture__width"]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    search = GridSearchCV(make(epochs=1), {"architecture": ["lenet", network, Architecture("convnet")]}, cv=2)
    assert np.isfinite(search.fit(images, LABELS).cv_results_["mean_test_score"]).all()
    with pytest.raises(ValueError, match=r"set 'architecture' to skcnn.architectures.Architecture\(\)"):
        make("lenet").set_params(architecture__l2=0.1)


@pytest.mark.slow
def test_workers_fit_it_too(images):
    scores = cross_val_score(make(epochs=2), images, LABELS, cv=2, n_jobs=2)
    np.testing.assert_array_equal(scores, cross_val_score(make(epochs=2), images, LABELS, cv=2))


@pytest.mark.slow
def test_schedules_reach_it(images):
    rates = [record["learning_rate"] for record in make(schedule=CosineDecay(0), epochs=4).fit(images, LABELS).history_]
    assert rates == sorted(rates, reverse=True)
    assert make(optimizer="sgd", epochs=1).fit(images, LABELS).history_[0]["learning_rate"] == pytest.approx(1e-2)
    assert make(epochs=1).fit(images, LABELS).history_[0]["learning_rate"] == pytest.approx(1e-3)
