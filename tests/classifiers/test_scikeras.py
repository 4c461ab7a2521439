"""`ScikerasClassifier`: functions that build networks for scikeras, fed by images."""

import pickle
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
from scikeras.wrappers import KerasClassifier
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

import skcnn
from skcnn import (
    AspectAwareResize,
    CNNEnsembleClassifier,
    CNNFeatureExtractor,
    MeanSubtract,
    ScikerasClassifier,
    TenCropClassifier,
)
from skcnn.exceptions import ImageReadError
from skcnn.metrics import rank1

LABELS = np.repeat(["cat", "dog", "emu"], 4)  # sorted: folds that do not stratify lack classes
LOSS = "sparse_categorical_crossentropy"


def build(meta, width=4):
    shape = meta["X_shape_"][1:]
    x = inputs = keras.Input(shape)
    if len(shape) == 3:
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(x))
    x = keras.layers.Dense(width, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(meta["n_classes_"], activation="softmax")(x))


def make(**settings):
    return ScikerasClassifier(build, **{"loss": LOSS, "verbose": 0, "epochs": 2, "random_state": 0, **settings})


def test_it_is_a_classifier_for_scikit_learn():
    assert is_classifier(make())
    tags = get_tags(make())
    assert tags.target_tags.required
    assert tags.input_tags.three_d_array


def test_cross_validation_stratifies(files):
    class Noting(ScikerasClassifier):
        seen = []  # noqa: RUF012

        def fit(self, X, y, **kwargs):
            self.seen.append(np.unique(y, return_counts=True)[1].tolist())
            return super().fit(X, y, **kwargs)

    clf = Noting(build, loss=LOSS, verbose=0, input_size=16)
    assert len(cross_val_score(clf, files, LABELS, cv=3)) == 3
    assert all(len(counts) == 3 and min(counts) >= 2 for counts in Noting.seen)
    assert cross_val_predict(clf, files, LABELS, cv=2, method="predict_proba").shape == (12, 3)


@pytest.mark.slow
def test_it_computes_what_scikeras_does_on_the_pixels(pixels, files):
    plain = KerasClassifier(build, loss=LOSS, verbose=0, epochs=2, random_state=0).fit(pixels, LABELS)
    expected = plain.predict_proba(pixels)
    for X in (pixels, pd.Series(files), [*pixels]):
        clf = make(input_size=None if X is pixels else 16).fit(X, LABELS)
        np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-5)
        np.testing.assert_array_equal(clf.predict(X), plain.predict(pixels))
        assert clf.score(X, LABELS) == plain.score(pixels, LABELS)


def test_in_a_pipeline_it_takes_the_size_of_the_step_before(files):
    pipeline = make_pipeline(AspectAwareResize((12, 10)), make()).fit(files, LABELS)
    assert pipeline[-1].X_shape_[1:] == (12, 10, 3)
    assert rank1(pipeline, files, LABELS) == pipeline.score(files, LABELS)
    centred = make_pipeline(AspectAwareResize(12), MeanSubtract(), make()).fit(files, LABELS)
    assert centred[-1].X_dtype_ == np.float32


@pytest.mark.slow
def test_features_are_handed_on(residual, files):
    pipeline = make_pipeline(CNNFeatureExtractor(residual), make()).fit(files, LABELS)
    assert pipeline[-1].X_shape_[1:] == (8,)
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(12, 5)))
    assert make(input_size=8).fit(table, LABELS).X_shape_[1:] == (5,)


@pytest.mark.slow
def test_pixels_are_decoded_once_for_all_folds(files, monkeypatch):
    from skcnn.images._sequence import ImageSequence

    decoded = []
    decode = ImageSequence.decode
    monkeypatch.setattr(ImageSequence, "decode", lambda self, *args: (decoded.append(1), decode(self, *args))[1])
    grid = GridSearchCV(make(input_size=16, model__width=2), {"model__width": [2, 4]}, cv=2).fit(files, LABELS)
    assert len(decoded) <= 12
    assert grid.best_estimator_.n_classes_ == 3


@pytest.mark.slow
def test_ensembles_and_ten_crops(files):
    ensemble = CNNEnsembleClassifier(make(input_size=16), 2, random_state=0).fit(files, LABELS)
    one, two = (each.predict_proba(files) for each in ensemble.estimators_)
    assert (one != two).any()
    np.testing.assert_allclose(ensemble.predict_proba(files), (one + two) / 2, rtol=1e-6)
    crops = TenCropClassifier(make(input_size=12), resize=16, crop_size=12).fit(files, LABELS)
    assert crops.predict_proba(files).shape == (12, 3)


def test_parameters_are_those_of_scikeras(files):
    clf = make(model__width=8, input_size=16, optimizer__learning_rate=0.1, optimizer="adam")
    assert {"input_size", "cache", "model__width", "epochs"} <= clf.get_params().keys()
    copied = clone(clf).set_params(model__width=3, input_size=8)
    assert (copied.model__width, copied.input_size) == (3, 8)
    copied.fit(files, LABELS)
    assert copied.model_.layers[-2].units == 3
    assert copied.X_shape_[1:] == (8, 8, 3)
    assert float(copied.model_.optimizer.learning_rate) == pytest.approx(0.1)
    assert len(copied.history_["loss"]) == 2


@pytest.mark.slow
def test_other_ways_to_fit(files):
    clf = make(input_size=16).fit([*files], [*LABELS], sample_weight=np.ones(12))
    assert clf.classes_.tolist() == ["cat", "dog", "emu"]
    assert len(clf.partial_fit(files, LABELS).history_["loss"]) == 3
    assert make(input_size=16).initialize(files, LABELS).predict(files).shape == (12,)
    balanced = make(input_size=16, class_weight="balanced").fit(files, LABELS)
    assert pickle.loads(pickle.dumps(balanced)).predict(files).tolist() == balanced.predict(files).tolist()
    assert clf.predict_proba(iter(files)).shape == (12, 3)


@pytest.mark.slow
def test_unreadable_images_are_named(files, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    with pytest.raises(ImageReadError, match="broken.png"):
        make(input_size=16).fit([*files[:11], broken], LABELS)
    resize = AspectAwareResize(16, on_error="nan")
    pipeline = make_pipeline(resize, make()).fit(files, LABELS)
    probabilities = pipeline.predict_proba([*files, broken])
    assert np.isnan(probabilities).any(axis=1).tolist() == [False] * 12 + [True]
    with pytest.raises(ImageReadError, match="broken.png"):
        pipeline.predict([*files, broken])
    with pytest.raises(ImageReadError, match="broken.png"):
        pipeline.fit([*files[:11], broken], LABELS)


def test_images_of_different_sizes_need_one(image_paths):
    with pytest.raises(ValueError, match="different shapes.*give them one size with skcnn.AspectAwareResize"):
        make().fit(image_paths, ["cat", "dog"] * (len(image_paths) // 2) + ["cat"] * (len(image_paths) % 2))


@pytest.mark.slow
def test_importing_the_package_loads_neither_keras_nor_scikeras():
    code = "import sys, skcnn.classifiers; assert not {'keras', 'scikeras', 'tensorflow'} & {*sys.modules}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stderr) == (0, "")
    assert skcnn.ScikerasClassifier is skcnn.classifiers.ScikerasClassifier is ScikerasClassifier
