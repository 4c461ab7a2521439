"""All private names of other libraries that skcnn uses, each with a test.

`tests/test_private.py` fails where a new release of Keras, TensorFlow, OpenVINO or scikit-learn has taken one
away. No other module uses such names.
"""

from __future__ import annotations

import importlib
import sys
from pickle import _Unpickler as PythonUnpickler
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sklearn.metrics._scorer import _BaseScorer as BaseScorer
    from sklearn.utils import _safe_indexing as safe_indexing
    from sklearn.utils.metaestimators import _BaseComposition as BaseComposition
    from sklearn.utils.validation import _check_method_params as check_method_params
    from sklearn.utils.validation import _check_sample_weight as check_sample_weight

__all__ = [
    "BaseComposition",
    "BaseScorer",
    "PythonUnpickler",
    "check_method_params",
    "check_sample_weight",
    "flat_layers",
    "functional_class",
    "inner_functional",
    "keep_from_summing_over_devices",
    "layer_numbers",
    "name_of_origin",
    "nodes_by_depth",
    "openvino_graph",
    "output_config",
    "safe_indexing",
    "set_layer_numbers",
    "tensorflow_has_started",
    "without_nodes",
]

# Python ---------------------------------------------------------------------------------------------------------------

# `PythonUnpickler` keeps what it has read in a dictionary, where the one written in C reserves room up to the highest
# number that a file names: a damaged file could ask for all memory.

# scikit-learn ---------------------------------------------------------------------------------------------------------

# Imported when they are asked for: images and networks need no scikit-learn.
OF_SKLEARN = {
    "BaseComposition": ("sklearn.utils.metaestimators", "_BaseComposition"),
    "BaseScorer": ("sklearn.metrics._scorer", "_BaseScorer"),
    "check_method_params": ("sklearn.utils.validation", "_check_method_params"),
    "check_sample_weight": ("sklearn.utils.validation", "_check_sample_weight"),
    "safe_indexing": ("sklearn.utils", "_safe_indexing"),
}


def __getattr__(name: str) -> Any:
    if name not in OF_SKLEARN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, private = OF_SKLEARN[name]
    return getattr(importlib.import_module(module), private)


def output_config(transformer: Any) -> dict[str, Any]:
    """Return the setting of `set_output` of a transformer."""
    return getattr(transformer, "_sklearn_output_config", {})


# Keras ----------------------------------------------------------------------------------------------------------------


def flat_layers(model: Any) -> list[Any]:
    """Return a model or layer and all layers inside of it, at any depth."""
    return list(model._flatten_layers())


def name_of_origin(tensor: Any) -> str:
    """Return the name of the layer or operation that a symbolic tensor comes from."""
    return tensor._keras_history.operation.name


def without_nodes() -> dict[str, list[Any]]:
    """Return the attributes of a layer that is in no graph."""
    return {"_inbound_nodes": [], "_outbound_nodes": []}


def nodes_by_depth(functional: Any) -> dict[int, list[Any]]:
    """Return the nodes of the graph of a functional model by their distance from its outputs."""
    return functional._nodes_by_depth


def inner_functional(model: Any) -> Any:
    """Return the functional model that a Sequential model keeps inside, None where there is none."""
    return getattr(model, "_functional", None)


def functional_class() -> Any:
    """Return the class of functional models."""
    from keras.src.models.functional import Functional

    return Functional


def layer_numbers() -> Any:
    """Return the numbers that Keras has given to unnamed layers in this process."""
    from keras.src.backend.common import global_state

    return global_state.get_global_attribute("object_name_uids")


def set_layer_numbers(numbers: Any) -> None:
    """Set the numbers that Keras gives to unnamed layers; None begins anew."""
    from keras.src.backend.common import global_state

    global_state.set_global_attribute("object_name_uids", numbers)


def keep_from_summing_over_devices(optimizer: Any) -> None:
    """Let an optimizer take gradients as they are: there is one device."""
    optimizer._all_reduce_sum_gradients = lambda gradients_and_variables: gradients_and_variables


# TensorFlow, OpenVINO, Pillow -----------------------------------------------------------------------------------------


def tensorflow_has_started() -> bool:
    """Whether TensorFlow, in this process, has begun to compute; it is not imported to find out."""
    context = getattr(sys.modules.get("tensorflow.python.eager.context"), "_context", None)
    return bool(getattr(context, "_initialized", False))


def openvino_graph(graph: Any) -> Any:
    """Return a graph of TensorFlow as OpenVINO's frontend reads it; weights are copied."""
    from openvino.frontend.tensorflow.graph_iterator import GraphIteratorTFGraph

    return GraphIteratorTFGraph(graph, share_weights=False)
