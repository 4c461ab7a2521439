import gc
import pickle
import random
import subprocess
import sys
import threading

import joblib
import keras
import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from skcnn import AspectAwareResize, CNNFeatureExtractor, FineTunedCNNClassifier, MeanSubtract
from skcnn.backbones import split
from skcnn.backbones._model_files import FileBackbone
from skcnn.exceptions import BackboneError, ImageReadError, PreprocessingError
from skcnn.images import ResizeCrop, TenCrop, as_image_sequence
from skcnn.images._sequence import ImageSequence
from skcnn.training import DenseHead, LinearHead, build_head, epoch_order, release_models
from skcnn.training._fine_tuned_network import HEAD_ORDER, HEAD_WEIGHTS, TAIL_ORDER
from skcnn.training._model import TrainedModel

LABELS = np.array(["cat", "dog", "emu"] * 4)


@pytest.fixture
def tuned(residual):
    """Return a function that makes a classifier of a tiny network."""

    def make(backbone=residual, **settings):
        defaults = {"epochs": 2, "random_state": 0, "unfreeze": "two_a", "schedule": None, "shrinkage": None}
        return FineTunedCNNClassifier(backbone, **{**defaults, **settings})

    return make


# Against plain Keras ----------------------------------------------------------------------------------------------------


class PlainKeras(keras.Model):
    """The whole network with a head, as Keras's guide to fine-tuning has it."""

    def __init__(self, base, head):
        super().__init__()
        self.base, self.head = base, head

    def call(self, images, training=False):
        features = keras.ops.mean(self.base(images, training=False), axis=(1, 2))
        return self.head(features, training=training)

    def train(self, optimizer, images, targets, seed, epochs, batch_size):
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
        self.compile(optimizer, loss)
        for epoch in range(epochs):
            order = epoch_order(len(images), seed, epoch)
            for start in range(0, len(order), batch_size):
                batch = order[start : start + batch_size]
                self.train_on_batch(images[batch].astype(np.float32), targets[batch])


@pytest.mark.parametrize(
    ("network", "unfreeze", "first"),
    [
        pytest.param("chain", "all", "pixels", marks=pytest.mark.slow),
        ("residual", "two_b", "two_b"),
        pytest.param("chain", 2, "block2_conv1", marks=pytest.mark.slow),
        pytest.param("residual", 6, "stem", marks=pytest.mark.slow),
        pytest.param("dense", 2, "dense3", marks=pytest.mark.slow),
        pytest.param("dense", "dense1", "dense1", marks=pytest.mark.slow),
    ],
)
def test_the_weights_are_those_of_plain_keras(request, network, unfreeze, first, pixels):
    model = request.getfixturevalue(network)
    settings = {"units": 6, "dropout": 0.3, "batch_norm": True, "l2": 0.01}
    clf = FineTunedCNNClassifier(
        model,
        head=DenseHead(**settings, epochs=3),
        unfreeze=unfreeze,
        epochs=4,
        optimizer="adam",
        learning_rate=1e-3,
        label_smoothing=0.1,
        batch_size=5,
        random_state=0,
        schedule=None,
        shrinkage=None,
    ).fit(pixels, LABELS)

    seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max)
    base = keras.models.clone_model(model)
    base.set_weights(model.get_weights())
    head = build_head(base.output_shape[-1], 3, **settings, seed=(seed, HEAD_WEIGHTS))
    targets = np.eye(3, dtype=np.float32)[np.arange(12) % 3]
    plain = PlainKeras(base, head)
    base.trainable = False
    plain.train(keras.optimizers.RMSprop(1e-3), pixels, targets, (seed, HEAD_ORDER), 3, 5)
    names = [layer.name for layer in base.layers]
    base.trainable = True
    for layer in base.layers:
        layer.trainable = names.index(layer.name) >= names.index(first)
    plain.train(keras.optimizers.Adam(1e-3), pixels, targets, (seed, TAIL_ORDER), 4, 5)
    # Batch normalisation has the statistics of all images, where Keras keeps a mean that moves by 1 % a step.
    features = keras.ops.mean(base(pixels.astype(np.float32), training=False), axis=(1, 2))
    values = np.asarray(features) @ head.get_layer("hidden").get_weights()[0]
    head.get_layer("hidden_norm").moving_mean.assign(values.mean(axis=0))
    head.get_layer("hidden_norm").moving_variance.assign(values.var(axis=0))

    for ours, theirs in zip(clf.head_weights_, head.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    tail = [layer for layer in base.layers[names.index(clf.cut_.layer) + 1 :] if layer.weights]
    expected = [weight for layer in tail for weight in layer.get_weights()]
    for ours, theirs in zip(clf.tail_weights_, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    moved = [
        np.abs(now - model.get_layer(layer.name).get_weights()[0]).max()
        for layer in tail
        for now in layer.get_weights()[:1]
    ]
    assert max(moved) > 1e-3


@pytest.mark.slow
def test_live_batch_normalisation_is_that_of_plain_keras(residual, pixels):
    clf = FineTunedCNNClassifier(
        residual,
        head=LinearHead(dropout=0),
        unfreeze="all",
        batch_norm="live",
        epochs=4,
        optimizer="sgd",
        batch_size=5,
        random_state=0,
        schedule=None,
        shrinkage=None,
    ).fit(pixels, LABELS)

    seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max)
    base = keras.models.clone_model(residual)
    base.set_weights(residual.get_weights())
    head = build_head(8, 3)
    head.set_weights(clf.set_params(unfreeze=0, verbose=0).fit(pixels, LABELS).head_weights_)
    clf.set_params(unfreeze="all").fit(pixels, LABELS)
    plain = keras.Model(base.inputs[0], head(keras.layers.GlobalAveragePooling2D()(base.outputs[0])))
    plain.compile(
        keras.optimizers.SGD(1e-3, 0.9, nesterov=True), keras.losses.CategoricalCrossentropy(from_logits=True)
    )
    targets = np.eye(3, dtype=np.float32)[np.arange(12) % 3]
    for epoch in range(4):
        order = epoch_order(12, (seed, TAIL_ORDER), epoch)
        for start in range(0, 12, 5):
            batch = order[start : start + 5]
            plain.train_on_batch(pixels[batch].astype(np.float32), targets[batch])

    before = residual.get_weights()
    for weight, theirs, first, ours in zip(base.weights, base.get_weights(), before, clf.tail_weights_, strict=True):
        if weight.trainable:
            np.testing.assert_allclose(ours, theirs, atol=1e-4, err_msg=weight.path)
        else:
            assert np.abs(ours - first).max() > 1e-3


def test_layers_before_the_first_trained_one_and_statistics_stay(tuned, residual, pixels):
    clf = tuned(unfreeze="two_b", learning_rate=0.01).fit(pixels, LABELS)
    assert clf.cut_.layer == "one_add"
    _, tail = split(residual, "one_add")
    tail.set_weights(clf.tail_weights_)
    for layer in tail.layers:
        for now, before in zip(
            layer.weights, residual.get_layer(layer.name).get_weights() if layer.weights else [], strict=True
        ):
            assert np.array_equal(now, before) is (layer.name in ("two_a", "two_bn")), now.path


def test_the_probe_is_logistic_regression_on_the_features(residual, files):
    clf = FineTunedCNNClassifier(residual, unfreeze=0).fit(files, LABELS)
    features = CNNFeatureExtractor(residual).fit_transform(files)
    features = features - features.mean(axis=0)
    features /= np.sqrt(features.var(axis=0).mean())
    regression = LogisticRegression(tol=1e-6, max_iter=1000).fit(features, LABELS)
    np.testing.assert_allclose(clf.predict_proba(files), regression.predict_proba(features), atol=1e-3)
    (record,) = clf.history_
    assert (record["phase"], record["epoch"]) == ("head", 1)
    assert record["accuracy"] == pytest.approx(clf.score(files, LABELS))
    assert clf.tail_weights_ == []


# What is passed through the network ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_in_a_search_every_image_passes_the_network_once_for_each_cut(tuned, files, run_sizes):
    grid = {"unfreeze": [0, 1, "two_a", "one_b"], "learning_rate": [1e-4, 1e-3], "epochs": [1]}
    search = GridSearchCV(tuned(), grid, cv=2).fit(files, LABELS)
    assert search.cv_results_["mean_test_score"].shape == (8,)
    # The features of the head; before block two, where two cuts fall together; after the stem.
    assert sum(run_sizes) == 3 * len(files)


# What the README says that a search over these depths of efficientnet_lite0 stores of a photograph.
BUDGET = 150_000


@pytest.mark.slow
def test_what_a_search_stores_stays_within_the_budget(files, private_cache):
    clf = FineTunedCNNClassifier(weights=None, epochs=1, random_state=0)
    for unfreeze in (0, 1, 4, 10):
        clf.set_params(unfreeze=unfreeze).fit(files, LABELS)
    shards = [path.stat().st_size for path in private_cache.rglob("*.h5")]
    rows = 1280 + 7 * 7 * 320 + 7 * 7 * 192 + 7 * 7 * 192  # float32: the features, and activations at three cuts
    assert 4 * rows * len(files) < sum(shards) < BUDGET * len(files)


def test_from_the_second_fit_on_nothing_passes_the_network(tuned, files, run_sizes, new_process):
    clf = tuned().fit(files, LABELS)
    passed = sum(run_sizes)
    new_process()
    again = tuned(epochs=3).fit(files, LABELS)
    clf.predict(files)
    assert sum(run_sizes) == passed
    assert len(again.history_) == 4


def test_all_of_a_network_is_trained_on_stored_pixels(tuned, files, private_cache, run_sizes):
    clf = tuned(unfreeze="all").fit(files, LABELS)
    assert clf.cut_.at_input
    assert sum(run_sizes) == len(files)  # for the head
    assert len(clf.tail_weights_) == len(clf.backbone.weights)
    assert len(list(private_cache.rglob("shard-*.h5"))) == 2


@pytest.mark.slow
def test_two_fits_start_from_the_same_weights_and_leave_the_backbone_alone(tuned, residual, pixels):
    before = residual.get_weights()
    clf = tuned(optimizer=keras.optimizers.Adam(0.01))
    first = clf.fit(pixels, LABELS).predict_proba(pixels)
    np.testing.assert_array_equal(clf.fit(pixels, LABELS).predict_proba(pixels), first)
    clf.fit(pixels[:6], LABELS[:6])
    np.testing.assert_array_equal(clf.fit(pixels, LABELS).predict_proba(pixels), first)
    for now, then in zip(residual.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert not clf.optimizer.built


def test_training_does_not_change_what_is_stored(tuned, residual, files):
    features = CNNFeatureExtractor(residual).fit(files)
    before = features.transform(files)
    tuned(learning_rate=0.1, optimizer="sgd").fit(files, LABELS)
    np.testing.assert_array_equal(features.transform(files), before)


def test_nothing_global_changes(tuned, pixels):
    states = random.getstate(), np.random.get_state()[1].copy(), keras.config.dtype_policy().name
    tuned().fit(pixels, LABELS).predict(pixels)
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])
    assert keras.config.dtype_policy().name == states[2]


# One model for many fits --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_search_traces_each_depth_once(tuned, files, monkeypatch, new_process):
    traced = []
    call = TrainedModel.call

    def counting(self, rows, training=False):
        if not hasattr(rows, "numpy"):  # symbolic
            traced.append(self)
        return call(self, rows, training)

    monkeypatch.setattr(TrainedModel, "call", counting)
    grid = {"unfreeze": [1, "two_a"], "learning_rate": [1e-4, 1e-3]}
    GridSearchCV(tuned(), grid, cv=3, refit=False).fit(files, LABELS)
    assert len({id(model) for model in traced}) == 2
    traces = len(traced)
    GridSearchCV(tuned(), grid, cv=3).fit(files, LABELS)
    assert len(traced) == traces


@pytest.mark.slow
def test_a_model_that_is_let_go_of_leaves_no_graph_behind(tuned, pixels):
    def graphs_after_a_fit():
        tuned().fit(pixels, LABELS)
        release_models()
        gc.collect()
        return sum(type(each).__name__ == "FuncGraph" for each in gc.get_objects())

    assert graphs_after_a_fit() == graphs_after_a_fit()


def test_classifiers_that_share_a_model_keep_their_weights(tuned, pixels):
    settings = [{"random_state": 0}, {"random_state": 1, "learning_rate": 0.01}, {"unfreeze": 0}]
    classifiers = [tuned(**each).fit(pixels, LABELS) for each in settings]
    expected = [clf.predict_proba(pixels) for clf in classifiers]
    assert not np.allclose(expected[0], expected[1], atol=1e-3)
    for _ in range(2):
        for clf, probabilities in zip(classifiers, expected, strict=True):
            np.testing.assert_array_equal(clf.predict_proba(pixels), probabilities)


@pytest.mark.slow
def test_threads_that_fit_at_once(tuned, pixels):
    expected = [tuned(random_state=seed).fit(pixels, LABELS).predict_proba(pixels) for seed in range(3)]
    fits = (delayed(tuned(random_state=seed).fit)(pixels, LABELS) for seed in range(3))
    fitted = Parallel(n_jobs=3, backend="threading")(fits)
    for clf, probabilities in zip(fitted, expected, strict=True):
        np.testing.assert_allclose(clf.predict_proba(pixels), probabilities, atol=1e-5)


@pytest.mark.slow
def test_threads_that_predict_at_once_share_one_model(tuned, pixels, monkeypatch):
    """A web server asks from a thread per request; to build a model takes longer than most answers."""
    from skcnn.training._model import TrainedModel

    made = []
    build = TrainedModel.__init__
    monkeypatch.setattr(TrainedModel, "__init__", lambda self, *parts: [made.append(self), build(self, *parts)][0])
    clf = tuned().fit(pixels, LABELS)
    expected = clf.predict_proba(pixels)
    at_first = len(made)
    calls = (delayed(clf.predict_proba)(pixels) for _ in range(40))
    for probabilities in Parallel(n_jobs=8, backend="threading")(calls):
        np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert len(made) == at_first


@pytest.mark.slow
def test_a_fit_after_the_backbone_was_trained_on_starts_from_its_new_weights(tuned, residual, pixels):
    model = keras.models.clone_model(residual)
    model.set_weights(residual.get_weights())
    tuned(model).fit(pixels, LABELS)
    layer = model.get_layer("two_b")
    layer.set_weights([2 * weight for weight in layer.get_weights()])
    again = tuned(model).fit(pixels, LABELS)
    release_models()
    for now, then in zip(again.tail_weights_, tuned(model).fit(pixels, LABELS).tail_weights_, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["probe", DenseHead(None, epochs=2)], ids=["probe", "random"])
def test_a_global_policy_of_mixed_precision_changes_nothing(tuned, pixels, head):
    clf = tuned(head=head)
    expected = clf.fit(pixels, LABELS).predict_proba(pixels)
    release_models()
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        np.testing.assert_array_equal(clf.fit(pixels, LABELS).predict_proba(pixels), expected)
    finally:
        keras.config.set_dtype_policy(policy)


# As an estimator ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_labels_come_back_as_they_were(tuned, files):
    for labels in (LABELS, np.arange(12) % 2 + 5, LABELS.astype(object)):
        clf = tuned().fit(files, labels)
        np.testing.assert_array_equal(clf.classes_, np.unique(labels))
        assert clf.predict(files).dtype == labels.dtype
        probabilities = clf.predict_proba(files)
        assert probabilities.shape == (12, len(np.unique(labels)))
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        assert 0 <= clf.score(files, labels) <= 1


def test_it_learns(tuned, image_paths):
    labels = np.repeat(["apple", "leaf", "sea"], 4)
    clf = tuned(epochs=10, learning_rate=3e-3).fit(image_paths, labels)
    assert clf.score(image_paths, labels) == 1
    assert [record["phase"] for record in clf.history_] == ["head"] + ["fine-tune"] * 10
    assert clf.history_[-1]["loss"] < clf.history_[1]["loss"]


def test_the_seed_decides(tuned, pixels):
    settings = {"head": DenseHead(4, epochs=2), "epochs": 1}
    one, same, other = [
        tuned(**settings, random_state=seed).fit(pixels, LABELS).predict_proba(pixels) for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_weights_of_images_and_classes_count(tuned, pixels):
    for settings in ({"unfreeze": 0}, {"head": DenseHead(None, epochs=5)}):
        plain = tuned(**settings).fit(pixels, LABELS).predict_proba(pixels)[:, 1].mean()
        by_class = tuned(**settings, class_weight={"dog": 50}).fit(pixels, LABELS).predict_proba(pixels)
        by_image = tuned(**settings).fit(pixels, LABELS, np.where(LABELS == "dog", 50, 1)).predict_proba(pixels)
        assert by_class[:, 1].mean() > plain
        np.testing.assert_allclose(by_class, by_image, atol=1e-6)


def test_clone_cross_validation_calibration_and_pipelines(tuned, files):
    clf = tuned(epochs=1)
    assert clone(clf).backbone is clf.backbone
    assert cross_val_score(clone(clf), files, LABELS, cv=2).shape == (2,)
    assert CalibratedClassifierCV(clf, cv=2).fit(files, LABELS).predict_proba(files).shape == (12, 3)
    pipe = make_pipeline(AspectAwareResize(16), clf)
    np.testing.assert_array_equal(pipe.fit(files, LABELS).predict(files), clf.fit(files, LABELS).predict(files))


@pytest.mark.slow
def test_two_workers_search_a_network_and_optimizer_of_ones_own(tuned, files):
    clf = tuned(epochs=1, optimizer=keras.optimizers.SGD(1e-3))
    serial, parallel = [
        GridSearchCV(clf, {"unfreeze": [0, "two_b"]}, cv=2, n_jobs=n_jobs).fit(files, LABELS) for n_jobs in (1, 2)
    ]
    np.testing.assert_allclose(
        parallel.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"], atol=1e-6
    )


PREDICT = """
import sys, joblib, numpy as np
clf = joblib.load(sys.argv[1])
np.save(sys.argv[2], clf.predict_proba(sys.argv[3:]))
"""


def test_a_pickle_predicts_in_another_process(tiny_model, files, tmp_path, other_python):
    tiny_model.save(tmp_path / "tiny.keras")
    clf = FineTunedCNNClassifier(tmp_path / "tiny.keras", unfreeze=1, epochs=1).fit(files, LABELS)
    joblib.dump(clf, tmp_path / "clf.joblib")
    trained = sum(array.nbytes for array in clf.head_weights_ + clf.tail_weights_)
    assert (tmp_path / "clf.joblib").stat().st_size < 1.01 * trained + 10_000
    arguments = [str(tmp_path / "clf.joblib"), str(tmp_path / "probabilities.npy"), *files]
    other_python.run(PREDICT, *arguments)
    np.testing.assert_allclose(np.load(tmp_path / "probabilities.npy"), clf.predict_proba(files), atol=1e-6)


@pytest.mark.slow
def test_a_pickle_of_a_fitted_classifier_is_loaded_without_tensorflow(files, tmp_path):
    clf = FineTunedCNNClassifier(weights=None, input_size=32, unfreeze=1, epochs=1).fit(files, LABELS)
    joblib.dump(clf, tmp_path / "clf.joblib")
    program = "import sys, joblib; joblib.load(sys.argv[1]); assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "clf.joblib")], check=True, timeout=120)


def test_a_progress_bar_for_each_part_on_request(tuned, files, capsys):
    tuned(verbose=1, head=DenseHead(None, epochs=1)).fit(files, LABELS)
    shown = capsys.readouterr().err
    assert "head: 1 of 1 (100 %)" in shown
    assert "fine-tune: 2 of 2 (100 %)" in shown


@pytest.mark.slow
def test_float_images_train_all_of_a_network(tuned, pixels):
    scaled = pixels.astype(np.float32) * 0.7
    assert tuned(unfreeze="all").fit(scaled, LABELS).predict_proba(scaled).shape == (12, 3)
    mixed = [*pixels[:11], scaled[11]]
    clf = tuned(unfreeze="all").fit(mixed, LABELS)
    np.testing.assert_allclose(clf.predict_proba(mixed)[11], clf.predict_proba(scaled)[11], rtol=1e-4)


def test_weights_may_be_set(tuned, pixels):
    one, two = tuned().fit(pixels, LABELS), tuned(random_state=1, learning_rate=0.1).fit(pixels, LABELS)
    assert not np.allclose(one.predict_proba(pixels), two.predict_proba(pixels))
    one.head_weights_, one.tail_weights_ = two.head_weights_, two.tail_weights_
    np.testing.assert_allclose(one.predict_proba(pixels), two.predict_proba(pixels), rtol=1e-5)


def test_pixels_are_decoded_once(tuned, files, monkeypatch):
    decoded, decode = [], ImageSequence.decode

    def counting(self, content, view=None):
        decoded.append(content)
        return decode(self, content, view)

    monkeypatch.setattr(ImageSequence, "decode", counting)
    clf = tuned(unfreeze="all").fit(files, LABELS)
    assert len(decoded) == 2 * len(files), "for the features that the head begins with, and for the pixels"
    clf.predict(files)
    assert len(decoded) == 2 * len(files)


def test_a_network_of_code_that_nothing_can_be_told_about(pixels):
    lock = threading.Lock()

    def scale(x):
        with lock:
            return x / 255

    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Lambda(scale, name="scale")(inputs)
    x = keras.layers.Conv2D(4, 3, name="one")(x)
    model = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="two")(x))
    clf = FineTunedCNNClassifier(model, unfreeze=1, epochs=1, cache=None).fit(pixels, LABELS)
    assert clf.predict(pixels).shape == (12,)


@pytest.mark.slow
def test_one_view_of_several_is_trained_on(tuned, files):
    crops = as_image_sequence(files).with_step(ResizeCrop(20, 20)).with_step(TenCrop(16, 16))
    with pytest.raises(ValueError, match="10 views of each image; choose the one"):
        tuned().fit(crops, LABELS)
    for unfreeze in (0, "two_b", "all"):
        clf = tuned(unfreeze=unfreeze, epochs=1).fit(crops.with_view(4), LABELS)
        assert clf.predict(crops.with_view(4)).shape == (12,)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"unfreeze": 0}, {}, {"average_weights": True}], ids=["head", "tail", "averaged"])
def test_batch_normalisation_of_the_head_has_the_statistics_of_the_training_images(tuned, pixels, settings):
    clf = tuned(head=DenseHead(6, batch_norm=True, epochs=2), **settings).fit(pixels, LABELS)
    features = pixels.astype(np.float32)
    for part in clf._fitted_network().build(clf._weights, 3)[:-1]:
        features = np.asarray(part(features))
    kernel, _, _, mean, variance, *_ = clf.head_weights_
    values = features @ kernel
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(variance, values.var(axis=0), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_batch_normalisation_judges_images_held_out_by_the_statistics_of_the_epoch(tuned, pixels):
    # One step an epoch, of all images: the statistics are those of the weights before it.
    clf = tuned(head=DenseHead(6, batch_norm=True, epochs=30, learning_rate=1e-9), unfreeze=0)
    records = clf.set_params(validation_fraction=0.3).fit(pixels, LABELS).history_
    held_out = clf.validation_indices_
    probabilities = clf.predict_proba(pixels[held_out])
    losses = -np.log(probabilities[np.arange(len(held_out)), np.searchsorted(clf.classes_, LABELS[held_out])])
    assert records[0]["val_loss"] == pytest.approx(losses.mean(), rel=1e-3)


# What cannot be ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("validation_split", "'validation_split'; hold images out by validation_fraction=0.2"),
        ("epochs", r"'epochs'; it is a parameter of the classifier: FineTunedCNNClassifier\(epochs=20\)"),
        ("wieghts", "'wieghts'; it takes X, y, sample_weight and validation_data"),
    ],
)
def test_what_keras_takes_is_refused_with_what_does_the_same(tuned, pixels, argument, message):
    with pytest.raises(TypeError, match=rf"fit\(\) got an unexpected keyword argument {message}"):
        tuned().fit(pixels, LABELS, **{argument: 1})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"unfreeze": 7}, "unfreeze=7, but 'residual' has 6 convolution layers; give a smaller number"),
        ({"unfreeze": "two_c"}, "'residual' has no layer 'two_c'; the closest are 'two_"),
        ({"unfreeze": None}, "The 'unfreeze' parameter must be"),
        ({"layer": "nowhere"}, "'residual' has no layer 'nowhere'"),
        ({"layer": 1.5}, "The 'layer' parameter must be a name, an index or None"),
        ({"optimizer": "adma"}, "The 'optimizer' parameter must be one of 'sgd'"),
        ({"head": DenseHead(optimizer="rms")}, "The 'head__optimizer' parameter must be one of"),
        ({"learning_rate": 0}, "The 'learning_rate' parameter must be a number above 0"),
        ({"head": DenseHead(learning_rate=-1)}, "The 'head__learning_rate' parameter must be a number above 0"),
        ({"head": DenseHead(0)}, "The 'head__units' parameter must be an int of at least 1"),
        ({"head": LinearHead(dropout=1)}, "The 'head__dropout' parameter must be a number of at least 0 and below 1"),
        ({"label_smoothing": 1.0}, "The 'label_smoothing' parameter"),
        ({"head": DenseHead(l2=-0.1)}, "The 'head__l2' parameter must be a number of at least 0"),
        ({"head": LinearHead(C=0)}, "The 'head__C' parameter must be a number above 0"),
        ({"pooling": None}, "The 'pooling' parameter must be one of 'avg', 'max', 'flatten'"),
        ({"head": "zeros"}, "The 'head' parameter must be 'probe', or a LinearHead or DenseHead of skcnn.training"),
        ({"epochs": -1}, "The 'epochs' parameter must be an int of at least 0"),
        ({"head": DenseHead(epochs=2.5)}, "The 'head__epochs' parameter must be an int of at least 0"),
        (
            {"batch_size": 1, "head": DenseHead(4, batch_norm=True)},
            "set 'batch_size' to 2 at least$",
        ),
        ({"batch_size": 0}, "The 'batch_size' parameter must be an int of at least 1"),
        ({"preprocess": "no"}, "The 'preprocess' parameter must be one of 'auto', None"),
        ({"decode": "slow"}, "The 'decode' parameter must be one of"),
        ({"engine": "torch"}, "The 'engine' parameter must be one of"),
    ],
)
def test_bad_parameters_are_refused_before_any_image_is_read(tuned, private_cache, settings, message):
    with pytest.raises(ValueError, match=message):
        tuned(**settings).fit(["no/such/file.jpg"] * 2, ["a", "b"])
    assert not list(private_cache.rglob("shard-*.h5"))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a"] * 12, "all 12 images have the label 'a'; FineTunedCNNClassifier needs at least 2 classes"),
        ([0.0, np.nan] * 6, "Input y contains NaN: 6 of 12 labels are missing"),
        (["a", "b"], "inconsistent numbers of samples"),
        (None, "requires y to be passed"),
    ],
)
def test_bad_labels(tuned, files, labels, message):
    with pytest.raises(ValueError, match=message):
        tuned().fit(files, labels)


def test_an_unreadable_image_is_named_before_any_training(tuned, files, tmp_path, monkeypatch):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    monkeypatch.setattr("skcnn.training._phase.fit_probe", lambda *_, **__: pytest.fail("the head was trained"))
    paths = [*files[:-1], str(tmp_path / "broken.jpg")]
    with pytest.raises(ImageReadError, match=r"broken\.jpg"):
        tuned().fit(paths, LABELS)
    with pytest.raises(ImageReadError, match=r"broken\.jpg"):
        make_pipeline(AspectAwareResize(16, on_error="nan"), tuned()).fit(paths, LABELS)


@pytest.mark.parametrize("unfreeze", [0, 1, "all"])
def test_images_whose_mean_was_subtracted_are_refused(files, unfreeze):
    clf = FineTunedCNNClassifier(weights=None, input_size=32, unfreeze=unfreeze, epochs=1)
    with pytest.raises(PreprocessingError, match="Remove the earlier normalisation, or pass preprocess=None"):
        make_pipeline(MeanSubtract(), clf).fit(files, LABELS)


@pytest.mark.slow
def test_they_are_trained_on_when_that_is_meant(tuned, files):
    clf = tuned(unfreeze="all", preprocess=None, epochs=1)
    assert make_pipeline(MeanSubtract(), clf).fit(files, LABELS).predict(files).shape == (12,)


@pytest.mark.slow
def test_weights_of_another_architecture(files, tmp_path, residual):
    residual.save_weights(tmp_path / "other.weights.h5")
    clf = FineTunedCNNClassifier("MobileNetV2", weights=str(tmp_path / "other.weights.h5"), input_size=32)
    with pytest.raises(BackboneError, match=r"other\.weights\.h5"):
        clf.fit(files, LABELS)


def test_training_that_diverges_says_so(tuned, pixels):
    with pytest.raises(
        FloatingPointError, match="phase 'fine-tune' at a learning rate of 1e.30; lower the learning rate"
    ):
        tuned(optimizer="sgd", learning_rate=1e30, epochs=9).fit(pixels, LABELS)


@pytest.mark.slow
def test_a_backbone_that_was_trained_on_is_refused(tuned, residual, pixels):
    model = keras.models.clone_model(residual)
    model.set_weights(residual.get_weights())
    clf = pickle.loads(pickle.dumps(tuned(model).fit(pixels, LABELS)))
    expected = clf.predict_proba(pixels)
    stem = clf.backbone.get_layer("stem")
    before = stem.get_weights()
    stem.set_weights([weight + 1 for weight in before])
    message = (
        "'residual' is not the one this was fitted on: it is .*, and was .*. Give it the weights of then, or fit again"
    )
    with pytest.raises(BackboneError, match=message):
        clf.predict(pixels)
    stem.set_weights(before)
    np.testing.assert_allclose(clf.predict_proba(pixels), expected, atol=1e-6)


def test_parameters_of_training_may_change_after_the_fit(tuned, pixels):
    clf = tuned(head=DenseHead(4, epochs=1)).fit(pixels, LABELS)
    expected = clf.predict_proba(pixels)
    clf.set_params(head__units=9, head__batch_norm=True, head__dropout=0.9, learning_rate=1.0, epochs=0, batch_size=3)
    for each in (clf, pickle.loads(pickle.dumps(clf))):
        np.testing.assert_allclose(each.predict_proba(pixels), expected, atol=1e-6)


@pytest.mark.parametrize("head", [pytest.param(LinearHead(), marks=pytest.mark.slow), DenseHead(4, epochs=1)])
def test_it_predicts_by_what_was_fitted_whatever_is_set_afterwards(tuned, tiny_model, pixels, tmp_path, head):
    clf = tuned(head=head).fit(pixels, LABELS)
    before = clf.predict_proba(pixels)
    changes = {"backbone": tiny_model, "layer": "one_add", "unfreeze": 0, "pooling": "max", "input_size": 20}
    clf.set_params(**changes, preprocess=None, decode="exact", head=DenseHead(9, batch_norm=True))
    clf.set_params(augmented_views="none that would do")
    np.testing.assert_array_equal(clf.predict_proba(pixels), before)
    copied = pickle.loads(pickle.dumps(clf))
    np.testing.assert_allclose(copied.predict_proba(pixels), before, rtol=1e-5)
    assert copied.get_params()["layer"] == "one_add"
    clf.export(tmp_path / "network.keras")
    exported = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(exported.predict(pixels.astype(np.float32), verbose=0), before, atol=1e-5)
    assert clf.set_params(layer=None, input_size=None, augmented_views=None).fit(pixels, LABELS).cut_.trained == ()


def test_a_head_whose_parameters_are_set_in_place_predicts_as_it_was_fitted(tuned, pixels):
    clf = tuned(head=DenseHead(4, epochs=1)).fit(pixels, LABELS)
    before = clf.predict_proba(pixels)
    clf.set_params(head__units=9)
    np.testing.assert_array_equal(clf.predict_proba(pixels), before)


@pytest.mark.slow
def test_without_a_cache_predicting_builds_no_graph_to_find_the_cut(tuned, residual, pixels, tmp_path, monkeypatch):
    residual.save(tmp_path / "residual.keras")
    classifier = tuned(tmp_path / "residual.keras", cache=None, epochs=1, engine="keras").fit(pixels, LABELS)
    graphs, build = [], FileBackbone.build

    def count(*args, load_weights=True, **options):
        graphs.append(load_weights)
        return build(*args, load_weights=load_weights, **options)

    monkeypatch.setattr(FileBackbone, "build", count)
    for _ in range(3):
        classifier.predict(pixels)
    assert False not in graphs
