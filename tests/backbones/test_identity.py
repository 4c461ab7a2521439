import numpy as np
import pytest

from skcnn._source_code import UnknownCodeError
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
    [{"strides": 2}, {"activation": "tanh"}, {"epsilon": 1e-2}, {"filters": 5}, {"conv": "renamed"}, {"seed": 1}],
)
def test_any_setting_makes_another_model(model, settings, make_model):
    other = make_model(**settings)
    if settings.keys() <= {"strides", "activation", "epsilon", "conv"}:
        other.set_weights(model.get_weights())
    assert model_digest(other) != model_digest(model)


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
