import gc
import importlib.metadata
import json
import os
import subprocess
import sys
import threading
import time
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from skcnn.backbones import FrozenNetwork, Runner, _network, loaded_networks, resolve_backbone, unload_networks
from skcnn.backbones._lite import LiteBackbone
from skcnn.backbones._network import POOLING_VERSIONS, POOLINGS
from skcnn.exceptions import BackboneError


@pytest.fixture(autouse=True)
def nothing_loaded():
    unload_networks()
    yield
    unload_networks()


def make_model(seed=0, channels=3, size=(6, 8)):
    import keras

    inputs = keras.Input((*size, channels), name="pixels")
    x = keras.layers.Conv2D(4, 3, kernel_initializer=keras.initializers.HeNormal(seed), name="conv")(inputs)
    return keras.Model(inputs, keras.layers.Flatten(name="flat")(x), name="mine")


@pytest.fixture
def model():
    return make_model()


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 6, 8, 3)).astype(np.float32)


def network_of(model, *args, **settings):
    return FrozenNetwork(resolve_backbone(model), *args, **settings)


# What comes out -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pooling", "twin"),
    [
        ("avg", lambda maps: maps.mean(axis=(1, 2))),
        ("max", lambda maps: maps.max(axis=(1, 2))),
        ("flatten", lambda maps: maps.reshape(len(maps), -1)),
        (None, lambda maps: maps),
    ],
)
def test_pooling(model, pixels, pooling, twin):
    import keras

    maps = keras.Model(model.input, model.get_layer("conv").output)(pixels).numpy()
    runner = network_of(model, pooling=pooling).load("keras")
    np.testing.assert_allclose(runner.run(pixels), twin(maps), rtol=1e-5, atol=1e-4)
    assert runner.output_shape == twin(maps).shape[1:]
    assert pooling in POOLINGS


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_layer_without_positions_is_not_pooled(model, pixels, pooling):
    np.testing.assert_allclose(network_of(model, "flat", pooling).load("keras").run(pixels), model(pixels), rtol=1e-5)


def test_positions_of_one_axis_are_pooled(pixels):
    import keras

    inputs = keras.Input((6, 8, 3))
    model = keras.Model(inputs, keras.layers.Reshape((48, 3), name="tokens")(inputs))
    expected = pixels.reshape(3, 48, 3).mean(axis=1)
    np.testing.assert_allclose(network_of(model, "tokens").load("keras").run(pixels), expected, rtol=1e-5)


def test_an_unknown_pooling(model):
    with pytest.raises(
        ValueError, match=r"'pooling' parameter must be one of 'avg', 'max', 'flatten', None\. Got 'mean'"
    ):
        network_of(model, pooling="mean").load("keras")
    assert loaded_networks() == 0


def test_batch_norm_and_dropout_are_at_rest(pixels):
    import keras

    inputs = keras.Input((6, 8, 3))
    x = keras.layers.BatchNormalization(name="norm")(inputs)
    model = keras.Model(inputs, keras.layers.Dropout(0.9)(x))
    before = [np.array(weight) for weight in model.weights]
    runner = network_of(model, -1, None).load("keras")
    np.testing.assert_allclose(runner.run(pixels), pixels / np.sqrt(1 + 1e-3), rtol=1e-5)
    for was, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(weight, was)


def test_the_model_is_not_changed(model, pixels):
    config, names = model.get_config(), [weight.path for weight in model.weights]
    network_of(model).load("keras").run(pixels)
    assert model.get_config() == config
    assert [weight.path for weight in model.weights] == names
    assert all(layer.trainable for layer in model.layers)
    assert model.get_layer("conv").output is model.get_layer("flat").input


# The images that go in ------------------------------------------------------------------------------------------------


def test_input_shape(model):
    assert network_of(model).input_shape == (6, 8, 3)
    assert network_of(make_model(channels=1)).input_shape == (6, 8, 1)
    assert network_of("VGG16").input_shape == (224, 224, 3)
    assert network_of("VGG16", input_size=(64, 96)).input_shape == (64, 96, 3)


def test_a_model_of_any_size_needs_to_be_told():
    model = make_model(size=(None, None))
    with pytest.raises(
        BackboneError, match=r"'mine' takes images of any size; choose one: input_size=\(height, width\)"
    ):
        network_of(model).input_shape  # noqa: B018
    network = network_of(model, pooling=None, input_size=(5, 7))
    assert network.input_shape == (5, 7, 3)
    assert network.load("keras").output_shape == (3, 5, 4)


@pytest.mark.parametrize("channels", [2, 4])
def test_only_grey_and_colour(channels):
    with pytest.raises(
        BackboneError, match=rf"'mine' takes images of {channels} channels; there are only grey and RGB"
    ):
        network_of(make_model(channels=channels)).input_shape  # noqa: B018


def test_channels_first_is_refused(model, monkeypatch):
    import keras

    network = network_of(model)
    network.description  # noqa: B018
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(BackboneError, match="set_image_data_format"):
        network.load("keras")
    for name in ("VGG16", "efficientnet_lite0"):
        with pytest.raises(BackboneError, match="set_image_data_format"):
            FrozenNetwork(resolve_backbone(name, None)).load("keras")
    assert loaded_networks() == 0


# Who it is ------------------------------------------------------------------------------------------------------------


def test_a_description_holds_everything_that_decides(model):
    description = network_of("VGG16", "block5_pool", "max", (64, 96), None).description
    assert json.loads(json.dumps(description)) == {
        "backbone": {"application": "VGG16", "weights": "imagenet", "keras": importlib.metadata.version("keras")},
        "layer": "block5_pool",
        "pooling": "max 1",
        "input_shape": [64, 96, 3],
        "normalisation": None,
        "precision": "float32",
    }
    json.dumps(network_of(model).description)


def test_every_setting_makes_another_description():
    settings = [
        {},
        {"layer": "block2_pool"},
        {"layer": 5},
        {"pooling": "max"},
        {"input_size": (64, 64)},
        {"preprocess": None},
        {"precision": "bfloat16"},
    ]
    descriptions = [json.dumps(FrozenNetwork(resolve_backbone("VGG16"), **setting).description) for setting in settings]
    assert len(set(descriptions)) == len(settings)
    assert FrozenNetwork(resolve_backbone("VGG16"), input_size=(224, 224)).description == json.loads(descriptions[0])


def test_one_layer_named_in_four_ways_is_one_description(model):
    names = [layer.name for layer in model.layers]
    place = names.index(network_of(model).cut().layer)
    descriptions = [network_of(model, layer).description for layer in (None, names[place], place, place - len(names))]
    assert all(description == descriptions[0] for description in descriptions)


def test_there_is_nothing_to_pool_in_a_vector():
    network = [FrozenNetwork(resolve_backbone("efficientnet_lite0", None), "logits", pooling) for pooling in POOLINGS]
    descriptions = [one.description for one in network]
    assert all(description == descriptions[0] for description in descriptions)
    assert descriptions[0]["pooling"] is None


@pytest.mark.parametrize("part", ["normalisation", "builder", "pooling"])
def test_versions_count(part, monkeypatch):
    network = lambda: FrozenNetwork(resolve_backbone("efficientnet_lite0", None))  # noqa: E731
    before = network().description
    if part == "normalisation":
        monkeypatch.setattr(LiteBackbone, "normalisation", "efficientnet_lite 2")
    elif part == "builder":
        monkeypatch.setattr("skcnn.backbones._lite.BUILDER_VERSION", 2)
    else:
        monkeypatch.setitem(POOLING_VERSIONS, "avg", 2)
    assert network().description != before


def test_a_network_without_a_normalisation_is_the_same_with_and_without(model):
    assert network_of(model).description == network_of(model, preprocess=None).description


DESCRIBE = """
import json, sys
from skcnn.backbones import FrozenNetwork, resolve_backbone
for name, weights in [("efficientnet_lite0", "imagenet"), ("efficientnet_lite0", None), ("VGG16", "imagenet")]:
    print(json.dumps(resolve_backbone(name, weights).identity()))
assert not {"keras", "tensorflow"} & set(sys.modules)
"""


def test_identities_are_the_same_in_every_process_and_load_nothing():
    runs = [subprocess.run([sys.executable, "-c", DESCRIBE], check=True, capture_output=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout.splitlines()) == 3


# One copy for all -----------------------------------------------------------------------------------------------------


def test_equal_networks_share_a_runner(model):
    runner = network_of(model).load("keras")
    assert network_of(model).load("keras") is runner
    assert network_of(model, "conv").load("keras") is not runner
    assert isinstance(runner, Runner)


def test_a_file_and_its_copy_share_a_runner(model, tmp_path):
    for name in ("one.keras", "two.keras"):
        model.save(tmp_path / name)
    (tmp_path / "two.keras").write_bytes((tmp_path / "one.keras").read_bytes())
    assert network_of(tmp_path / "one.keras").load("keras") is network_of(tmp_path / "two.keras").load("keras")
    assert loaded_networks() == 1


@pytest.fixture
def builds(monkeypatch):
    """The layers at which networks were built, by a builder that builds nothing."""
    built = []
    monkeypatch.setattr(FrozenNetwork, "build", lambda self: built.append(self.layer))
    monkeypatch.setattr(_network, "make_runner", lambda *args: object())
    return built


def load(layer):
    return FrozenNetwork(resolve_backbone("VGG16"), layer).load("keras")


def test_only_the_latest_are_kept(builds):
    limit = _network.MAX_LOADED
    runners = [load(layer) for layer in range(limit)]
    assert load(0) is runners[0]  # used again: now 1 is the oldest
    load(limit)
    assert loaded_networks() == limit
    assert load(0) is runners[0]
    assert builds == list(range(limit + 1))
    assert load(1) is not runners[1]
    assert builds == [*range(limit + 1), 1]
    assert loaded_networks() == limit


def test_a_network_that_is_let_go_leaves_the_memory():
    model = make_model()
    runner = weakref.ref(network_of(model).load("keras"))
    assert runner() is not None
    unload_networks()
    gc.collect()
    assert loaded_networks() == 0
    assert runner() is None


def test_threads_that_come_at_once_load_once(builds, monkeypatch):
    build = FrozenNetwork.build

    def slow(self):
        time.sleep(0.05)
        build(self)

    monkeypatch.setattr(FrozenNetwork, "build", slow)
    together, runners = threading.Barrier(8), []

    def work():
        together.wait()
        runners.append(load(0))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert builds == [0]
    assert len(runners) == 8
    assert len(set(map(id, runners))) == 1


def test_threads_may_build_different_networks():
    models = [make_model(seed) for seed in range(4)]
    results = {}

    def work(index):
        results[index] = network_of(models[index]).load("keras").run(np.ones((2, 6, 8, 3), np.float32))

    threads = [threading.Thread(target=work, args=[index]) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, model in enumerate(models):
        expected = network_of(model).build()(np.ones((2, 6, 8, 3), np.float32))
        np.testing.assert_allclose(results[index], expected, rtol=1e-5)


def test_a_network_that_could_not_be_loaded_is_not_kept(model):
    for _ in range(2):
        with pytest.raises(BackboneError, match="no layer 'top'"):
            network_of(model, "top").load("keras")
    assert loaded_networks() == 0


@pytest.mark.parametrize("trained", ["first", "second"])
def test_training_a_model_leaves_its_twin_alone(pixels, trained):
    models = [make_model(), make_model()]
    runners = [network_of(model).load("keras") for model in models]
    before = runners[0].run(pixels)
    np.testing.assert_array_equal(runners[1].run(pixels), before)
    kernel = models[trained == "second"].get_layer("conv").kernel
    kernel.assign(2 * kernel)
    changed, same = (1, 0) if trained == "second" else (0, 1)
    np.testing.assert_array_equal(network_of(models[same]).load("keras").run(pixels), before)
    np.testing.assert_allclose(network_of(models[changed]).load("keras").run(pixels), 2 * before, rtol=1e-5)


THREADS = """
import joblib
from skcnn.backbones import FrozenNetwork, resolve_backbone
FrozenNetwork(resolve_backbone("efficientnet_lite0", None), input_size=(32, 32)).load("keras")
import tensorflow as tf
print(joblib.cpu_count(), tf.config.threading.get_intra_op_parallelism_threads())
"""


def test_tensorflow_is_told_how_many_threads_are_left(monkeypatch):
    import tensorflow as tf

    told = []
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", told.append)
    monkeypatch.setattr(tf.config.threading, "set_inter_op_parallelism_threads", told.append)
    monkeypatch.setattr(_network, "available_threads", lambda: 0)  # fewer than on any machine
    network_of("efficientnet_lite0", None).truncated(load_weights=False)
    assert told == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("left", [None, "1"])
def test_tensorflow_keeps_to_the_threads_that_are_left(left):
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    if left:
        environment["OMP_NUM_THREADS"] = left
    result = subprocess.run(
        [sys.executable, "-c", THREADS], env=environment, check=True, capture_output=True, text=True
    )
    cores, threads = map(int, result.stdout.split())
    assert threads == (1 if left and cores > 1 else 0)  # 0: TensorFlow takes every core


def test_a_file_that_changes_while_it_is_loaded_is_refused(tmp_path, monkeypatch):
    import keras

    def save(value):
        inputs = keras.Input((8, 8, 3))
        outputs = keras.layers.Conv2D(1, 1, kernel_initializer=keras.initializers.Constant(value))(inputs)
        keras.Model(inputs, outputs).save(tmp_path / f"{value}.keras")
        return (tmp_path / f"{value}.keras").read_bytes()

    one, two = save(1.0), save(2.0)
    path = tmp_path / "network.keras"
    path.write_bytes(one)
    network = FrozenNetwork(resolve_backbone(str(path)))
    assert network.description
    path.write_bytes(two)
    with pytest.raises(BackboneError, match=r"network\.keras' was changed while it was loaded; .*try again"):
        network.load()


def test_the_layer_that_is_described_is_the_one_that_is_built(tiny_model, tmp_path):
    path = tmp_path / "tiny.keras"
    tiny_model.save(path)
    # As a memo would have it that was written by a program with an error.
    memo = SimpleNamespace(get=lambda question: ["first", True], put=lambda question, answer: None)
    network = FrozenNetwork(resolve_backbone(path), "second", pooling=None, known_cuts=memo)
    right = FrozenNetwork(resolve_backbone(path), "first", pooling=None)
    assert network.description == right.description
    batch = np.zeros((1, 16, 16, 3), np.uint8)
    np.testing.assert_array_equal(network.load("keras").run(batch), right.load("keras").run(batch))
