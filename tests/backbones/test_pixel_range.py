"""What range of pixels a network of the user's own expects."""

import warnings

import numpy as np
import pytest

from skcnn.backbones import FrozenNetwork, resolve_backbone
from skcnn.backbones._applications import APPLICATIONS
from skcnn.backbones._pixel_range import LAYER_NAMES, application_of, expects_raw_pixels, parts_of_model
from skcnn.exceptions import PixelRangeWarning

# A network of each module.
NORMALISED_OUTSIDE = {
    "DenseNet121": "densenet",
    "InceptionResNetV2": "inception_resnet_v2",
    "InceptionV3": "inception_v3",
    "MobileNet": "mobilenet",
    "MobileNetV2": "mobilenet_v2",
    "NASNetMobile": "nasnet",
    "ResNet50": "resnet",
    "ResNet50V2": "resnet_v2",
    "VGG16": "vgg16",
    "VGG19": "vgg16",
    "Xception": "xception",
}
NORMALISED_INSIDE = ["ConvNeXtTiny", "EfficientNetB0", "EfficientNetV2B0", "MobileNetV3Small"]


def application(name, **settings):
    import keras

    return getattr(keras.applications, name)(weights=None, **settings)


def known(model):
    return resolve_backbone(model).range_is_known


def test_every_module_is_tried():
    tried = {APPLICATIONS[name][0] for name in (*NORMALISED_OUTSIDE, *NORMALISED_INSIDE)}
    assert tried == {module for module, _ in APPLICATIONS.values()}
    assert set(NORMALISED_OUTSIDE.values()) == set(LAYER_NAMES)


@pytest.mark.parametrize(("name", "module"), NORMALISED_OUTSIDE.items())
def test_networks_that_need_normalised_pixels(name, module):
    import keras

    without_top = application(name, include_top=False, input_shape=(96, 96, 3))
    middle = without_top.layers[len(without_top.layers) * 2 // 3]
    models = [application(name), without_top, keras.Model(without_top.input, middle.output)]
    for model in models:
        assert application_of(parts_of_model(model)) == module
        assert not expects_raw_pixels(parts_of_model(model))
        assert resolve_backbone(model).normalisation == f"{module}.preprocess_input 1"


@pytest.mark.parametrize("name", NORMALISED_INSIDE)
def test_networks_that_normalise_by_themselves(name):
    model = application(name)
    assert application_of(parts_of_model(model)) is None
    assert expects_raw_pixels(parts_of_model(model))
    if name != "MobileNetV3Small":
        inside_another = application(name, include_top=False, input_shape=(96, 96, 3))
        import keras

        inputs = keras.Input((96, 96, 3))
        assert known(keras.Model(inputs, inside_another(inputs)))


@pytest.mark.parametrize("in_file", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("name", [pytest.param("VGG16", marks=pytest.mark.slow), "MobileNetV2"])
def test_a_model_gets_the_features_of_its_name(name, in_file, tmp_path):
    model = application(name, include_top=False, input_shape=(64, 64, 3))
    file = str(tmp_path / "net.weights.h5")
    model.save_weights(file)
    if in_file:
        model.save(tmp_path / "net.keras")
        model = str(tmp_path / "net.keras")
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.float32)
    expected = FrozenNetwork(resolve_backbone(name, file), input_size=(64, 64)).build()(images)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PixelRangeWarning)
        network = FrozenNetwork(resolve_backbone(model))
        assert network.normalises
        features = network.build()(images)
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)
    raw = FrozenNetwork(resolve_backbone(model), preprocess=None)
    assert raw.description != network.description
    assert np.abs(raw.build()(images) - expected).max() > 0.01 * np.abs(expected).max()


def head_on_vgg16(classes, name):
    import keras

    base = application("VGG16", include_top=False, input_shape=(32, 32, 3))
    return keras.Model(base.input, keras.layers.Dense(classes, name=name)(keras.layers.Flatten()(base.output)))


def small(*first, dtype="float32"):
    import keras

    return keras.Sequential([keras.Input((16, 16, 3), dtype=dtype), *first, keras.layers.Conv2D(4, 3)])


def test_another_head_means_another_training():
    for model in (head_on_vgg16(3, "scores"), head_on_vgg16(3, "predictions")):
        backbone = resolve_backbone(model)
        assert backbone.normalisation is None
        assert not backbone.range_is_known


def test_a_layer_that_scales_tells(tmp_path):
    import keras

    layers = keras.layers
    augmentation = [layers.RandomFlip(), keras.Sequential([layers.RandomRotation(0.1)])]
    inputs = keras.Input((16, 16, 3))
    arithmetic = keras.Model(inputs, layers.Conv2D(4, 3)((inputs - 127.0) / 128.0))
    told = [
        small(layers.Rescaling(1 / 255)),
        small(*augmentation, layers.Rescaling(1 / 255)),
        small(keras.Sequential([layers.Resizing(8, 8), layers.Normalization(mean=[0.0] * 3, variance=[1.0] * 3)])),
        arithmetic,
    ]
    untold = [small(), small(*augmentation), small(layers.BatchNormalization()), small(small())]
    for model, answer in [*((model, True) for model in told), *((model, False) for model in untold)]:
        path = str(tmp_path / "net.keras")
        model.save(path)
        assert known(model) == known(path) == answer
        assert resolve_backbone(model).normalisation is None


def test_whole_numbers_tell():
    import keras

    inputs = keras.Input((16, 16, 3), dtype="uint8")
    assert known(keras.Model(inputs, keras.layers.Conv2D(4, 3)(keras.ops.cast(inputs, "float32"))))


def test_a_network_that_does_not_tell_is_warned_of_once(new_process):
    from skcnn import CNNFeatureExtractor

    images = np.zeros((2, 16, 16, 3), np.uint8)
    extractor = CNNFeatureExtractor(small(), cache=None)
    message = r"nothing tells what range of pixels .* \[0, 255\].*Rescaling\(1 / 255\).*preprocess=None says so"
    with pytest.warns(PixelRangeWarning, match=message) as caught:
        extractor.fit(images).transform(images)
        extractor.transform(images)
    assert len([each for each in caught if each.category is PixelRangeWarning]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CNNFeatureExtractor(small(), cache=None, preprocess=None).fit_transform(images)
