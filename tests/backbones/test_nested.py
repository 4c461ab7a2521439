"""Models inside models: their layers are those of one graph."""

import warnings

import numpy as np
import pytest

from skcnn.backbones import FrozenNetwork, layers, resolve_backbone, separating_layers
from skcnn.backbones._layers import LayerInfo
from skcnn.backbones._nested import inline_nested
from skcnn.exceptions import BackboneError


def convolutions(name, kind="functional", filters=2):
    import keras

    parts = [
        keras.Input((None, None, 3)),
        keras.layers.Conv2D(filters, 3, name="first", kernel_initializer="ones"),
        keras.layers.Conv2D(filters, 3, name="last", kernel_initializer="ones"),
    ]
    if kind == "sequential":
        return keras.Sequential(parts, name=name)
    return keras.Model(parts[0], parts[2](parts[1](parts[0])), name=name)


def classifier(base):
    import keras

    inputs = keras.Input((8, 8, 3), name="input")
    x = base(keras.layers.Rescaling(2.0, name="scale")(inputs), training=False)
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="scores")(x), name="whole")


def features_of(backbone, layer=None):
    network = FrozenNetwork(resolve_backbone(backbone), layer, None)
    return network.build()(np.ones((1, *network.input_shape), np.float32)).numpy()


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_inner_layers_are_listed_and_found(kind, in_file, tmp_path):
    model = classifier(convolutions("base", kind))
    if in_file:
        path = str(tmp_path / "whole.keras")
        model.save(path)
        model = path
    assert layers(model) == [
        LayerInfo(0, "input", (8, 8, 3), 0, True),
        LayerInfo(1, "scale", (8, 8, 3), 0, True),
        LayerInfo(2, "base.first", (6, 6, 2), 56, True),
        LayerInfo(3, "base.last", (4, 4, 2), 38, True),
        LayerInfo(4, "pooled", (2,), 0, True),
        LayerInfo(5, "scores", (3,), 9, True),
    ]
    np.testing.assert_array_equal(features_of(model, "base.first"), np.full((1, 6, 6, 2), 54))
    np.testing.assert_array_equal(features_of(model, "first"), features_of(model, "base.first"))
    # The name of an inner model stands for what it gives.
    for layer in (None, "base", "last", 3):
        np.testing.assert_array_equal(features_of(model, layer), np.full((1, 4, 4, 2), 972))


def test_a_name_that_several_inner_models_use_is_asked_for():
    import keras

    inputs = keras.Input((12, 12, 3))
    model = keras.Model(inputs, convolutions("two")(convolutions("one", filters=3)(inputs)), name="both")
    with pytest.raises(BackboneError, match="several layers 'first': 'one.first', 'two.first'; say which"):
        features_of(model, "first")
    assert features_of(model, "two.first").shape == (1, 6, 6, 2)
    assert [row.output_shape for row in layers(model)][1:3] == [(10, 10, 3), (8, 8, 3)]


def test_models_in_models_in_models():
    import keras

    inner = convolutions("inner")
    middle = keras.Sequential([keras.Input((8, 8, 3)), inner, keras.layers.ReLU(name="relu")], name="middle")
    model = keras.Sequential([keras.Input((8, 8, 3)), middle, keras.layers.Flatten(name="flat")])
    assert [row.name for row in layers(model)][1:] == ["middle.inner.first", "middle.inner.last", "middle.relu", "flat"]
    np.testing.assert_array_equal(features_of(model, "first"), np.full((1, 6, 6, 2), 27))
    np.testing.assert_array_equal(features_of(model, "inner"), features_of(model, "middle.inner.last"))


def test_inner_models_of_one_name_at_two_places_are_asked_for():
    import keras

    def around(name):
        inner = convolutions("inner", filters=3)
        return keras.Sequential([keras.Input((None, None, 3)), inner, keras.layers.ReLU(name="relu")], name=name)

    model = keras.Sequential([keras.Input((16, 16, 3)), around("one"), around("two")], name="both")
    with pytest.raises(BackboneError, match="several layers 'inner': 'one.inner', 'two.inner'; say which"):
        features_of(model, "inner")
    assert features_of(model, "one.inner").shape == (1, 12, 12, 3)
    assert features_of(model, "two").shape == (1, 8, 8, 3)


def test_a_model_that_is_used_twice():
    import keras

    base = convolutions("base", filters=3)
    inputs = keras.Input((12, 12, 3), name="input")
    model = keras.Model(inputs, keras.layers.ReLU(name="last")(base(base(inputs))))
    flat = inline_nested(model)
    assert [layer.name for layer in flat.layers] == ["input", "base.first", "base.last", "last"]
    assert separating_layers(flat) == {"input", "last"}
    pixels = np.random.default_rng(0).random((2, 12, 12, 3), np.float32)
    np.testing.assert_array_equal(flat(pixels), model(pixels))
    with pytest.raises(BackboneError, match="'base.first' has 2 outputs, or is used that often"):
        features_of(model, "base.first")


def test_the_model_given_is_left_as_it_is():
    base = convolutions("base")
    model = classifier(base)
    before = [(layer.name, len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in model._flatten_layers()]
    config, names = model.to_json(), [layer.name for layer in base.layers]
    flat = inline_nested(model)
    assert [
        (layer.name, len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in model._flatten_layers()
    ] == before
    assert model.to_json() == config
    assert [layer.name for layer in base.layers] == names
    # Weights are shared, not copied.
    assert {id(weight) for weight in flat.weights} == {id(weight) for weight in model.weights}


def test_a_model_without_inner_models_is_itself():
    model = convolutions("plain")
    assert inline_nested(model) is model


def test_what_has_no_graph_of_one_way_stays_a_layer():
    import keras

    class Doubling(keras.Model):
        def call(self, x):
            return 2 * x

    class OwnCall(type(convolutions("functional"))):
        def call(self, x, training=None, mask=None):
            return 3 * super().call(x)

    class Opaque(keras.layers.Layer):
        def __init__(self, base, **kwargs):
            super().__init__(**kwargs)
            self.base = base

        def call(self, x):
            return self.base(x)

    pixels = keras.Input((8, 8, 3))
    two = keras.Model(pixels, [pixels * 1.0, pixels * 2.0], name="two")
    doubling, opaque = Doubling(name="doubling"), Opaque(convolutions("base", filters=3), name="opaque")
    own = OwnCall(pixels, keras.layers.ReLU(name="relu")(pixels), name="own")
    inputs = keras.Input((8, 8, 3), name="input")
    x = keras.layers.Add(name="add")(two(own(doubling(inputs))))
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.Model(inputs, opaque(x), name="inner")])
    flat = inline_nested(model)
    assert [layer.name for layer in flat.layers][1:] == [
        f"inner.{name}" for name in ("doubling", "own", "two", "add", "opaque")
    ]
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    np.testing.assert_allclose(flat(images), model(images), rtol=1e-6)


def test_an_inner_model_that_would_cast_stays_a_layer():
    import keras

    whole = keras.Input((8, 8, 3), dtype="int32")
    inner = keras.Model(whole, keras.ops.cast(whole // 2, "float32"), name="halves")
    inputs = keras.Input((8, 8, 3), name="input")
    model = keras.Model(inputs, keras.layers.ReLU(name="relu")(inner(inputs)))
    flat = inline_nested(keras.Sequential([keras.Input((8, 8, 3)), model]))
    assert "halves" in {layer.name.rpartition(".")[2] for layer in flat.layers}
    images = np.full((1, 8, 8, 3), 7.0, np.float32)
    np.testing.assert_array_equal(flat(images), model(images))


@pytest.mark.parametrize("name", ["MobileNetV3Small", "EfficientNetB0", "NASNetMobile", "InceptionV3"])
def test_networks_as_most_people_build_on_them(name):
    import keras

    base = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(80, 80, 3))
    augmentation = keras.Sequential([keras.layers.RandomFlip("horizontal"), keras.layers.RandomRotation(0.1)])
    inputs = keras.Input((80, 80, 3))
    x = base(augmentation(inputs), training=False)
    x = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    images = np.random.default_rng(0).integers(0, 256, (2, 80, 80, 3)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flat = inline_nested(model)
    expected = model(images, training=False)
    np.testing.assert_allclose(flat(images, training=False), expected, rtol=1e-4, atol=1e-6)
    network = FrozenNetwork(resolve_backbone(model))
    np.testing.assert_allclose(network.build()(images), base(images).numpy().mean(axis=(1, 2)), rtol=1e-4, atol=1e-6)
