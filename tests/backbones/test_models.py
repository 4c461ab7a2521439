import json
import sys
import types

import numpy as np
import pytest

from skcnn.backbones import FrozenNetwork, _models, cut_for, layers, resolve_backbone, unload_networks
from skcnn.backbones._identity import model_digest
from skcnn.backbones._model_files import FileBackbone
from skcnn.backbones._models import ModelBackbone, is_keras_model
from skcnn.exceptions import BackboneError


@pytest.fixture(scope="module", autouse=True)
def nothing_left():
    yield
    unload_networks()


def test_what_is_a_model(model):
    assert is_keras_model(model)
    assert not any(map(is_keras_model, ("VGG16", None, model.layers[0], type(model))))


def test_while_keras_is_being_imported_nothing_is_a_model(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", types.ModuleType("keras"))
    assert not is_keras_model("VGG16")


def test_a_model_is_digested_once_for_each_state(model, monkeypatch):
    digested = []
    monkeypatch.setattr(_models, "model_digest", lambda model: digested.append(model) or model_digest(model))
    first = ModelBackbone(model).identity()
    assert [ModelBackbone(model).identity() for _ in range(5)] == [first] * 5
    assert len(digested) == 1
    weights = model.get_weights()
    weights[0] = weights[0] + 1
    model.set_weights(weights)
    second = ModelBackbone(model).identity()
    assert second != first
    layer = model.layers[-1]
    layer.extra = 3  # of a layer of Keras's own it changes nothing, but is looked at anew
    assert ModelBackbone(model).identity() == second
    assert len(digested) == 3


def test_models_of_equal_weights_are_equal_but_two(model, make_model):
    one, other = ModelBackbone(model), ModelBackbone(make_model())
    assert one.identity() == other.identity()
    assert one.state() != other.state()
    assert one.state() == ModelBackbone(model).state()
    json.dumps(one.identity())


def test_a_model_is_built_as_it_is(model):
    backbone = ModelBackbone(model)
    assert backbone.build() is model
    assert backbone.build((8, 8)) is model
    assert backbone.input_shape() == (8, 8, 3)
    assert backbone.normalisation is None


def test_another_size_is_refused(model, path):
    for backbone, name in ((ModelBackbone(model), "mine"), (FileBackbone(path), path)):
        with pytest.raises(BackboneError, match=rf"'{name}' takes images of 8 x 8 only, not input_size=\(8, 9\)"):
            backbone.build((8, 9))


def test_a_model_of_images_of_any_size(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((None, 6, 3)), keras.layers.Conv2D(2, 3)])
    model.save(tmp_path / "any.keras")
    for backbone in (ModelBackbone(model), FileBackbone(tmp_path / "any.keras")):
        assert backbone.input_shape() == (None, 6, 3)
        assert backbone.build((9, 6)).input_shape == (None, None, 6, 3)
        with pytest.raises(BackboneError, match="takes images of None x 6 only"):
            backbone.build((9, 7))


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_one_input_in_a_container_is_one_input(kind, pixels):
    import keras

    inputs = keras.Input((8, 8, 3), name="pixels")
    outputs = keras.layers.Conv2D(2, 3)(inputs)
    model = keras.Model([inputs] if kind == "list" else {"pixels": inputs}, outputs)
    assert ModelBackbone(model).input_shape() == (8, 8, 3)
    features = FrozenNetwork(ModelBackbone(model), pooling=None).load("keras").run(pixels)
    np.testing.assert_allclose(features, keras.Model(inputs, outputs)(pixels), rtol=1e-5)


def models_that_will_not_do():
    import keras

    class Subclassed(keras.Model):
        def call(self, x):
            return x

    class GraphAndCall(keras.Model):
        def call(self, x):
            return 2 * super().call(x)

    first, small, vector = keras.Input((8, 8, 3)), keras.Input((4, 4, 3)), keras.Input((8,))
    own_call = GraphAndCall(inputs=first, outputs=keras.layers.ReLU(name="relu")(first), name="graph and call")
    called = Subclassed(name="called")
    called(np.zeros((1, 8, 8, 3)))
    no_graph = r"has no graph of layers to cut: build it as a functional or Sequential model with a keras\.Input"
    return {
        "subclassed": (Subclassed(name="own"), f"'own' {no_graph}"),
        "subclassed and called": (called, f"'called' {no_graph}"),
        "unbuilt": (keras.Sequential([keras.layers.Conv2D(2, 3)], name="later"), f"'later' {no_graph}"),
        "empty": (keras.Sequential(name="empty"), f"'empty' {no_graph}"),
        "own call": (own_call, "'graph and call' has a call of its own, .* keras.Model"),
        "images of two sizes": (
            keras.Model([first, small], [first, small], name="pair"),
            r"'pair' has inputs of shape \[\(None, 8, 8, 3\), \(None, 4, 4, 3\)\]; .*one batch of images",
        ),
        "no images": (
            keras.Model(vector, keras.layers.Dense(2)(vector), name="table"),
            r"'table' has inputs of shape \[\(None, 8\)\]",
        ),
    }


@pytest.mark.parametrize(
    "kind", ["subclassed", "subclassed and called", "unbuilt", "empty", "own call", "images of two sizes", "no images"]
)
def test_models_that_are_no_backbones(kind):
    model, message = models_that_will_not_do()[kind]
    backbone = resolve_backbone(model)
    for method in (backbone.identity, backbone.input_shape, backbone.build):
        with pytest.raises(BackboneError, match=message):
            method()


# Several inputs and outputs -------------------------------------------------------------------------------------------


@pytest.fixture
def mixed():
    """A network of images and a table, with two outputs, and an inner model on the side of the images."""
    import keras

    image, table = keras.Input((8, 8, 3), name="image"), keras.Input((5,), name="table")
    inside = keras.Input((8, 8, 3), name="inside")
    inner = keras.Model(inside, keras.layers.Conv2D(4, 3, name="conv")(inside), name="inner")
    embed = keras.layers.GlobalAveragePooling2D(name="embed")(inner(image))
    numbers = keras.layers.Normalization(name="numbers", mean=[0.0] * 5, variance=[1.0] * 5)(table)
    both = keras.layers.Concatenate(name="both")([embed, numbers])
    outputs = {
        "classes": keras.layers.Dense(3, name="head_1")(both),
        "box": keras.layers.Dense(4, name="head_2")(embed),
    }
    return keras.Model({"image": image, "table": table}, outputs, name="mixed")


def backbones_of(model, folder):
    model.save(folder / "saved.keras")
    return [resolve_backbone(model), resolve_backbone(folder / "saved.keras")]


@pytest.mark.parametrize("layer", ["embed", "conv", "inner.conv", "head_2", "box"])
def test_what_needs_the_images_alone_is_computed_of_a_network_with_other_inputs(mixed, layer, pixels, tmp_path):
    import keras

    places = {"embed": mixed.get_layer("embed").output, "head_2": mixed.output["box"], "box": mixed.output["box"]}
    output = places.get(layer, mixed.get_layer("inner").get_layer("conv").output)
    given = mixed.input["image"] if layer in places else mixed.get_layer("inner").input
    expected = np.asarray(keras.Model(given, output)(pixels))
    for backbone in backbones_of(mixed, tmp_path):
        assert backbone.input_shape() == (8, 8, 3)
        network = FrozenNetwork(backbone, layer, pooling=None, preprocess=None)
        np.testing.assert_allclose(network.load("keras").run(pixels), expected, rtol=1e-5, atol=1e-5)


def test_a_layer_that_needs_another_input_is_refused_by_its_name(mixed, tmp_path):
    for backbone in backbones_of(mixed, tmp_path):
        for layer in ("both", "head_1", "classes"):
            match = r"layer '(both|head_1)' .* needs the inputs 'image', 'table', .* alone is 'head_2'"
            with pytest.raises(BackboneError, match=match):
                FrozenNetwork(backbone, layer).cut()
        with pytest.raises(BackboneError, match="layer 'numbers' .* needs the inputs 'table',"):
            FrozenNetwork(backbone, "numbers").cut()
        with pytest.raises(BackboneError, match=r"has several outputs: 'classes', 'box'; name the layer .* layer='"):
            FrozenNetwork(backbone).cut()


def test_the_other_inputs_tell_nothing_of_the_pixels(mixed, tmp_path):
    # The table is normalised; of the images nothing is known.
    assert [backbone.range_is_known for backbone in backbones_of(mixed, tmp_path)] == [False, False]


def test_either_of_two_pictures(pixels, tmp_path):
    import keras

    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    sides = [
        keras.layers.Conv2D(2, 3, name=f"conv_{side}")(given) for side, given in (("left", left), ("right", right))
    ]
    model = keras.Model([left, right], keras.layers.Add(name="sum")(sides), name="pair")
    for backbone in backbones_of(model, tmp_path):
        for side, given in zip(("left", "right"), sides, strict=True):
            network = FrozenNetwork(backbone, f"conv_{side}", pooling=None, preprocess=None)
            expected = keras.Model(model.inputs, given)([pixels, pixels])
            np.testing.assert_allclose(network.load("keras").run(pixels), expected, rtol=1e-5, atol=1e-5)
        with pytest.raises(BackboneError, match="needs the inputs 'left', 'right'"):
            FrozenNetwork(backbone, "sum").cut()


def test_fine_tuning_starts_from_a_layer_of_a_network_with_other_inputs(mixed):
    network = FrozenNetwork(resolve_backbone(mixed), "embed", preprocess=None)
    assert cut_for(network.truncated(), 1) == ("image", ("inner.conv", "embed"), True)
    assert [row.name for row in layers(mixed) if row.cuttable] == []
