"""Functions in layers that no module knows by a name, such as lambdas: Keras writes them as byte code, if at all."""

from __future__ import annotations

import pickle
import types
import warnings
from typing import Any

import numpy as np

from skcnn._source_code import is_library

__all__ = ["dump_model", "holds_lambda", "is_nameless", "named_config", "restore_model"]


def named_config(model: Any) -> tuple[dict[str, Any], dict[str, types.FunctionType]]:
    """Return the configuration of a model in which nameless functions have names, and these functions by name.

    Byte code, as Keras writes it, differs from copy to copy of one function, and lacks what the function finds around
    itself.

    Raises
    ------
    NotImplementedError
        When a layer has no `get_config`.
    """
    import keras

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The object being serialized includes a `lambda`")
        config = keras.saving.serialize_keras_object(model)
    # How it was trained does not matter, and may name functions that are not there.
    config.pop("compile_config", None)
    functions: dict[str, types.FunctionType] = {}
    name_functions(config, model, functions)
    return config, functions


def name_functions(config: dict[str, Any], model: Any, functions: dict[str, types.FunctionType]) -> None:
    """Put names in place of nameless functions in the configuration of a model and of the models inside it."""
    layers = {layer.name: layer for layer in getattr(model, "layers", ())}
    for part in config["config"].get("layers", ()):
        layer = layers.get(part["config"].get("name"))
        if layer is None:
            continue
        if "layers" in part["config"]:
            name_functions(part, layer, functions)
            continue
        for attribute, value in vars(layer).items():
            parameter = attribute.lstrip("_")
            if is_nameless(value) and parameter in part["config"]:
                name = f"skcnn function {len(functions)}"
                functions[name] = value
                reference = {"module": "builtins", "class_name": "function", "config": name, "registered_name": name}
                part["config"][parameter] = reference


def is_nameless(value: Any) -> bool:
    """Whether a value is a lambda or a function defined inside another, of the user's own."""
    return (
        isinstance(value, types.FunctionType)
        and "<" in value.__qualname__
        and not is_library(value.__code__.co_filename)
    )


def dump_model(model: Any) -> bytes:
    """Return a pickle of a model that takes its nameless functions along, with all that they find around themselves."""
    import cloudpickle

    config, functions = named_config(model)
    return cloudpickle.dumps((config, functions, [np.asarray(weight) for weight in model.weights]))


def restore_model(saved: bytes, known: dict[str, Any]) -> Any:
    """Return the model in a pickle of `dump_model`; `known` are the other functions and classes that it names."""
    import keras

    config, functions, weights = pickle.loads(saved)
    for name, function in functions.items():
        # Keras reads the source of what is called <lambda>, which need not be here.
        function.__name__ = name
    with keras.saving.custom_object_scope({**known, **functions}):
        model = keras.saving.deserialize_keras_object(config, safe_mode=False)
    for weight, value in zip(model.weights, weights, strict=True):
        weight.assign(value)
    return model


def holds_lambda(config: Any) -> bool:
    """Whether the configuration of a model holds code."""
    if isinstance(config, list):
        return any(map(holds_lambda, config))
    if not isinstance(config, dict):
        return False
    # Keras 2 wrote the code of a Lambda layer as a list, and its kind beside it.
    code = config.get("class_name") == "__lambda__" or config.get("function_type") == "lambda"
    return code or any(map(holds_lambda, config.values()))
