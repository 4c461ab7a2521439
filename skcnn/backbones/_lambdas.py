"""Functions in layers that no module knows by a name, such as lambdas: Keras writes them as byte code, if at all."""

from __future__ import annotations

import pickle
import tempfile
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skcnn._source_code import is_library

# How the warning of Keras begins that it cannot read again what it writes.
OF_LAMBDAS = "The object being serialized includes a `lambda`"


def named_config(model: Any) -> tuple[dict[str, Any], dict[str, types.FunctionType]]:
    """Return the configuration of a model in which nameless functions have names, and these functions by name.

    Byte code, as Keras writes it, differs from copy to copy of one function, and lacks the globals that it uses.

    Raises
    ------
    NotImplementedError
        When a layer has no `get_config`.
    """
    from skcnn._keras import keras

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=OF_LAMBDAS)
        config = keras.saving.serialize_keras_object(model)
    # How it was trained does not matter, and may name functions that are not there.
    config.pop("compile_config", None)
    functions: dict[str, types.FunctionType] = {}
    name_functions(config, model, functions)
    return config, functions


def name_functions(config: dict[str, Any], layer: Any, functions: dict[str, types.FunctionType]) -> None:
    """Put names in place of nameless functions in the configuration of a layer or model, and of layers inside it."""
    parameters = config["config"]
    inner = {each.name: each for each in getattr(layer, "layers", ())}
    for part in parameters.get("layers", ()):
        if part["config"].get("name") in inner:
            name_functions(part, inner[part["config"]["name"]], functions)
    if isinstance(parameters.get("layer"), dict) and hasattr(layer, "layer"):  # TimeDistributed and the like
        name_functions(parameters["layer"], layer.layer, functions)
    for attribute, value in vars(layer).items():
        parameter = attribute.lstrip("_")
        if is_nameless(value) and parameter in parameters:
            name = f"skcnn function {len(functions)}"
            functions[name] = value
            reference = {"module": "builtins", "class_name": "function", "config": name, "registered_name": name}
            parameters[parameter] = reference


def is_nameless(value: Any) -> bool:
    """Whether a value is a lambda or a function defined inside another, of the user's own."""
    return (
        isinstance(value, types.FunctionType)
        and "<" in value.__qualname__
        and not is_library(value.__code__.co_filename)
    )


def layer_like(layer: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Return a new layer like another, with a changed configuration and new weights.

    Functions are handed on: Keras would write those without a name as byte code, and refuse to read it.

    Parameters
    ----------
    layer : keras.layers.Layer
    change : callable
        Takes the configuration of the layer, and returns that of the new one.
    """
    from skcnn._keras import keras

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=OF_LAMBDAS)
        config = change(layer.get_config())
    functions = {name.lstrip("_"): value for name, value in vars(layer).items() if is_nameless(value)}
    config = {**config, **{name: value for name, value in functions.items() if name in config}}
    if isinstance(layer, keras.layers.Lambda):  # which expects a configuration where there is a function
        return type(layer)(**{**config, "function": layer.function})
    return type(layer).from_config(config)


def dump_model(model: Any) -> bytes:
    """Return a pickle of a model that takes its nameless functions along, with the variables they use."""
    import cloudpickle

    config, functions = named_config(model)
    if not functions:
        return pickle.dumps(model)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.weights.h5")
        # Some layers, such as Normalization, do more than assign their weights as they load them.
        model.save_weights(file)
        return cloudpickle.dumps((config, functions, file.read_bytes()))


def restore_model(saved: bytes, known: dict[str, Any]) -> Any:
    """Return the model in a pickle of `dump_model`; `known` are the other functions and classes that it names."""
    from skcnn._keras import keras

    with keras.saving.custom_object_scope(known):
        found = pickle.loads(saved)
        if not isinstance(found, tuple):
            return found
        config, functions, weights = found
        for name, function in functions.items():
            # Keras reads the source of what is called <lambda>, which need not be here.
            function.__name__ = name
        with keras.saving.custom_object_scope(functions):
            model = keras.saving.deserialize_keras_object(config, safe_mode=False)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.weights.h5")
        file.write_bytes(weights)
        model.load_weights(file)
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
