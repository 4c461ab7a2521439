import pickle
import threading

import keras
import numpy as np
import pytest

from skcnn.backbones._lambdas import layer_like
from skcnn.backbones._untrained import UntrainedNetwork


def network(units=3, factor=2.0, l2=0.0):
    inputs = keras.Input((4,), name="values")
    x = keras.layers.Dense(units, kernel_regularizer=keras.regularizers.L2(l2) if l2 else None, name="dense")(inputs)
    x = keras.layers.Dropout(0.5, name="dropout")(x)
    return keras.Model(inputs, keras.layers.Lambda(lambda x: x * factor, name="scale")(x), name="network")


def test_layers_are_made_again_without_weights():
    model = network()
    layers = UntrainedNetwork.of(model)
    values = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    for _ in range(2):  # Keras takes a configuration apart, and a copy has to stay
        built = layers.build()
        assert not np.array_equal(built.get_weights()[0], model.get_weights()[0])
        built.set_weights(model.get_weights())
        np.testing.assert_array_equal(built(values), model(values))


def test_a_pickle_takes_functions_without_a_name_along():
    layers = UntrainedNetwork.of(network(factor=3.0))
    again = pickle.loads(pickle.dumps(layers))
    assert again.digest == layers.digest
    model = again.build()
    model.get_layer("dense").set_weights([np.eye(4, 3, dtype=np.float32), np.zeros(3, np.float32)])
    np.testing.assert_array_equal(model(np.ones((1, 4), np.float32)), np.full((1, 3), 3.0))


def test_the_digest_is_of_everything_but_weights():
    one = UntrainedNetwork.of(network()).digest
    assert UntrainedNetwork.of(network()).digest == one
    for changed in (network(units=5), network(factor=3.0), network(l2=0.1)):
        assert UntrainedNetwork.of(changed).digest != one


LOCK = threading.Lock()


def test_layers_of_unknown_code_have_no_digest():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x if LOCK else -x)(inputs))
    assert UntrainedNetwork.of(model).digest is None


def test_a_layer_without_a_configuration_is_an_error():
    class Own(keras.layers.Layer):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def call(self, x):
            return x

    inputs = keras.Input((4,))
    with pytest.raises(NotImplementedError, match="get_config"):
        UntrainedNetwork.of(keras.Model(inputs, Own(object())(inputs)))


@pytest.mark.parametrize("kind", [keras.layers.Activation, keras.layers.Lambda])
def test_a_layer_like_another_has_the_same_function(kind):
    function = lambda x: x * 2  # noqa: E731
    layer = kind(function, name="own")
    other = layer_like(layer, lambda config: {**config, "name": "other"})
    assert other is not layer
    assert other.name == "other"
    assert (other.activation if kind is keras.layers.Activation else other.function) is function
