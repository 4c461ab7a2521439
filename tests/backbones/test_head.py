"""Where the classification head begins: the default of `layer`."""

import pytest

from skcnn.backbones._applications import MODULES
from skcnn.backbones._graph import output_of
from skcnn.backbones._head import layer_before_head


def network(*parts, side=16):
    """Return a Sequential model of a batch of images."""
    import keras

    return keras.Sequential([keras.Input((side, side, 3)), *parts])


@pytest.fixture
def L():  # noqa: N802 - as Keras's layers are abbreviated everywhere
    import keras

    return keras.layers


def test_the_last_image_before_a_classifier(L):
    model = network(L.Conv2D(4, 3, name="conv"), L.ReLU(name="relu"), L.GlobalAveragePooling2D(), L.Dense(3))
    assert layer_before_head(model) == "relu"


def test_the_last_image_of_a_network_without_a_head(L):
    model = network(L.Conv2D(4, 3, name="conv"), L.BatchNormalization(name="norm"), L.ReLU(name="relu"))
    assert layer_before_head(model) == "relu"


def test_a_head_of_several_layers(L):
    hidden = [L.Flatten(), L.Dense(8, "relu"), L.BatchNormalization(), L.Dropout(0.5), L.Dense(3), L.Softmax()]
    assert layer_before_head(network(L.Conv2D(4, 3, name="conv"), *hidden)) == "conv"


def test_class_scores_made_by_a_convolution_after_pooling(L):
    pooled = L.GlobalAveragePooling2D(keepdims=True)
    head = [pooled, L.Dropout(0.1), L.Conv2D(3, 1), L.Reshape((3,)), L.Activation("softmax")]
    assert layer_before_head(network(L.Conv2D(4, 3, name="conv"), *head)) == "conv"
    # And without softmax.
    assert layer_before_head(network(L.Conv2D(4, 3, name="conv"), *head[:-1])) == "conv"


def test_class_scores_made_by_a_convolution_before_pooling(L):
    head = [L.Conv2D(3, 1), L.GlobalAveragePooling2D(), L.Softmax()]
    assert layer_before_head(network(L.Conv2D(4, 3, name="conv"), L.ReLU(name="relu"), *head)) == "relu"


def test_class_scores_of_every_position(L):
    assert layer_before_head(network(L.Conv2D(4, 3, name="conv"), L.Conv2D(1, 1, activation="sigmoid"))) == "conv"


def test_a_gate_with_a_sigmoid_is_no_head(L):
    import keras

    inputs = keras.Input((16, 16, 3))
    x = L.Conv2D(4, 3, name="conv")(inputs)
    gate = L.Conv2D(4, 1, activation="sigmoid", name="gate")(L.GlobalAveragePooling2D(keepdims=True)(x))
    assert layer_before_head(keras.Model(inputs, L.Multiply(name="gated")([x, gate]))) == "gated"


def test_tokens_instead_of_images(L):
    import keras

    inputs = keras.Input((16, 16, 3))
    x = L.Reshape((16, 4))(L.Conv2D(4, 4, strides=4, name="patches")(inputs))
    x = L.Add()([x, L.MultiHeadAttention(1, 4)(x, x)])
    x = L.Dropout(0.1)(L.GlobalAveragePooling1D(name="features")(L.LayerNormalization(name="norm")(x)))
    assert layer_before_head(keras.Model(inputs, L.Dense(3)(x))) == "features"


def test_layers_that_nobody_can_look_into(L):
    import keras

    class Opaque(L.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.conv = L.Conv2D(6, 3)

        def call(self, x):
            return keras.ops.mean(self.conv(x), axis=(1, 2))

    rescaled = L.Rescaling(1 / 255)
    assert layer_before_head(network(rescaled, Opaque(name="opaque"), L.Dropout(0.1), L.Dense(3))) == "opaque"
    # Features or scores: it could be either.
    assert layer_before_head(network(rescaled, Opaque(name="opaque"))) is None


def test_dense_layers_alone(L):
    model = network(L.Rescaling(1 / 255), L.Flatten(), L.Dense(8, "relu", name="hidden"), L.Dropout(0.5), L.Dense(3))
    assert layer_before_head(model) == "hidden"
    # The pixels themselves are no features.
    assert layer_before_head(network(L.Rescaling(1 / 255), L.Flatten(), L.Dense(3))) is None
    assert layer_before_head(network(L.Rescaling(1 / 255), L.GlobalAveragePooling2D())) is None


def test_features_of_several_depths(L):
    import keras

    inputs = keras.Input((16, 16, 3))
    early = L.Conv2D(4, 3, name="early")(inputs)
    late = L.Conv2D(4, 3, name="late")(early)
    both = L.Concatenate(name="both")([L.GlobalAveragePooling2D()(early), L.GlobalMaxPooling2D()(late)])
    assert layer_before_head(keras.Model(inputs, L.Dense(3)(both))) == "both"


def test_images_that_are_computed_again_from_what_was_pooled(L):
    decoder = [L.GlobalAveragePooling2D(), L.Reshape((1, 1, 4)), L.Conv2DTranspose(3, 16)]
    assert layer_before_head(network(L.Conv2D(4, 3), *decoder)) is None


SMALLEST = [next(iter(names)) for module, names in MODULES.items() if module != "mobilenet_v3"] + ["MobileNetV3Small"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_networks_of_applications(name):
    import keras

    build = getattr(keras.applications, name)
    plain = build(weights=None, include_top=False, input_shape=(96, 96, 3))
    last = plain.layers[-1].name
    assert layer_before_head(plain) == last
    pooled = keras.Model(plain.inputs, keras.layers.GlobalAveragePooling2D()(plain.output))
    for model in (pooled, build(weights=None)):
        found = output_of(model, layer_before_head(model))
        assert len(found.shape) == 4
        assert found.shape[-1] == output_of(plain, last).shape[-1]
