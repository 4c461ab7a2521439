"""Lambdas and other nameless functions in layers: a copy of the model, wherever it is, is the same network."""

import json
import pickle

import numpy as np
import pytest

from skcnn import CNNFeatureExtractor
from skcnn.backbones._lambdas import holds_lambda, named_config
from skcnn.backbones._models import ModelBackbone

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
SCALE = 255.0
# An attribute of tensors has this name, too.
shape = None

# What a copy in a new process is, and makes of the pixels.
COPY = """
import json, pickle, sys
from skcnn.backbones._models import ModelBackbone
extractors, pixels = pickle.load(open(sys.argv[1], "rb"))
print(json.dumps([
    [ModelBackbone(extractor.backbone).identity(), extractor.fit_transform(pixels).tolist()] for extractor in extractors
]))
"""


def network(*layers):
    import keras

    return keras.Sequential(
        [keras.Input((4, 4, 3), name="pixels"), *layers, keras.layers.Flatten(name="flat")], name="net"
    )


def functions():
    """Networks whose functions find what they need in many places."""
    import keras

    def scaled_by(factor):
        return lambda pixels: pixels / factor

    def halved(pixels, by=2.0):
        return pixels / by

    layer, conv = keras.layers.Lambda, keras.layers.Conv2D
    yield "literal", network(layer(lambda pixels: pixels / 255.0, name="scale"))
    yield "global", network(layer(lambda pixels: pixels / SCALE / pixels.shape[-1], name="scale"))
    yield "module", network(layer(lambda pixels: np.float32(2) * pixels, output_shape=(4, 4, 3), name="scale"))
    yield "closure", network(layer(scaled_by(100.0), name="scale"))
    yield "default", network(layer(lambda pixels, by=3.0: pixels / by, name="scale"))
    yield "local", network(layer(halved, name="scale"))
    yield "activation", network(conv(2, 1, activation=lambda x: x * 2.0, kernel_initializer="ones", name="conv"))
    yield (
        "nested",
        network(
            network(layer(lambda pixels: pixels / 7.0, name="scale")), keras.layers.Reshape((4, 4, 3), name="reshaped")
        ),
    )
    yield "wrapped", network(keras.layers.TimeDistributed(layer(lambda row: row / 9.0, name="scale"), name="rows"))
    normalisation = keras.layers.Normalization(name="norm")
    normalisation.adapt(PIXELS.astype(np.float32))
    yield "beside adapted weights", network(normalisation, layer(lambda pixels: pixels * 5.0, name="scale"))
    yield "shape", network(layer(lambda pixels: pixels[:, :2], output_shape=lambda shape: (None, 2, 4, 3), name="half"))


@pytest.fixture
def networks(tmp_path):
    import keras

    found = dict(functions())
    found["literal"].save(tmp_path / "literal.keras")
    found["from a file"] = keras.saving.load_model(tmp_path / "literal.keras", safe_mode=False)
    return found


@pytest.mark.slow
def test_a_copy_in_another_process_is_the_same_network(networks, tmp_path, other_python):
    extractors = [CNNFeatureExtractor(model, layer="flat", preprocess=None, cache=None) for model in networks.values()]
    (tmp_path / "copies.pickle").write_bytes(pickle.dumps((extractors, PIXELS)))
    printed = other_python.run(COPY, tmp_path / "copies.pickle", folder=tmp_path)
    copies = dict(zip(networks, json.loads(printed), strict=True))
    for (name, (identity, features)), extractor in zip(copies.items(), extractors, strict=True):
        assert identity == ModelBackbone(extractor.backbone).identity(), name
        np.testing.assert_allclose(features, extractor.fit_transform(PIXELS), rtol=1e-4, err_msg=name)


def test_a_copy_in_this_process_has_the_same_functions(networks):
    for name, model in networks.items():
        copy = pickle.loads(pickle.dumps(CNNFeatureExtractor(model))).backbone
        assert ModelBackbone(copy).identity() == ModelBackbone(model).identity(), name


@pytest.mark.parametrize("divisor", [100.0, 255.0])
def test_another_closure_is_another_network(divisor):
    import keras

    def scaled_by(factor):
        return network(keras.layers.Lambda(lambda pixels: pixels / factor, name="scale"))

    same = ModelBackbone(scaled_by(100.0)).identity() == ModelBackbone(scaled_by(divisor)).identity()
    assert same == (divisor == 100.0)


@pytest.mark.parametrize("factor", [2.0, 3.0])
def test_a_function_that_no_configuration_tells_of_counts(factor):
    import keras

    class Apply(keras.layers.Layer):
        def __init__(self, function, **settings):
            super().__init__(**settings)
            self.function = function

        def call(self, pixels):
            return self.function(pixels)

        def get_config(self):
            return {"name": self.name}

    def applied(by):
        return ModelBackbone(network(Apply(lambda pixels: pixels * by, name="apply"))).identity()

    assert (applied(2.0) == applied(factor)) == (factor == 2.0)


def test_adapted_weights_come_along_without_functions_too():
    import keras

    layer = keras.layers.Normalization(name="norm")
    layer.adapt(PIXELS.astype(np.float32))
    extractor = CNNFeatureExtractor(network(layer), layer="flat", cache=None)
    expected = extractor.fit_transform(PIXELS)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(extractor)).fit_transform(PIXELS), expected, rtol=1e-4)


def test_what_cannot_travel_is_named():
    import keras

    with open(__file__) as file:
        model = network(keras.layers.Lambda(lambda pixels: (file.name, pixels)[1], name="open"))
        with pytest.raises(ValueError, match="the model 'net' cannot be sent to another process or saved: .*n_jobs=1"):
            pickle.dumps(CNNFeatureExtractor(model))


def test_the_configuration_holds_no_byte_code(networks):
    for model in networks.values():
        config, functions = named_config(model)
        assert functions
        assert not holds_lambda(config)


@pytest.mark.parametrize(
    ("config", "holds"),
    [
        ({"layers": [{"config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEA"}}}}]}, True),
        ({"layers": [{"config": {"function": ["4wEA", None, None], "function_type": "lambda"}}]}, True),
        ({"layers": [{"config": {"function": "relu", "function_type": "function"}}]}, False),
        ([{"class_name": "Dense"}], False),
    ],
)
def test_code_is_recognised(config, holds):
    assert holds_lambda(config) == holds
