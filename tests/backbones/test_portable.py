"""Models with layers of the user's own in other processes."""

import copy
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.base import clone

from skcnn import CNNFeatureExtractor
from skcnn.backbones._portable import LostBackbone
from skcnn.exceptions import BackboneError

LAYERS = """
    import keras

    @keras.saving.register_keras_serializable(package="mine")
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    class Thrice(keras.layers.Layer):
        def call(self, x):
            return halve(6 * x)

    @keras.saving.register_keras_serializable(package="mine")
    def halve(x):
        return x / 2

    def make_model(registered_only=False):
        inputs = keras.Input((8, 8, 3), name="pixels")
        x = Twice(name="twice")(inputs)
        x = x if registered_only else Thrice(name="thrice")(x)
        x = keras.layers.Activation(halve, name="halved")(x)
        return keras.Model(inputs, keras.layers.Conv2D(4, 3, name="conv")(x), name="net")
"""
IMAGES = "np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)"


@pytest.fixture
def own_layers(tmp_path, monkeypatch):
    """A module of layers that can be imported here and, by name, in another process."""
    name = f"own_layers_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(LAYERS), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return __import__(name)


@pytest.mark.slow
@pytest.mark.parametrize("in_file", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_new_process_imports_what_it_needs(in_file, own_layers, tmp_path, other_python):
    model = own_layers.make_model(registered_only=in_file)
    if in_file:
        model.save(tmp_path / "net.keras")
        model = str(tmp_path / "net.keras")
    images = eval(IMAGES)
    extractor = CNNFeatureExtractor(model, layer="conv").fit(images)
    np.save(tmp_path / "expected.npy", extractor.transform(images))
    joblib.dump(extractor, tmp_path / "extractor.joblib")
    # Where the module is not there, that is said, and only once the network is needed.
    elsewhere = {"folder": Path(__file__).parent, "SKCNN_CACHE_DIR": str(tmp_path / "other cache")}
    program = f"""
import joblib, numpy as np
extractor = joblib.load({str(tmp_path / "extractor.joblib")!r})
print(extractor)
try:
    extractor.transform({IMAGES})
except ValueError as error:
    print("said:", error)
"""
    said = other_python.run(program, **elsewhere)
    assert f"uses layers of '{own_layers.__name__}', which this process cannot import" in said.partition("said: ")[2]

    program = f"""
import joblib, numpy as np
features = joblib.load({str(tmp_path / "extractor.joblib")!r}).transform({IMAGES})
np.testing.assert_allclose(features, np.load({str(tmp_path / "expected.npy")!r}), rtol=1e-4, atol=1e-2)
"""
    other_python.run(program, PYTHONPATH=str(tmp_path), **elsewhere)


@pytest.mark.slow
def test_layers_of_a_script_reach_the_workers_of_joblib(tmp_path):
    code = textwrap.dedent(LAYERS) + textwrap.dedent(f"""
        if __name__ == "__main__":
            import numpy as np
            from sklearn.linear_model import LogisticRegression
            from sklearn.model_selection import GridSearchCV
            from sklearn.pipeline import Pipeline
            from skcnn import CNNFeatureExtractor

            images, labels = {IMAGES}, ["a", "b"] * 6
            model = make_model()
            make_model(registered_only=True).save("net.keras")
            for backbone in (model, "net.keras"):
                extractor = CNNFeatureExtractor(backbone, layer="conv")
                pipe = Pipeline([("cnn", extractor), ("classify", LogisticRegression())])
                search = GridSearchCV(pipe, {{"classify__C": [0.1, 1.0]}}, cv=3, n_jobs=2, error_score="raise")
                search.fit(images, labels)
            print("fitted")
    """)
    script = tmp_path / "script.py"
    script.write_text(code.replace('"net.keras"', repr(str(tmp_path / "net.keras"))), encoding="utf-8")
    environment = os.environ | {"SKCNN_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=240, env=environment, check=False
    )
    assert "fitted" in done.stdout, done.stderr[-2000:]


def model_of(layer):
    import keras

    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, keras.layers.Conv2D(4, 3)(layer(inputs)), name="net")


def test_a_layer_that_cannot_be_saved_is_refused_before_a_pool_starts():
    import keras

    class Unsaved(keras.layers.Layer):
        def call(self, x):
            return x

        def get_config(self):
            raise NotImplementedError("no idea")

    with pytest.raises(BackboneError, match=r"'net' cannot be sent to another process.*no idea.*get_config.*n_jobs=1"):
        pickle.dumps(CNNFeatureExtractor(model_of(Unsaved())))


def test_a_layer_that_cannot_be_made_again_is_an_error_of_its_use(own_layers):
    import keras

    class Needy(keras.layers.Layer):
        def __init__(self, factor, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, x):
            return self.factor * x

    loaded = pickle.loads(pickle.dumps(CNNFeatureExtractor(model_of(Needy(2)))))
    assert isinstance(loaded.backbone, LostBackbone)
    for extractor in (loaded, clone(loaded), pickle.loads(pickle.dumps(loaded))):
        with pytest.raises(BackboneError, match=r"cannot make the model 'net' again .*get_config.*n_jobs=1.*'Needy'"):
            extractor.fit(np.zeros((1, 8, 8, 3), np.uint8))
    assert "could not be unpickled" in repr(loaded)


def test_copies_and_clones_share_the_model(own_layers, monkeypatch):
    model = own_layers.make_model()
    extractor = CNNFeatureExtractor(model, layer="conv")

    def fail(self):
        raise AssertionError("the model was saved")

    with monkeypatch.context() as patch:
        patch.setattr(type(model), "__reduce__", fail)
        assert copy.copy(extractor).backbone is model
        assert clone(extractor).backbone is model
    assert copy.deepcopy(extractor).backbone is not model


def test_other_backbones_are_pickled_as_they_are():
    for backbone in ("VGG16", "not there.keras", None, 3):
        assert pickle.loads(pickle.dumps(CNNFeatureExtractor(backbone))).backbone == backbone


def test_a_file_that_names_what_is_not_registered(own_layers, tmp_path):
    path = str(tmp_path / "net.keras")
    own_layers.make_model().save(path)
    loaded = pickle.loads(pickle.dumps(CNNFeatureExtractor(path)))
    assert loaded.backbone == path
    with pytest.raises(BackboneError, match=r"uses \['Thrice'\], which are not registered; import own_layers_"):
        loaded.fit(np.zeros((1, 8, 8, 3), np.uint8))
