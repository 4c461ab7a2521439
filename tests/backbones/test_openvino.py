"""The converted network against the Keras model it was made from; what every runner promises is in test_runners.py."""

import errno
import logging
import subprocess
import sys
import warnings

import numpy as np
import pytest

from skcnn.backbones import FrozenNetwork, resolve_backbone, unload_networks
from skcnn.backbones import _openvino as openvino_runner
from skcnn.backbones import _runners as runners
from skcnn.backbones._applications import APPLICATIONS, MODULES
from skcnn.backbones._openvino import OpenVINORunner, convert, trace
from skcnn.backbones._runners import KerasRunner, make_runner
from skcnn.exceptions import BackboneError, EngineWarning

openvino = pytest.importorskip("openvino")

# The smallest network of each module of keras.applications.
NETWORKS = [
    "efficientnet_lite0",
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "InceptionResNetV2",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "VGG16",
    "VGG19",
    "Xception",
]


def test_every_module_of_applications_is_tried():
    assert {APPLICATIONS[name][0] for name in NETWORKS if name in APPLICATIONS} == set(MODULES)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_gives_the_features_of_keras(name):
    # Random weights let activations grow or fade from layer to layer; at this size they stay of use in all networks.
    model = FrozenNetwork(resolve_backbone(name, None), input_size=(80, 80)).build()
    batch = np.random.default_rng(0).integers(0, 256, (5, 80, 80, 3), dtype=np.uint8)
    expected = model(batch.astype(np.float32), training=False).numpy()
    features = OpenVINORunner(model).run(batch)
    assert np.abs(expected).max() > 0
    assert np.abs(features - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param("block3b_add", marks=pytest.mark.slow),
        pytest.param("block2a_dwconv", marks=pytest.mark.slow),
        pytest.param("avg_pool", marks=pytest.mark.slow),
        pytest.param("logits", marks=pytest.mark.slow),
    ],
)
def test_any_cut(layer):
    network = FrozenNetwork(resolve_backbone("efficientnet_lite0", None), layer, None, (32, 32))
    model = network.build()
    batch = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    expected = KerasRunner(model).run(batch)
    features = OpenVINORunner(model).run(batch)
    assert features.shape == expected.shape
    assert np.abs(features - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.fixture
def small(tiny_model):
    return FrozenNetwork(resolve_backbone(tiny_model))


@pytest.mark.slow
def test_bfloat16_is_close_and_a_network_of_its_own():
    small = FrozenNetwork(resolve_backbone("efficientnet_lite0", None), input_size=(32, 32))
    fast = FrozenNetwork(small.backbone, input_size=(32, 32), precision="bfloat16")
    assert fast.description != small.description
    batch = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    exact, rough = small.load("openvino").run(batch), fast.load("openvino").run(batch)
    cosine = (exact * rough).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rough, axis=1)
    assert (cosine > 0.99).all()
    unload_networks()


def test_a_model_trained_on_does_not_change_what_was_converted():
    import keras

    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1, kernel_initializer="ones")(inputs))
    runner = OpenVINORunner(model)
    model.layers[-1].kernel.assign(2 * model.layers[-1].kernel)
    np.testing.assert_array_equal(runner.run(np.ones((1, 4, 4, 3), np.uint8)), np.full((1, 4, 4, 1), 3))


def test_conversion_leaves_logging_alone(small):
    root = logging.getLogger()
    before = root.level, root.handlers[:], root.filters[:]
    OpenVINORunner(small.build())
    assert (root.level, root.handlers, root.filters) == before


@pytest.mark.engine_auto
def test_auto_takes_openvino_where_it_can(small, monkeypatch):
    assert isinstance(make_runner(small.build(), "auto"), OpenVINORunner)
    monkeypatch.setattr(runners, "is_installed", lambda module: False)
    assert isinstance(make_runner(small.build(), "auto"), KerasRunner)


@pytest.mark.engine_auto
def test_auto_leaves_the_network_to_a_gpu(small, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["a GPU"])
    assert isinstance(make_runner(small.build(), "auto"), KerasRunner)


def test_a_graph_that_cannot_be_converted_runs_on_keras_with_one_warning(small, monkeypatch):
    def fail(*args):
        raise RuntimeError("No conversion rule")

    monkeypatch.setattr(runners, "OpenVINORunner", fail)
    with pytest.warns(EngineWarning, match=r"OpenVINO cannot run .*No conversion rule.* Keras runs it") as caught:
        assert isinstance(make_runner(small.build(), "openvino"), KerasRunner)
    assert len(caught) == 1
    with pytest.raises(BackboneError, match="cannot run .* in bfloat16: No conversion rule"):
        make_runner(small.build(), "openvino", "bfloat16")


def test_bfloat16_on_keras_is_refused(small):
    with pytest.raises(BackboneError, match=r"precision='bfloat16' needs engine='openvino' \(or 'auto'\)"):
        make_runner(small.build(), "keras", "bfloat16")


def test_openvino_that_is_not_installed_says_how_to_get_it(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ImportError, match=r"engine='openvino' .*pip install 'skcnn\[fast\]'"):
        make_runner(small.build(), "openvino")


def test_operations_that_nothing_reads_are_no_outputs():
    import keras

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Resizing(4, 4)(keras.layers.RandomRotation(0.1)(inputs))
    model = keras.Model(inputs, keras.layers.GroupNormalization(3)(x))
    assert len(convert(trace(model)).outputs) == 1


def test_a_network_that_gives_other_activations_is_refused(monkeypatch, small):
    model = small.build()

    def convert_another(function):
        import keras

        inputs = keras.Input(model.input_shape[1:])
        return convert(trace(keras.Model(inputs, 1.01 * model(inputs))))

    monkeypatch.setattr(openvino_runner, "convert", convert_another)
    with pytest.raises(BackboneError, match=r"its activations are off by .*, where the largest is"):
        OpenVINORunner(model)
    with pytest.warns(EngineWarning, match="off by .* Keras runs it") as caught:
        assert isinstance(make_runner(model, "openvino"), KerasRunner)
    assert len(caught) == 1


def test_an_error_in_the_callback_is_an_error_of_run(small):
    runner = OpenVINORunner(small.build())
    batch = np.zeros((9, 16, 16, 3), np.uint8)
    right = runner.run(batch)
    runner._shape = (1, 8)  # broadcasting would hide it
    with pytest.raises(BackboneError, match=r"activations of shape \(4, 8\), not \(4, 1, 8\)"):
        runner.run(batch)
    runner._shape = (8,)
    np.testing.assert_array_equal(runner.run(batch), right)


# Interrupts and what may pass -------------------------------------------------------------------------------------------

# As OpenVINO reports what was raised while it called Python.
REPORT = (
    "Check 'false' failed at src/frontend.cpp:53:\nConverting input model\n{}: <EMPTY MESSAGE>\n\nAt:\n  decoder.py(3)"
)


@pytest.mark.engine_auto
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, MemoryError])
def test_what_ends_a_conversion_is_raised_and_nothing_is_remembered(tiny_model, monkeypatch, kind):
    def interrupted(function):
        raise RuntimeError(REPORT.format(kind.__name__))

    unload_networks()
    network = FrozenNetwork(resolve_backbone(tiny_model), preprocess=None)
    with monkeypatch.context() as patch:
        patch.setattr(openvino_runner, "convert", interrupted)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(kind):
                network.load("auto")
    assert isinstance(network.load("auto"), OpenVINORunner)


@pytest.mark.engine_auto
def test_running_out_of_files_is_not_remembered_either(tiny_model, monkeypatch):
    def full(function):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(openvino_runner, "convert", full)
    with pytest.raises(OSError, match="Too many open files"):
        make_runner(tiny_model, "auto")


@pytest.mark.slow
def test_ctrl_c_while_a_network_is_converted(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "interrupted", done.stderr[-2000:]


INTERRUPTED = """
import os, signal
import keras, numpy as np
from openvino.frontend.tensorflow import node_decoder
from skcnn.backbones._runners import make_runner

get_op_type = node_decoder.TFGraphNodeDecoder.get_op_type
def stop(self):
    signal.raise_signal(signal.SIGINT)
    return get_op_type(self)
node_decoder.TFGraphNodeDecoder.get_op_type = stop
inputs = keras.Input((16, 16, 3))
model = keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs))
try:
    make_runner(model, "auto")
except KeyboardInterrupt:
    print("interrupted")
"""
