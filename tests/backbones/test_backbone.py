import os
import random
import threading

import numpy as np
import pytest

from skcnn import CNNFeatureExtractor
from skcnn.backbones._backbone import Backbone, file_digest, float32_default, quiet_build, randomise, weights_file
from skcnn.backbones._network import unload_networks
from skcnn.exceptions import BackboneError


class Plain(Backbone):
    name = "plain"

    def identity(self):
        return {}

    def input_shape(self):
        return 8, 8, 3

    def build(self, input_size=None, *, load_weights=True):
        raise NotImplementedError


def test_a_backbone_without_wishes():
    plain = Plain()
    assert plain.state() == "{}"
    assert not plain.in_memory
    assert plain.default_layer is None
    assert plain.normalisation is None
    assert plain.normalise("pixels") == "pixels"


# Building -------------------------------------------------------------------------------------------------------------


def layer_names(n):
    import keras

    return [keras.layers.ReLU().name for _ in range(n)]


def test_names_begin_anew_and_go_on_as_before():
    layer_names(3)
    _, before = layer_names(1)[0].rsplit("_", 1)
    with quiet_build():
        assert layer_names(2) == ["re_lu", "re_lu_1"]
    assert layer_names(1) == [f"re_lu_{int(before) + 1}"]


def test_names_are_the_same_in_every_thread():
    names = []

    def build():
        with quiet_build():
            names.append(layer_names(2))

    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == [["re_lu", "re_lu_1"]] * 3


def test_random_numbers_go_on_as_before():
    import keras

    random.seed(3)
    np.random.seed(3)
    expected = random.random(), np.random.random()
    random.seed(3)
    np.random.seed(3)
    with quiet_build():
        keras.layers.Dense(2).build((None, 3))
        random.random()
    assert (random.random(), np.random.random()) == expected


@pytest.fixture
def float16():
    import keras

    chosen = keras.config.floatx()
    keras.config.set_floatx("float16")
    yield
    assert keras.config.floatx() == "float16"
    keras.config.set_floatx(chosen)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_floatx_changes_no_features(engine, request):
    if engine == "openvino":
        pytest.importorskip("openvino")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)

    def features():
        unload_networks()
        settings = {"weights": None, "layer": "bn_Conv1", "input_size": 32, "engine": engine, "cache": None}
        return CNNFeatureExtractor("MobileNetV2", **settings).fit_transform(pixels)

    expected = features()
    request.getfixturevalue("float16")
    np.testing.assert_array_equal(features(), expected)


def test_floatx_is_put_back_by_the_last_thread(float16):
    import keras

    inside, leave = threading.Event(), threading.Event()

    def stay():
        with float32_default():
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=stay)
    thread.start()
    assert inside.wait(30)
    with pytest.raises(KeyError), float32_default():
        raise KeyError
    assert keras.config.floatx() == "float32"
    leave.set()
    thread.join(30)


def test_layers_are_float32_whatever_the_policy():
    import keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        with quiet_build():
            assert keras.layers.Dense(1).compute_dtype == "float32"
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy(policy)


def test_an_error_leaves_no_trace_either():
    import keras

    policy, state, before = keras.config.dtype_policy(), random.getstate(), layer_names(1)[0]
    with pytest.raises(ZeroDivisionError), quiet_build():
        keras.config.set_dtype_policy("mixed_bfloat16")
        random.random()
        layer_names(5)
        raise ZeroDivisionError
    assert keras.config.dtype_policy() == policy
    assert random.getstate() == state
    assert before != layer_names(1)[0] != "re_lu"
    with quiet_build():  # the lock is free again
        pass


def test_a_build_within_a_build():
    import keras

    policy, state = keras.config.dtype_policy(), random.getstate()
    layer_names(3)
    before = int(layer_names(1)[0].rsplit("_", 1)[1])

    def build():
        with quiet_build():
            first = layer_names(2)
            with quiet_build():
                inner = layer_names(2)
            names.extend([first, inner, layer_names(1)])

    names = []
    build()
    assert names == [["re_lu", "re_lu_1"], ["re_lu", "re_lu_1"], ["re_lu_2"]]
    assert layer_names(1) == [f"re_lu_{before + 1}"]
    assert (keras.config.dtype_policy(), random.getstate()) == (policy, state)


def test_channels_first_is_refused(monkeypatch):
    import keras

    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    match = r"\(height, width, channels\); set keras\.config\.set_image_data_format\('channels_last'\)"
    with pytest.raises(BackboneError, match=match), quiet_build():
        pytest.fail("built")
    monkeypatch.undo()
    with quiet_build():
        pass


# Random weights -------------------------------------------------------------------------------------------------------


@pytest.fixture
def layered():
    import keras

    inputs = keras.Input((8, 8, 16))
    x = keras.layers.Conv2D(64, 3, bias_initializer="ones")(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.DepthwiseConv2D(5)(x)
    return keras.Model(inputs, keras.layers.Dense(128)(keras.layers.Flatten()(x)))


def test_kernels_are_he_normal_and_the_rest_is_left(layered):
    before = {weight.path: np.array(weight) for weight in layered.weights}
    randomise(layered)
    kernels = [weight for weight in layered.weights if weight.name.endswith("kernel")]
    fans = [3 * 3 * 16, 5 * 5, 2 * 2 * 64]
    assert len(kernels) == len(fans)
    for kernel, fan in zip(kernels, fans, strict=True):
        assert np.mean(kernel) == pytest.approx(0, abs=0.02)
        assert np.std(kernel) == pytest.approx(np.sqrt(2 / fan), rel=0.05)
    for weight in layered.weights:
        if not weight.name.endswith("kernel"):
            np.testing.assert_array_equal(weight, before[weight.path])


def test_the_same_seed_gives_the_same_weights(layered):
    def weights(seed):
        randomise(layered, seed)
        return np.concatenate([np.ravel(weight) for weight in layered.weights])

    first = weights(0)
    assert (weights(1) != first).any()
    np.testing.assert_array_equal(weights(0), first)


# Files ----------------------------------------------------------------------------------------------------------------


def test_a_weights_file_may_be_named_by_text_or_path(tmp_path):
    path = tmp_path / "x.weights.h5"
    path.touch()
    assert weights_file(path) == weights_file(str(path)) == str(path)


def test_missing_weights():
    with pytest.raises(BackboneError, match=r"weights='imagnet' is neither 'imagenet', None .* nor a file that exists"):
        weights_file("imagnet")


def test_a_folder_is_no_weights_file(tmp_path):
    with pytest.raises(BackboneError, match="nor a file that exists"):
        weights_file(tmp_path)


@pytest.mark.parametrize("weights", [3, True, b"x", ["a.h5"]])
def test_weights_that_are_no_path(weights):
    with pytest.raises(BackboneError, match=r"must be 'imagenet', None \(random\) or the path of .*Got"):
        weights_file(weights)


def test_a_digest_is_of_the_content(tmp_path):
    one, twin, other = (tmp_path / name for name in "abc")
    one.write_bytes(b"1" * 3_000_000)
    twin.write_bytes(b"1" * 3_000_000)
    other.write_bytes(b"1" * 2_999_999 + b"2")
    assert file_digest(one) == file_digest(str(twin)) != file_digest(other)
    assert len(file_digest(one)) == 40


def test_an_overwritten_file_has_another_digest(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"1")
    before = file_digest(path)
    path.write_bytes(b"2")
    os.utime(path, ns=(1, 10**18))
    assert file_digest(path) != before


def test_an_unchanged_file_is_read_once(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"1")
    before = file_digest(path)
    monkeypatch.setattr("builtins.open", lambda *args: pytest.fail("read again"))
    assert file_digest(path) == before


@pytest.mark.parametrize("backend", ["openvino", "jax", "torch"])
def test_other_backends_of_keras_are_refused(monkeypatch, backend):
    monkeypatch.setattr("keras.config.backend", lambda: backend)
    with pytest.raises(BackboneError, match=rf"Keras on '{backend}', .* set KERAS_BACKEND=tensorflow"), quiet_build():
        pass
