"""Each private name of another library that skcnn uses: it is there, and does what it is used for."""

import ast
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.linear_model import LogisticRegression

import skcnn
from skcnn import _private
from skcnn.backbones._backbone import quiet_build

ROOT = Path(skcnn.__file__).parent


@pytest.fixture
def functional():
    with quiet_build():
        inputs = keras.Input((8, 8, 3), name="pixels")
        x = keras.layers.Conv2D(2, 3, name="conv")(inputs)
        return keras.Model(inputs, keras.layers.ReLU(name="relu")(x))


# Keras ------------------------------------------------------------------------------------------------------------------


def test_flat_layers(functional):
    with quiet_build():
        outer = keras.Sequential([keras.Input((8, 8, 3)), functional])
    names = [layer.name for layer in _private.flat_layers(outer)]
    assert {"conv", "relu", functional.name} <= set(names)


def test_name_of_origin(functional):
    assert _private.name_of_origin(functional.outputs[0]) == "relu"
    assert _private.name_of_origin(functional.inputs[0]) == "pixels"


def test_nodes_by_depth(functional):
    by_depth = _private.nodes_by_depth(functional)
    assert {depth: [node.operation.name for node in nodes] for depth, nodes in by_depth.items()} == {
        0: ["relu"],
        1: ["conv"],
        2: ["pixels"],
    }


def test_inner_functional(functional):
    with quiet_build():
        sequential = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    assert isinstance(_private.inner_functional(sequential), _private.functional_class())
    assert _private.inner_functional(functional) is None


def test_functional_class(functional):
    assert type(functional) is _private.functional_class()
    assert callable(_private.functional_class().call)


def test_attributes_of_a_layer_in_no_graph(functional):
    layer = functional.get_layer("conv")
    assert layer.__dict__.keys() >= _private.without_nodes().keys()
    assert all(isinstance(layer.__dict__[name], list) for name in _private.without_nodes())
    assert _private.without_nodes()["_inbound_nodes"] is not _private.without_nodes()["_inbound_nodes"]


def test_layer_numbers():
    before = _private.layer_numbers()
    try:
        _private.set_layer_numbers(None)
        assert [keras.layers.ReLU().name for _ in range(2)] == ["re_lu", "re_lu_1"]
        _private.set_layer_numbers(None)
        assert keras.layers.ReLU().name == "re_lu"
    finally:
        _private.set_layer_numbers(before)


def test_an_optimizer_asks_for_the_sum_over_devices():
    asked = []
    optimizer = keras.optimizers.SGD(0.5)
    _private.keep_from_summing_over_devices(optimizer)
    taken = optimizer._all_reduce_sum_gradients
    optimizer._all_reduce_sum_gradients = lambda pairs: (asked.append(1), taken(pairs))[1]
    variable = keras.Variable(np.ones(2, np.float32))
    optimizer.apply([np.ones(2, np.float32)], [variable])
    assert asked == [1]
    np.testing.assert_allclose(variable.numpy(), [0.5, 0.5])


# TensorFlow, OpenVINO, Pillow -------------------------------------------------------------------------------------------


def test_tensorflow_has_started(monkeypatch):
    keras.ops.zeros(1)
    assert _private.tensorflow_has_started()
    monkeypatch.delitem(sys.modules, "tensorflow.python.eager.context")
    assert not _private.tensorflow_has_started()


def test_a_graph_for_openvino(functional):
    pytest.importorskip("openvino")
    from skcnn.backbones._openvino import convert, trace

    function = trace(functional)
    assert _private.openvino_graph(function.graph) is not None
    assert len(convert(function).outputs) == 1


def test_composition():
    class Composed(_private.BaseComposition, BaseEstimator):
        def __init__(self, parts):
            self.parts = parts

        def get_params(self, deep=True):
            return self._get_params("parts", deep)

    composed = Composed([("a", LogisticRegression())])
    assert composed._get_params("parts")["a__C"] == 1.0
    composed._set_params("parts", a__C=3.0)
    assert composed.parts[0][1].C == 3.0
    with pytest.raises(ValueError, match="not unique"):
        composed._validate_names(["a", "a"])


def test_scorer():
    class Half(_private.BaseScorer):
        def _score(self, method_caller, estimator, X, y_true, **kwargs):
            return method_caller(estimator, "predict", X).mean() / 2

    scorer = Half(len, 1, {})
    assert (scorer._score_func, scorer._sign, scorer._kwargs) == (len, 1, {})
    assert scorer(LogisticRegression().fit([[0], [1]], [0, 1]), [[1]], [0]) == 0.5


def test_method_params():
    params = _private.check_method_params(np.zeros((4, 1)), {"sample_weight": np.arange(4), "other": "a"}, [1, 2])
    np.testing.assert_array_equal(params["sample_weight"], [1, 2])
    assert params["other"] == "a"


def test_sample_weight():
    np.testing.assert_array_equal(_private.check_sample_weight(None, np.zeros((2, 1))), [1, 1])
    with pytest.raises(ValueError, match="sample_weight.shape"):
        _private.check_sample_weight([1], np.zeros((2, 1)))


def test_safe_indexing():
    assert _private.safe_indexing(["a", "b", "c"], [2, 0]) == ["c", "a"]


def test_output_config():
    class Same(TransformerMixin, ClassNamePrefixFeaturesOutMixin, BaseEstimator):
        _n_features_out = 1

        def fit(self, X, y=None):
            return self

        def __sklearn_is_fitted__(self):
            return True

        def transform(self, X):
            return X

    assert _private.output_config(Same().set_output(transform="pandas")) == {"transform": "pandas"}
    assert Same().get_feature_names_out().tolist() == ["same0"]


def test_every_name_is_there():
    for name in _private.__all__:
        assert getattr(_private, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _private.nothing  # noqa: B018


# All of them are in one place -------------------------------------------------------------------------------------------

ATTRIBUTES = {
    "_flatten_layers",
    "_keras_history",
    "_nodes_by_depth",
    "_functional",
    "_inbound_nodes",
    "_outbound_nodes",
}
ATTRIBUTES |= {"_all_reduce_sum_gradients", "_sklearn_output_config"}
PRIVATE_MODULES = ("keras.src", "tensorflow.python", "openvino.frontend.tensorflow")


def private_names(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("skcnn"):
            parts = [*node.module.split("."), *(alias.name for alias in node.names)]
            if node.module.startswith(PRIVATE_MODULES) or any(
                part.startswith("_") and not part.startswith("__") for part in parts
            ):
                yield f"import of {'.'.join(parts)}"
        elif isinstance(node, ast.Import):
            yield from (f"import {each.name}" for each in node.names if "._" in each.name or ".src" in each.name)
        elif isinstance(node, ast.Attribute) and node.attr in ATTRIBUTES:
            yield node.attr


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_module_uses_private_names(path):
    found = [*private_names(ast.parse(path.read_text(encoding="utf-8")))]
    assert bool(found) is (path.name == "_private.py"), found
