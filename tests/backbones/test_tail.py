import numpy as np
import pytest

from skcnn.backbones import FrozenNetwork, resolve_backbone
from skcnn.backbones._backbone import Backbone
from skcnn.backbones._lite import LiteBackbone
from skcnn.backbones._tail import TunableNetwork
from skcnn.cache._json_memo import JsonMemo
from skcnn.exceptions import BackboneError


def tunable(model, unfreeze, **settings):
    backbone = model if isinstance(model, Backbone) else resolve_backbone(model)
    return TunableNetwork(FrozenNetwork(backbone, **settings), unfreeze)


@pytest.mark.parametrize("pooling", ["avg", "max", "flatten"])
@pytest.mark.parametrize("unfreeze", [1, "one_b", "all"])
def test_trunk_and_tail_give_the_features(residual, unfreeze, pooling):
    network = tunable(residual, unfreeze, pooling=pooling)
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.float32)
    rows = images if network.trunk is None else network.trunk.load("keras").run(images)
    expected = network.features.load("keras").run(images)
    np.testing.assert_allclose(network.build_tail().predict_on_batch(rows), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_models_inside_a_network_of_keras_applications_are_opened():
    network = tunable(resolve_backbone("ConvNeXtTiny", None), 2, input_size=(32, 32))
    assert network.cut.layer == "convnext_tiny_downsampling_block_2.convnext_tiny_downsampling_conv_2"
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    expected = network.features.load("keras").run(images)
    features = network.build_tail().predict_on_batch(network.trunk.load("keras").run(images))
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_normalisation_is_in_the_tail_that_starts_from_pixels():
    network = TunableNetwork(FrozenNetwork(resolve_backbone("efficientnet_lite0", None), input_size=(32, 32)), "all")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    expected = network.features.load("keras").run(images)
    np.testing.assert_allclose(network.build_tail().predict_on_batch(images), expected, rtol=1e-4, atol=1e-5)


def test_where_nothing_is_trained_the_trunk_is_the_whole_network(residual):
    network = tunable(residual, 0)
    assert not network.has_tail
    assert network.trunk is network.features


def test_layers_that_the_user_froze_are_trained_all_the_same(residual):
    import keras

    frozen = keras.models.clone_model(residual)
    frozen.set_weights(residual.get_weights())
    frozen.trainable = False
    tail, twin = tunable(frozen, "two_a").build_tail(), tunable(residual, "two_a").build_tail()
    assert len(tail.trainable_weights) == len(twin.trainable_weights) > 0
    assert not frozen.trainable_weights
    for ours, theirs in zip(tail.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_two_names_of_one_place_are_the_same_network(residual):
    network = tunable(residual, "two_a")
    network.check_same(tunable(residual, 3).description)
    with pytest.raises(BackboneError, match="^unfreeze changed since this was fitted; set that back, or fit again$"):
        network.check_same(tunable(residual, 1).description)
    with pytest.raises(BackboneError, match="^pooling changed"):
        network.check_same(tunable(residual, "two_a", pooling="max").description)


def test_a_backbone_that_changed_under_way_is_refused(residual):
    import keras

    model = keras.models.clone_model(residual)
    network = tunable(model, "two_a")
    before = network.description
    model.get_layer("stem").set_weights([weight + 1 for weight in model.get_layer("stem").get_weights()])
    with pytest.raises(BackboneError, match="'residual' was changed since its activations were taken; fit again"):
        network.build_tail()
    with pytest.raises(BackboneError, match="'residual' is not the one this was fitted on"):
        tunable(model, "two_a").check_same(before)


# Known cuts ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def builds(monkeypatch):
    """Count how often a graph of EfficientNet-Lite is built."""
    counted = []
    build = LiteBackbone.build

    def counting(self, *args, **kwargs):
        counted.append(self.name)
        return build(self, *args, **kwargs)

    monkeypatch.setattr(LiteBackbone, "build", counting)
    return counted


def lite(unfreeze, directory, **settings):
    backbone = resolve_backbone("efficientnet_lite0", None)
    return tunable(backbone, unfreeze, input_size=(32, 32), known_cuts=JsonMemo(directory), **settings)


def test_a_known_cut_is_looked_up(tmp_path, builds):
    cut = lite(4, tmp_path).cut
    assert cut.layer == "block6d_add"
    assert lite(np.int64(4), tmp_path).cut == cut
    assert isinstance(lite(4, tmp_path).cut.trained, tuple)
    assert len(builds) == 1
    assert lite(1, tmp_path).cut.layer == "block7a_project_bn"
    assert lite(4, tmp_path, layer="block6d_add").cut.layer != cut.layer
    assert len(builds) == 3


@pytest.mark.parametrize(
    "damage",
    [
        "",
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in ('{"answer": ["block6d_add", "top_conv", false]}', '{"answer": 3}')
        ),
    ],
)
def test_an_answer_that_is_damaged_is_found_again(tmp_path, builds, damage):
    cut = lite(4, tmp_path).cut
    (file,) = tmp_path.glob("*.json")
    file.write_text(damage)
    assert lite(4, tmp_path).cut == cut
    assert len(builds) == 2
    assert lite(4, tmp_path).cut == cut
    assert len(builds) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "unfreeze", [-1, 1000, "block9", *(pytest.param(each, marks=pytest.mark.slow) for each in (True, 1.5, None, [4]))]
)
def test_what_cannot_be_trained_is_no_answer(tmp_path, unfreeze):
    for _ in range(2):
        with pytest.raises(ValueError, match="unfreeze|no layer"):
            lite(unfreeze, tmp_path).cut  # noqa: B018
    assert not list(tmp_path.glob("*.json"))
