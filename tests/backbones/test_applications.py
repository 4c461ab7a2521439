import importlib
import random

import numpy as np
import pytest

from skcnn.backbones import FrozenNetwork, Runner, loaded_networks, resolve_backbone, unload_networks
from skcnn.backbones._applications import APPLICATIONS, MODULES, ApplicationBackbone
from skcnn.backbones._backbone import RANDOM, randomise
from skcnn.exceptions import BackboneError


@pytest.fixture(autouse=True)
def nothing_loaded():
    unload_networks()
    yield
    unload_networks()


@pytest.fixture(scope="module")
def small():
    """The smallest application on the smallest images it takes, with weights of its own."""
    import keras

    model = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3))
    randomise(model, seed=7)
    return model


@pytest.fixture(scope="module")
def weights_path(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mine.weights.h5"
    small.save_weights(path)
    return path


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


# The table ------------------------------------------------------------------------------------------------------------


def test_the_table_has_every_application_of_the_installed_keras():
    import keras

    offered = {
        name for name in dir(keras.applications) if name[0].isupper() and callable(getattr(keras.applications, name))
    }
    assert set(APPLICATIONS) == offered


def test_the_table_names_the_module_of_each():
    import keras

    for name, (module, _) in APPLICATIONS.items():
        assert getattr(keras.applications, name).__module__.endswith(f".{module}")
        assert callable(importlib.import_module(f"keras.applications.{module}").preprocess_input)


@pytest.mark.parametrize("name", ["MobileNet", "MobileNetV2", "EfficientNetB1", "InceptionV3"])
def test_the_default_size_is_the_one_keras_builds_with_a_top(name):
    import keras

    model = getattr(keras.applications, name)(weights=None)
    assert model.input_shape[1:] == ApplicationBackbone(name, None).input_shape()


@pytest.mark.parametrize("name", APPLICATIONS)
def test_the_default_size_is_the_one_keras_asks_for(name, monkeypatch):
    import keras
    from keras.src.applications import imagenet_utils

    class AskedError(Exception):
        pass

    def obtain_input_shape(input_shape, default_size, *args, **kwargs):
        raise AskedError(default_size)

    monkeypatch.setattr(imagenet_utils, "obtain_input_shape", obtain_input_shape)
    if name.startswith("MobileNetV3"):
        # It takes images of any size unless told.
        assert APPLICATIONS[name][1] == 224
        return
    with pytest.raises(AskedError) as asked:
        getattr(keras.applications, name)(weights=None)
    assert asked.value.args == (APPLICATIONS[name][1],)


# Normalisation --------------------------------------------------------------------------------------------------------

ONE_OF_EACH_MODULE = [next(iter(names)) for names in MODULES.values()]


@pytest.mark.parametrize("name", ONE_OF_EACH_MODULE)
def test_normalisation_is_keras_own(name, pixels):
    import keras

    backbone = ApplicationBackbone(name, None)
    inputs = keras.Input((32, 32, 3))
    inside = keras.Model(inputs, backbone.normalise(inputs))
    module = importlib.import_module(f"keras.applications.{APPLICATIONS[name][0]}")
    expected = module.preprocess_input(pixels.astype(np.float32))
    np.testing.assert_allclose(inside(pixels.astype(np.float32)), expected, rtol=1e-5, atol=1e-4)
    assert backbone.normalisation == f"{APPLICATIONS[name][0]}.preprocess_input"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Blue first, and the mean of ImageNet taken off.
        ("VGG16", (30 - 103.939, 20 - 116.779, 10 - 123.68)),
        ("ResNet50", (30 - 103.939, 20 - 116.779, 10 - 123.68)),
        ("MobileNetV2", (10 / 127.5 - 1, 20 / 127.5 - 1, 30 / 127.5 - 1)),
        ("DenseNet121", ((10 / 255 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (30 / 255 - 0.406) / 0.225)),
        ("EfficientNetB0", (10, 20, 30)),
    ],
)
def test_normalisation_by_hand(name, expected):
    import keras

    inputs = keras.Input((1, 1, 3))
    inside = keras.Model(inputs, ApplicationBackbone(name, None).normalise(inputs))
    result = inside(np.array([10, 20, 30], np.float32).reshape(1, 1, 1, 3))
    np.testing.assert_allclose(np.ravel(result), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_network_normalises_unless_told_not_to(pixels, weights_path):
    import keras

    backbone = resolve_backbone("MobileNet", weights_path)
    auto = FrozenNetwork(backbone, input_size=(32, 32)).load("keras").run(pixels)
    bare = FrozenNetwork(backbone, input_size=(32, 32), preprocess=None)
    assert not bare.normalises
    normalised = keras.applications.mobilenet.preprocess_input(pixels.astype(np.float32))
    np.testing.assert_allclose(bare.load("keras").run(normalised), auto, rtol=1e-4, atol=1e-5)
    assert np.abs(bare.load("keras").run(pixels) - auto).max() > 0.01


# Weights --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_weights_of_a_file_are_loaded(small, weights_path, pixels):
    import keras

    network = FrozenNetwork(resolve_backbone("MobileNet", weights_path), pooling=None, input_size=(32, 32))
    expected = small(keras.applications.mobilenet.preprocess_input(pixels.astype(np.float32)), training=False)
    np.testing.assert_allclose(network.load("keras").run(pixels), expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(expected) > 0.1


def test_who_it_is_depends_on_the_content_of_the_file(weights_path, tmp_path):
    copied, changed = tmp_path / "copied.weights.h5", tmp_path / "changed.weights.h5"
    copied.write_bytes(weights_path.read_bytes())
    changed.write_bytes(weights_path.read_bytes() + b"x")
    identities = [ApplicationBackbone("MobileNet", weights).identity() for weights in (weights_path, copied, changed)]
    assert identities[0] == identities[1] != identities[2]
    assert ApplicationBackbone("MobileNet", None).identity()["weights"] == RANDOM
    assert ApplicationBackbone("MobileNet", "imagenet").identity()["weights"] == "imagenet"


# Keras warns of every layer that it passes over before it refuses the file.
@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
@pytest.mark.slow
def test_weights_of_another_architecture(weights_path):
    match = r"mine\.weights\.h5' does not hold the weights of MobileNetV2 without its top: "
    with pytest.raises(BackboneError, match=match) as caught:
        ApplicationBackbone("MobileNetV2", weights_path).build((32, 32))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5", ".txt"])
def test_a_file_without_weights(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_text("these are no weights")
    with pytest.raises(BackboneError, match=r"x\S+ does not hold the weights of MobileNet without its top"):
        ApplicationBackbone("MobileNet", path).build((32, 32))


def test_missing_weights():
    with pytest.raises(
        BackboneError, match=r"weights='gone\.h5' is neither 'imagenet', None .* nor a file that exists"
    ):
        ApplicationBackbone("MobileNet", "gone.h5")


def test_images_that_are_too_small():
    with pytest.raises(BackboneError, match=r"MobileNet cannot be built: .*32.*16") as caught:
        ApplicationBackbone("MobileNet", None).build((16, 16))
    assert "Without a network" not in str(caught.value)


def test_random_weights_are_drawn_anew_and_the_same():
    first, second = (ApplicationBackbone("MobileNet", None).build((32, 32)) for _ in range(2))
    for one, other in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert first.get_layer("conv1").kernel.numpy().std() == pytest.approx(np.sqrt(2 / 27), rel=0.1)


def test_without_a_network_the_error_says_what_to_do(monkeypatch, weights_path):
    import keras
    from keras.src.utils import file_utils

    asked = []

    def get_file(*args, **kwargs):
        asked.append(args)
        raise Exception("URL fetch failure on https://example.org/mobilenet.h5: None -- Name or service not known")

    monkeypatch.setattr(file_utils, "get_file", get_file)
    policy, state, before = keras.config.dtype_policy(), random.getstate(), keras.layers.ReLU().name
    network = FrozenNetwork(resolve_backbone("MobileNet"))
    assert network.backbone.identity()  # known without the download
    match = r"MobileNet cannot be built: URL fetch failure .*weights='<file>' or .*'efficientnet_lite0'"
    with pytest.raises(BackboneError, match=match) as caught:
        network.load("keras")
    assert asked
    assert isinstance(caught.value.__cause__, Exception)
    assert (keras.config.dtype_policy(), random.getstate()) == (policy, state)
    assert keras.layers.ReLU().name == f"re_lu_{int(before.partition('re_lu')[2].strip('_') or 0) + 1}"
    assert loaded_networks() == 0
    assert isinstance(
        FrozenNetwork(resolve_backbone("MobileNet", weights_path), input_size=(32, 32)).load("keras"), Runner
    )


def test_the_layers_are_listed_without_a_download(monkeypatch):
    from keras.src.utils import file_utils

    monkeypatch.setattr(file_utils, "get_file", lambda *args, **kwargs: pytest.fail("a download"))
    model = ApplicationBackbone("MobileNet", "imagenet").build((32, 32), load_weights=False)
    assert model.layers[-1].name == "conv_pw_13_relu"
