import json
import logging
import os
import stat
import sys

import keras
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from skcnn import AspectAwareResize, FineTunedCNNClassifier, TenCropClassifier
from skcnn.classifiers._export import export_network
from skcnn.exceptions import BackboneError
from skcnn.training import DenseHead

LABELS = np.array(["cat", "dog", "émeu"] * 4)

# What users write who have the file and no skcnn.
READERS = {
    "net.keras": """
import keras
probabilities = keras.models.load_model(path).predict(pixels, verbose=0)
""",
    "net": """
import tensorflow as tf
model = tf.saved_model.load(path)
probabilities = model.serve(pixels).numpy()
""",
    "net.xml": """
import openvino
model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
probabilities = model({"pixels": pixels})["probabilities"]
""",
}


@pytest.fixture
def read(python_without_skcnn, tmp_path):
    """Return a function that gives the probabilities which another process, without skcnn, gets from an export."""

    def read(path, pixels):
        np.save(tmp_path / "pixels.npy", pixels.astype(np.float32))
        program = f"""
import sys
import numpy as np
path, folder = sys.argv[1:]
pixels = np.load(folder + "/pixels.npy")
{READERS[path.name]}
np.save(folder + "/probabilities.npy", probabilities)
assert "skcnn" not in sys.modules
"""
        python_without_skcnn.run(program, path, tmp_path)
        return np.load(tmp_path / "probabilities.npy")

    return read


@pytest.fixture
def tuned(residual, pixels):
    """Return a function that fits a classifier of a tiny network."""

    def fit(backbone=residual, **settings):
        settings = {"unfreeze": 2, "epochs": 2, "learning_rate": 1e-2, "random_state": 0, **settings}
        return FineTunedCNNClassifier(backbone, **settings).fit(pixels, LABELS)

    return fit


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_another_process_without_skcnn_gets_the_same_probabilities(tuned, pixels, tmp_path, read, name):
    clf = tuned()
    clf.export(tmp_path / name)
    np.testing.assert_allclose(read(tmp_path / name, pixels), clf.predict_proba(pixels), atol=1e-5)
    assert json.loads((tmp_path / f"{name}.classes.json").read_text(encoding="utf-8")) == ["cat", "dog", "émeu"]


@pytest.mark.parametrize("name", ["net.keras", "net.xml", pytest.param("net", marks=pytest.mark.slow)])
def test_ten_crops_are_exported_with_what_averages_them(tuned, pixels, tmp_path, read, name):
    large = np.random.default_rng(1).integers(0, 256, (5, 20, 19, 3), dtype=np.uint8)
    clf = TenCropClassifier(make_pipeline("passthrough", tuned()), resize=(20, 19), crop_size=16)
    clf.export(tmp_path / name)
    np.testing.assert_allclose(read(tmp_path / name, large), clf.predict_proba(large), atol=1e-5)
    assert json.loads((tmp_path / f"{name}.classes.json").read_text(encoding="utf-8")) == ["cat", "dog", "émeu"]


@pytest.mark.parametrize("average", ["mean", "geometric", "max"])
@pytest.mark.parametrize(
    "settings",
    [
        {"resize": 18},
        pytest.param({"resize": 16}, marks=pytest.mark.slow),
        pytest.param({"resize": 18, "horizontal_flips": False}, marks=pytest.mark.slow),
    ],
)
def test_every_average_of_crops_is_exported(tuned, tmp_path, average, settings):
    side = settings["resize"]
    images = np.random.default_rng(1).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    clf = TenCropClassifier(tuned(), crop_size=16, average=average, **settings)
    clf.export(tmp_path / "net.keras")
    network = keras.models.load_model(tmp_path / "net.keras")
    assert network.input_shape == (None, side, side, 3)
    np.testing.assert_allclose(network.predict(images, verbose=0), clf.predict_proba(images), atol=1e-5)


def test_crops_that_no_network_takes_as_they_are_are_not_exported(tuned, pixels, tmp_path):
    with pytest.raises(
        ValueError, match=r"takes images of 16 x 16 pixels.*set the 'crop_size' parameter to \(16, 16\)"
    ):
        TenCropClassifier(tuned(), resize=20, crop_size=14).export(tmp_path / "net.keras")
    resized = make_pipeline(AspectAwareResize(8), tuned())
    with pytest.raises(TypeError, match="the estimator is a Pipeline that ends in FineTunedCNNClassifier.*joblib.dump"):
        TenCropClassifier(resized, resize=20, crop_size=16).export(tmp_path / "net.keras")
    with pytest.raises(NotFittedError):
        TenCropClassifier(FineTunedCNNClassifier()).export(tmp_path / "net.keras")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"unfreeze": 0},
        {"unfreeze": 0, "head": DenseHead(5, batch_norm=True, epochs=2)},
        {"unfreeze": "all"},
        pytest.param({"unfreeze": 3, "pooling": "max"}, marks=pytest.mark.slow),
        pytest.param({"unfreeze": 1, "pooling": "flatten"}, marks=pytest.mark.slow),
        {"epochs": 0},
        pytest.param({"layer": "one_relu", "unfreeze": 1}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_it_is_what_predicts(tuned, pixels, tmp_path, settings):
    clf = tuned(**settings)
    clf.export(tmp_path / "net.keras")
    model = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_allclose(model.predict(pixels, verbose=0), clf.predict_proba(pixels), atol=1e-5)


# Each is normalised in another way, before the trunk or, where all is trained, at the beginning of the tail.
@pytest.mark.parametrize(
    ("name", "unfreeze"),
    [("VGG16", 1), ("VGG16", "all"), ("MobileNetV2", 1)],
)
@pytest.mark.slow
def test_the_normalisation_is_inside(tmp_path, name, unfreeze):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    settings = {"weights": None, "input_size": 32, "unfreeze": unfreeze, "epochs": 1, "engine": "keras"}
    clf = FineTunedCNNClassifier(name, **settings).fit(pixels, ["a", "b"] * 3)
    clf.export(tmp_path / "net.keras")
    model = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_allclose(model.predict(pixels, verbose=0), clf.predict_proba(pixels), atol=1e-5)


def test_an_export_of_a_loaded_pickle(tuned, pixels, tmp_path):
    import pickle

    clf = tuned()
    pickle.loads(pickle.dumps(clf)).export(tmp_path / "net.keras")
    model = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_allclose(model.predict(pixels, verbose=0), clf.predict_proba(pixels), atol=1e-5)


@pytest.mark.parametrize(
    "name", ["net.keras", *(pytest.param(name, marks=pytest.mark.slow) for name in ("net", "net.xml"))]
)
def test_nothing_is_replaced_unless_that_is_asked_for(tuned, pixels, tmp_path, read, name):
    tuned(epochs=0).export(tmp_path / name)
    clf = tuned()
    before = files_of(tmp_path)
    with pytest.raises(
        FileExistsError, match=r"already there: .*net.*classes.json.*; choose another name, or .*overwrite=True"
    ):
        clf.export(tmp_path / name)
    assert files_of(tmp_path) == before
    clf.export(tmp_path / name, overwrite=True)
    assert set(files_of(tmp_path)) == set(before)
    np.testing.assert_allclose(read(tmp_path / name, pixels), clf.predict_proba(pixels), atol=1e-5)


def files_of(folder):
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_is_no_saved_model_is_left_alone(tuned, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "only copy.jpg").write_bytes(b"x")
    with pytest.raises(FileExistsError, match="photos' is a folder, but no SavedModel, and is left as it is"):
        tuned(unfreeze=0).export(photos, overwrite=True)
    assert (photos / "only copy.jpg").exists()


def test_a_file_where_a_folder_should_be_is_left_alone(tuned, tmp_path):
    (tmp_path / "notes").write_text("x")
    with pytest.raises(FileExistsError, match="notes' is a file, but no SavedModel, and is left as it is"):
        tuned(unfreeze=0).export(tmp_path / "notes", overwrite=True)
    assert (tmp_path / "notes").read_text() == "x"


@pytest.mark.slow
def test_each_format_has_class_names_of_its_own(tuned, tmp_path):
    clf = tuned(unfreeze=0)
    for name in READERS:
        clf.export(tmp_path / name)
    assert set(os.listdir(tmp_path)) == {*READERS, "net.bin", *(f"{name}.classes.json" for name in READERS)}


@pytest.mark.parametrize("name", ["net.h5", "net.v2", "net.KERAS", "net.onnx"])
def test_other_formats(tuned, tmp_path, name):
    with pytest.raises(ValueError, match=r"exported as 'name.keras', as 'name.xml' \(OpenVINO\), or .* Got '.*net"):
        tuned(unfreeze=0).export(tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_a_call_that_fails_leaves_what_was_there(tuned, tmp_path, monkeypatch):
    clf = tuned(unfreeze=0)
    clf.export(tmp_path / "net.keras")
    before = files_of(tmp_path)

    def full(self, path):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", full)
    with pytest.raises(OSError, match="No space left on device"):
        clf.export(tmp_path / "net.keras", overwrite=True)
    assert files_of(tmp_path) == before
    assert sorted(os.listdir(tmp_path)) == ["net.keras", "net.keras.classes.json"]


def test_folders_above_it_are_made_and_may_be_read_by_others(tuned, tmp_path):
    tuned(unfreeze=0).export(tmp_path / "new" / "folder" / "net")
    written = tmp_path / "new" / "folder" / "net"
    plain = tmp_path / "plain"
    plain.mkdir()
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert sorted(os.listdir(written.parent)) == ["net", "net.classes.json"]


def test_labels_that_are_numbers(residual, pixels, tmp_path):
    clf = FineTunedCNNClassifier(residual, unfreeze=0).fit(pixels, np.arange(12) % 2 + 7)
    clf.export(tmp_path / "net.keras")
    assert json.loads((tmp_path / "net.keras.classes.json").read_text()) == [7, 8]


def test_unfitted_and_another_backbone(tuned, residual, chain, tmp_path):
    with pytest.raises(NotFittedError):
        FineTunedCNNClassifier(residual).export(tmp_path / "net.keras")
    model = keras.models.clone_model(chain)
    clf = tuned(model)
    model.set_weights([weight + 1 for weight in model.get_weights()])
    with pytest.raises(BackboneError, match="is not the one this was fitted on"):
        clf.export(tmp_path / "net.keras")
    assert os.listdir(tmp_path) == []


def test_what_openvino_cannot_run(tuned, tmp_path, monkeypatch):
    from skcnn.backbones import _openvino

    def refuse(function):
        raise RuntimeError("no such operation")

    monkeypatch.setattr(_openvino, "convert", refuse)
    with pytest.raises(BackboneError, match="OpenVINO cannot run this network: no such operation. Export it as"):
        tuned(unfreeze=0).export(tmp_path / "net.xml")
    assert os.listdir(tmp_path) == []


def test_without_openvino_nothing_is_built(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ImportError, match=r"an export to OpenVINO needs openvino.*pip install 'skcnn\[fast\]'"):
        export_network(pytest.fail, np.array(["a", "b"]), tmp_path / "net.xml", overwrite=False)


@pytest.mark.parametrize("name", READERS)
def test_it_is_silent_and_changes_nothing_global(tuned, tmp_path, capfd, name):
    clf = tuned()
    capfd.readouterr()
    level, policy = logging.getLogger().level, keras.config.dtype_policy().name
    keras.config.set_dtype_policy("mixed_float16")
    try:
        clf.export(tmp_path / name)
        assert keras.config.dtype_policy().name == "mixed_float16"
    finally:
        keras.config.set_dtype_policy(policy)
    assert logging.getLogger().level == level
    said = [line for line in capfd.readouterr() if line]
    assert said == []
