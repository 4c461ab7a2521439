import shutil

import keras
import numpy as np
import pytest

from skcnn import CNNFeatureExtractor
from skcnn._source_code import UnknownCodeError
from skcnn.backbones import FrozenNetwork
from skcnn.backbones._identity import model_digest
from skcnn.backbones._models import ModelBackbone


def test_the_same_model_made_again_is_the_same(make_model):
    assert model_digest(make_model()) == model_digest(make_model())
    assert len(model_digest(make_model())) == 40


def test_any_weight_makes_another_model(model):
    before = model_digest(model)
    assert len(model.weights) == 8
    for weight in model.weights:
        values = np.array(weight)
        changed = values.copy()
        changed.flat[-1] += 1e-3
        weight.assign(changed)
        assert model_digest(model) != before, weight.path
        weight.assign(values)
    assert model_digest(model) == before


@pytest.mark.parametrize(
    "settings",
    [{"strides": 2}, {"activation": "tanh"}, {"epsilon": 1e-2}, {"filters": 5}, {"seed": 1}],
)
def test_any_setting_makes_another_model(model, settings, make_model):
    other = make_model(**settings)
    if settings.keys() <= {"strides", "activation", "epsilon"}:
        other.set_weights(model.get_weights())
    assert model_digest(other) != model_digest(model)


def unnamed_model(seed=0):
    """Return a model whose layers Keras numbers, and whose weights are the same each time."""
    import keras

    layers = keras.layers
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", kernel_initializer=keras.initializers.HeNormal(seed))(inputs)
    x = layers.Add()([x, layers.ReLU()(x)]) + layers.DepthwiseConv2D(1, depthwise_initializer="ones")(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x))


def test_names_do_not_count(make_model):
    assert model_digest(make_model(name="other", conv="renamed")) == model_digest(make_model())
    one, other = unnamed_model(), unnamed_model()
    assert [layer.name for layer in one.layers] != [layer.name for layer in other.layers]
    assert model_digest(one) == model_digest(other) != model_digest(unnamed_model(seed=1))


def test_it_is_the_same_where_scikeras_has_pickled_models(make_model, monkeypatch):
    """It registers Keras's own class of models as it does, for the rest of the process."""
    before = model_digest(make_model())
    functional = type(make_model())
    for names in ("NAMES", "OBJECTS"):
        monkeypatch.setattr(f"keras.src.saving.object_registration.GLOBAL_CUSTOM_{names}", {})
    keras.saving.register_keras_serializable("", "Functional")(functional)
    assert keras.saving.get_registered_name(functional) == ">Functional"
    assert model_digest(make_model()) == before


def test_how_it_is_trained_does_not_count(make_model):
    import keras

    one, other = make_model(), make_model()
    other.trainable = False
    conv = other.get_layer("conv")
    conv.kernel_initializer = keras.initializers.Zeros()
    conv.kernel_regularizer = keras.regularizers.L2(0.1)
    conv.bias_constraint = keras.constraints.NonNeg()
    assert model_digest(one) == model_digest(other)


def test_the_place_of_a_layer_counts_whatever_its_name():
    import keras

    def model(first, second):
        """Return a network of two kinds of pooling, whose outputs are subtracted in one order or the other."""
        inputs = keras.Input((8, 8, 3), name="pixels")
        pooled = {
            name: kind(2, name=name)(inputs)
            for name, kind in (("a", keras.layers.MaxPooling2D), ("b", keras.layers.AveragePooling2D))
        }
        return keras.Model(inputs, keras.layers.Subtract(name="difference")([pooled[first], pooled[second]]))

    assert model_digest(model("a", "b")) == model_digest(model("a", "b")) != model_digest(model("b", "a"))


def test_a_list_that_looks_like_a_place_stays_one(one_layer):
    import keras

    def digest(name):
        return model_digest(one_layer(keras.layers.ReLU(name="relu"), Labelled([name, 0, 0], name="labelled")))

    class Labelled(keras.layers.Layer):
        def __init__(self, label, **kwargs):
            super().__init__(**kwargs)
            self.label = label

        def call(self, x):
            return x + len(self.label[0])

        def get_config(self):
            return super().get_config() | {"label": list(self.label)}

    assert digest("relu") != digest("other")


def test_only_what_leads_to_the_layer_counts(make_model, pixels):
    model = make_model()
    before = [FrozenNetwork(ModelBackbone(model), layer).description for layer in ("norm", "scores")]
    scores = model.get_layer("scores")
    scores.kernel.assign(scores.kernel + 1)
    after = [FrozenNetwork(ModelBackbone(model), layer).description for layer in ("norm", "scores")]
    assert before[0] == after[0]
    assert before[1] != after[1]
    # The same layers as the end of a model of their own.
    import keras

    trunk = keras.Model(model.input, model.get_layer("norm").output, name="other")
    assert FrozenNetwork(ModelBackbone(trunk), "norm").description == before[0]
    norm = model.get_layer("norm")
    norm.moving_mean.assign(norm.moving_mean + 1)
    assert FrozenNetwork(ModelBackbone(model), "norm").description != before[0]


@pytest.mark.parametrize("layer", [None, -2])
def test_the_name_of_a_layer_is_not_taken_from_a_model_with_other_names(pixels, layer):
    import keras

    def network():
        """Return a network with an inner one, whose layers Keras numbers."""
        base = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, kernel_initializer="ones")])
        head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, kernel_initializer="ones")]
        return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), base, *head])

    extractors = [CNNFeatureExtractor(network(), layer=layer) for _ in range(2)]
    first, second = (extractor.fit_transform(pixels) for extractor in extractors)
    np.testing.assert_array_equal(first, second)
    assert extractors[1].cache_info()[:2] == (3, 3)  # hits of the second, misses of the first


def test_the_graph_of_a_saved_model_counts(tmp_path):
    import keras

    def network(factor):
        inputs = keras.Input((8, 8, 3))
        keras.Model(inputs, inputs * factor).export(tmp_path / "saved", verbose=False)
        return keras.Model(inputs, keras.layers.TFSMLayer(str(tmp_path / "saved"), call_endpoint="serve")(inputs))

    one, two = network(2.0), model_digest(network(3.0))
    shutil.rmtree(tmp_path / "saved")
    with pytest.raises(UnknownCodeError, match="the SavedModel of the layer .* cannot be read: .*saved_model.pb"):
        model_digest(one)
    assert model_digest(network(2.0)) != two


def test_a_model_inside_counts_as_its_layers(make_model):
    import keras

    inner = make_model()
    inputs = keras.Input((8, 8, 3), name="outside")
    outer = keras.Model(inputs, keras.layers.Softmax(name="softmax")(inner(inputs)))
    sequential = keras.Sequential([keras.Input((8, 8, 3)), inner, keras.layers.Softmax()])
    flat = keras.Model(inner.input, keras.layers.Softmax(name="last")(inner.output))
    assert len({ModelBackbone(model).identity()["model"] for model in (outer, sequential, flat)}) == 1
    descriptions = [
        FrozenNetwork(ModelBackbone(model), "pooled", preprocess=None).description
        for model in (inner, outer, sequential, flat)
    ]
    assert descriptions == descriptions[:1] * 4


def test_running_and_compiling_a_model_leaves_it_who_it_is(model, pixels):
    before = model_digest(model)
    model.compile("adam", "mse")
    model.predict(pixels, verbose=0)
    model.evaluate(pixels, np.zeros((3, 2)), verbose=0)
    assert model_digest(model) == before
    model.fit(pixels, np.zeros((3, 2)), verbose=0)
    assert model_digest(model) != before


def test_the_source_of_a_custom_layer_counts(custom, one_layer):
    digests = [
        model_digest(one_layer(custom(version, result=result)(name="layer")))
        for version, result in (("one", "2 * x"), ("copy", "2 * x"), ("other", "3 * x"))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_the_source_of_its_base_class_counts(custom, one_layer):
    base = "class Base(keras.layers.Layer):\n    def scaled(self, x):\n        return {} * x"
    digests = [
        model_digest(
            one_layer(custom(version, helper=base.format(factor), base="Base", result="self.scaled(x)")(name="layer"))
        )
        for version, factor in (("one", 2), ("copy", 2), ("other", 3))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_the_source_of_a_custom_function_counts(custom, one_layer):
    import keras

    digests = [
        model_digest(
            one_layer(
                keras.layers.Activation(
                    custom(version, helper=f"def act(x):\n    return {factor} * x", name="act"), name="a"
                )
            )
        )
        for version, factor in (("one", 2), ("copy", 2), ("other", 3))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_custom_layer_inside_a_model_inside_counts(custom, one_layer):
    digests = [
        model_digest(one_layer(one_layer(custom(version, result=result)(name="layer"))))
        for version, result in (("one", "2 * x"), ("other", "3 * x"))
    ]
    assert digests[0] != digests[1]


def test_what_a_lambda_does_counts(one_layer):
    import keras

    def scaling(factor):
        return one_layer(keras.layers.Lambda(lambda x: factor * x, name="scale"))

    twice = one_layer(keras.layers.Lambda(lambda x: x + x, name="scale"))
    assert model_digest(scaling(2)) == model_digest(scaling(2)) != model_digest(scaling(3))
    assert model_digest(twice) != model_digest(scaling(2))


def test_a_layer_without_source_counts_by_its_byte_code(one_layer):
    def typed(factor):
        namespace = {"__name__": "__main__"}
        exec(f"import keras\nclass Hidden(keras.layers.Layer):\n    def call(self, x): return {factor} * x", namespace)
        return namespace["Hidden"](name="layer")

    assert model_digest(one_layer(typed(2))) == model_digest(one_layer(typed(2))) != model_digest(one_layer(typed(3)))


def test_a_layer_without_configuration_is_refused(one_layer):
    import keras

    class Opaque(keras.layers.Layer):
        def __init__(self, thing):
            super().__init__()
            self.thing = thing

        def call(self, x):
            return x

    with pytest.raises(UnknownCodeError, match=r"'custom' cannot be told from another: (.|\n)*get_config"):
        ModelBackbone(one_layer(Opaque(object()))).identity()
