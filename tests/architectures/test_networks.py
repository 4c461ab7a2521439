"""Parameter counts and the shapes after each block, against the publications."""

import functools
import inspect

import numpy as np
import pytest

from skcnn import architectures
from skcnn.architectures import ARCHITECTURES

PARAMETERS = [
    ("minivggnet", (64, 64, 3), 17, {}, 8_466_225),
    ("minivggnet", (32, 32, 3), 10, {}, 2_171_178),
    ("lenet", (28, 28, 1), 10, {}, 1_256_080),
    ("shallownet", (32, 32, 3), 10, {}, 328_586),
    ("alexnet", (227, 227, 3), 2, {}, 58_327_810),
    ("alexnet", (227, 227, 3), 1000, {}, 62_416_616),
    ("minigooglenet", (32, 32, 3), 10, {}, 1_656_250),
    ("deepergooglenet", (64, 64, 3), 200, {}, 3_667_976),
    ("resnet", (32, 32, 3), 10, {"filters": (16, 16, 32, 64)}, 60_790),
    ("resnet", (32, 32, 3), 10, {"filters": (16, 64, 128, 256)}, 880_774),
    ("resnet", (32, 32, 3), 10, {}, 886_102),
    (
        *("resnet", (64, 64, 3), 200),
        {"stages": (3, 4, 6), "filters": (64, 128, 256, 512), "stem": "tiny_imagenet"},
        2_265_748,
    ),
    ("whitened_vgg", (32, 32, 3), 10, {}, 499_280),
    ("mlp", (28, 28, 1), 10, {}, 407_050),
    ("mlp", (28, 28, 1), 10, {"units": (1024,)}, 814_090),
    ("mlp", (28, 28, 1), 10, {"units": (512, 512)}, 669_706),
    ("mlp", (28, 28, 1), 10, {"units": (512, 512), "dropout": 0.5}, 669_706),
    ("convnet", (28, 28, 1), 10, {"filters": (16,)}, 27_210),
    ("convnet", (28, 28, 1), 10, {}, 12_810),
]


@pytest.mark.parametrize(("name", "shape", "n_classes", "options", "expected"), PARAMETERS)
def test_parameters(name, shape, n_classes, options, expected):
    model = ARCHITECTURES[name](shape, n_classes, **options)
    assert model.count_params() == expected
    assert model.name == name
    assert model.output_shape == (None, n_classes)


SHAPES = {
    "minivggnet": {"block1_pool": (32, 32, 32), "block2_pool": (16, 16, 64), "flatten": (16384,), "dense": (512,)},
    "lenet": {"pool1": (32, 32, 20), "pool2": (16, 16, 50), "dense": (500,)},
    "alexnet": {
        "block1_conv1": (57, 57, 96),
        "block1_pool": (28, 28, 96),
        "block2_pool": (13, 13, 256),
        "block3_pool": (6, 6, 256),
        "flatten": (9216,),
        "dense1": (4096,),
        "dense2": (4096,),
    },
    "minigooglenet": {
        "conv": (32, 32, 96),
        "block1_inception1": (32, 32, 64),
        "block1_inception2": (32, 32, 80),
        "downsampling1": (15, 15, 160),
        "block2_inception1": (15, 15, 160),
        "block2_inception4": (15, 15, 144),
        "downsampling2": (7, 7, 240),
        "block3_inception2": (7, 7, 336),
        "pool": (336,),
    },
    "deepergooglenet": {
        "pool1": (32, 32, 64),
        "pool2": (16, 16, 192),
        "inception_3a": (16, 16, 256),
        "inception_3b": (16, 16, 480),
        "pool3": (8, 8, 480),
        "inception_4a": (8, 8, 512),
        "inception_4b": (8, 8, 512),
        "inception_4c": (8, 8, 512),
        "inception_4d": (8, 8, 528),
        "inception_4e": (8, 8, 832),
        "pool4": (4, 4, 832),
        "pool": (832,),
    },
    "resnet": {
        "stem_conv": (32, 32, 64),
        "stage1_module1": (32, 32, 64),
        "stage1_module9": (32, 32, 64),
        "stage2_module1": (16, 16, 128),
        "stage3_module9": (8, 8, 256),
        "pool": (256,),
    },
}
INPUTS = {"alexnet": (227, 227, 3), "minigooglenet": (32, 32, 3), "resnet": (32, 32, 3)}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_after_each_block(name):
    model = ARCHITECTURES[name](INPUTS.get(name, (64, 64, 3)), 10)
    assert {layer: model.get_layer(layer).output.shape[1:] for layer in SHAPES[name]} == SHAPES[name]


def test_shapes_of_the_resnet_for_images_of_64_pixels():
    settings = {"stages": (3, 4, 6), "filters": (64, 128, 256, 512), "stem": "tiny_imagenet"}
    model = ARCHITECTURES["resnet"]((64, 64, 3), 200, **settings)
    ends = ("stem_conv", "stem_pool", "stage1_module3", "stage2_module4", "stage3_module6", "pool")
    shapes = [model.get_layer(name).output.shape[1:] for name in ends]
    assert shapes == [(64, 64, 64), (32, 32, 64), (32, 32, 128), (16, 16, 256), (8, 8, 512), (512,)]


SMALLEST = {
    "alexnet": 57,
    "convnet": 10,
    "deepergooglenet": 1,
    "lenet": 4,
    "minigooglenet": 7,
    "minivggnet": 4,
    "mlp": 1,
    "resnet": 4,
    "shallownet": 1,
    "whitened_vgg": 9,
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_smallest_images_work_and_smaller_ones_are_an_error_that_names_them(name):
    side = SMALLEST[name]
    assert ARCHITECTURES[name]((side, side + 1, 3), 3).output_shape == (None, 3)
    if side > 1:
        with pytest.raises(ValueError, match=f"^{name} takes images of {side} x {side} pixels or more, and"):
            ARCHITECTURES[name]((side + 1, side - 1, 3), 3)
    with pytest.raises(ValueError, match=r"must be \(height, width, channels\)"):
        ARCHITECTURES[name]((64, 64), 3)


# Fewer layers, which are the same.
SMALL = {"resnet": {"stages": (1, 1), "filters": (8, 8, 8)}, "deepergooglenet": {"stages": (3,)}}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_options_that_the_publications_compare(name):
    """Every kernel has the L2 of its own, none where it is 0; the activation is where it belongs."""
    from keras.layers import Activation, BatchNormalization

    builder = functools.partial(ARCHITECTURES[name], **SMALL.get(name, {}))
    options = inspect.signature(builder).parameters
    given = {key: value for key, value in {"l2": 0.25, "module_l2": 0.5}.items() if key in options}
    model = builder((64, 64, 3), 3, **given, activation="elu")
    for layer in model.layers:
        if hasattr(layer, "kernel") and layer.trainable:
            expected = 0.5 if layer.name.startswith("stage") else 0.25
            assert float(layer.kernel_regularizer.l2) == expected, layer.name
    activations = [layer for layer in model.layers if isinstance(layer, Activation)]
    assert activations
    assert {layer.activation.__name__ for layer in activations} == {"elu"}
    plain = builder((64, 64, 3), 3, **dict.fromkeys(given, 0.0))
    assert not plain.losses
    if "batch_norm" in options:
        for order in ("before", "after", None):
            layers = builder((64, 64, 3), 3, batch_norm=order).layers
            norms = [number for number, layer in enumerate(layers) if isinstance(layer, BatchNormalization)]
            if name not in ("minigooglenet", "deepergooglenet"):  # whose layers stand side by side
                neighbour = {"before": 1, "after": -1}.get(order, 0)
                assert all(isinstance(layers[number + neighbour], Activation) for number in norms)
            assert bool(norms) == (order is not None)
        with pytest.raises(ValueError, match="'batch_norm' parameter must be 'before', 'after' or None"):
            builder((64, 64, 3), 3, batch_norm="above")


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_is_whitened(channels):
    """Of a picture in which each pixel resembles its neighbours, as photographs do."""
    import keras

    model = ARCHITECTURES["whitened_vgg"]((32, 32, channels), 10)
    kernel = np.asarray(model.get_layer("patches").kernel)
    filters = kernel.reshape(4 * channels, 8 * channels)
    np.testing.assert_allclose(filters[:, : 4 * channels], -filters[:, 4 * channels :])
    np.testing.assert_allclose(
        filters[:, : 4 * channels].T @ filters[:, : 4 * channels], np.eye(4 * channels), atol=1e-6
    )
    steps = np.random.default_rng(0).normal(size=(64, 32, 32, channels)) + np.random.default_rng(1).normal(
        size=(64, 32, 32, 1)
    )
    images = (steps.cumsum(axis=1).cumsum(axis=2) / 50).astype(np.float32)
    white = keras.Model(model.inputs[0], model.get_layer("whiten").output)(images, training=True)
    responses = np.asarray(white).reshape(-1, 8 * channels)[:, : 4 * channels]
    found = np.corrcoef(responses.T) - np.eye(4 * channels)
    neighbours = np.lib.stride_tricks.sliding_window_view(images, (2, 2), axis=(1, 2)).reshape(-1, 4 * channels)
    assert np.abs(found).mean() < np.abs(np.corrcoef(neighbours.T) - np.eye(4 * channels)).mean() / 10
    assert ((responses.std(axis=0) > 0.8) & (responses.std(axis=0) < 1.01)).all()


def test_residual_modules_add_to_their_input():
    """With all last convolutions at 0, a module without a convolution in its shortcut changes nothing."""
    import keras

    inputs = keras.Input((8, 8, 8))
    model = keras.Model(inputs, architectures.residual_module(inputs, 8, name="module"))
    last = model.get_layer("module_3_conv")
    last.kernel.assign(np.zeros(last.kernel.shape))
    pixels = np.random.default_rng(0).normal(size=(2, 8, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(model(pixels), pixels)
    assert not any(layer.use_bias for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {(layer.epsilon, layer.momentum) for layer in norms} == {(2e-5, 0.9)}


def test_wrong_options_of_the_networks():
    with pytest.raises(ValueError, match="'stem' parameter must be 'cifar' or 'tiny_imagenet'. Got 'imagenet'"):
        architectures.resnet((32, 32, 3), 10, stem="imagenet")
    with pytest.raises(ValueError, match=r"a multiple of 4 for each of 3 stages. Got \(16, 16, 32\)"):
        architectures.resnet((32, 32, 3), 10, filters=(16, 16, 32))
    with pytest.raises(ValueError, match=r"'stages' parameter must be \(3,\) or \(3, 4\). Got \(4,\)"):
        architectures.deepergooglenet((64, 64, 3), 10, stages=(4,))
    shallow = architectures.deepergooglenet((64, 64, 3), 10, stages=(3,))
    assert shallow.get_layer("pool3").output.shape[1:] == (8, 8, 480)
    assert "inception_4a" not in {layer.name for layer in shallow.layers}


def test_modules_without_a_name_can_be_used_again_and_again():
    import keras

    x = inputs = keras.Input((16, 16, 4))
    for _ in range(2):
        x = architectures.conv_module(x, 4)
        x = architectures.mini_inception_module(x, 2, 2)
        x = architectures.inception_module(x, 2, 2, 2, 2, 2, 2)
        x = architectures.residual_module(x, 8, reduces=True)
        x = architectures.downsampling_module(x, 4)
    x = architectures.dense_module(keras.layers.Flatten()(x), 3)
    assert keras.Model(inputs, x).output_shape == (None, 3)


def test_the_table_has_all_networks():
    assert set(ARCHITECTURES) == {name for name in architectures.__all__ if name[0].islower() and "module" not in name}
