"""The identity of a Keras model: a digest of everything that decides what it computes."""

from __future__ import annotations

import hashlib
import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from skcnn._private import flat_layers
from skcnn._source_code import UnknownCodeError, describe_code, is_trusted
from skcnn.backbones._backbone import DIGEST_BYTES
from skcnn.backbones._lambdas import is_nameless, named_config

# How the parameters of Keras's layers end that nothing but training uses.
FOR_TRAINING = ("_initializer", "_regularizer", "_constraint")
# What configurations of layers got since Keras 3.11, with the values that change nothing: the same network has the same
# digest in each release. `tests/golden` fails where a later one adds to them.
ADDED_BY_KERAS = {
    "optional": False,
    "output_padding": None,
    "quantization_config": None,
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.99,
    "sliding_window": None,
    "use_gate": False,
}


def model_digest(model: Any) -> str:
    """Return the hex digest of everything that decides what a model computes, and of nothing else.

    Parameters
    ----------
    model : keras.Model
        A functional model without inner models. Layers count by their places in the graph, whatever they are called.

    Raises
    ------
    UnknownCodeError
        When a layer does not tell what it does.
    """
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    try:
        config, _ = named_config(model)
    except NotImplementedError as error:  # a layer without get_config
        msg = f"the model {model.name!r} cannot be told from another: {str(error).strip()}"
        raise UnknownCodeError(msg) from error
    digest.update(canonical_json(config, names=False))
    layers = flat_layers(model)
    codes = [code for layer in layers for code in own_code(layer)]
    # Also those that no configuration tells of.
    nameless = [value for layer in layers for value in vars(layer).values() if is_nameless(value)]
    digest.update(json.dumps(describe_code(*codes, nameless=nameless)).encode())
    for layer in layers:
        if not is_trusted(type(layer).__module__):
            digest.update(repr(plain_attributes(layer)).encode())
        elif type(layer).__name__ == "TFSMLayer":
            digest.update(graph_of_saved_model(layer))
    for weight in model.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return digest.hexdigest()


def canonical_json(config: Any, *, names: bool) -> bytes:
    """Return the configuration of a model as JSON, without what changes no value.

    Parameters
    ----------
    config : dict
        As `keras.saving.serialize_keras_object` returns it.
    names : bool
        Whether layers count by their names. Else they count by their places in the graph.
    """
    return json.dumps(without_training(config, None if names else {}), sort_keys=True, default=repr).encode()


def without_training(part: Any, places: dict[str, int] | None) -> Any:
    """Return a part of a configuration without the settings that only training uses.

    Parameters
    ----------
    part : dict, list or plain value
        The part.
    places : dict or None
        From the names of the layers of the model around it to what stands for them; None where names stay.
    """
    if isinstance(part, (list, tuple)):
        if places and len(part) == 3 and isinstance(part[0], str) and part[0] in places and is_place(part[1:]):
            return [places[part[0]], *part[1:]]
        return [without_training(each, places) for each in part]
    if not isinstance(part, dict):
        return part
    if not is_layer(part):
        # Keras marks what layers share by an address in memory.
        return {name: without_training(value, places) for name, value in part.items() if name != "shared_object_id"}
    kept, inside = part["config"], places
    if places is not None:
        kept = {name: value for name, value in kept.items() if name != "name"}
        if "layers" in kept:
            inside = {str(layer.get("name")): place for place, layer in enumerate(kept["layers"])}
    described = ["module", "class_name", "registered_name", "inbound_nodes"]
    if is_of_keras(part):
        kept = {
            name: value
            for name, value in kept.items()
            if name != "trainable" and not name.endswith(FOR_TRAINING) and not is_as_before(name, value)
        }
    else:
        described.append("build_config")
    if is_of_keras(part) and part.get("registered_name"):
        # scikeras registers Keras's own classes as it pickles models; they get another name, and stay what they are.
        part = {**part, "registered_name": part["registered_name"].rpartition(">")[2]}
    return {
        **{name: without_training(part.get(name), places) for name in described},
        "config": {name: without_training(value, inside) for name, value in kept.items()},
    }


def is_as_before(name: str, value: Any) -> bool:
    """Whether a setting has the value that stands for releases of Keras without it."""
    return name in ADDED_BY_KERAS and value == ADDED_BY_KERAS[name]


def is_place(numbers: Any) -> bool:
    """Whether the end of a list of three is the number of a call of a layer, and of a tensor it gave."""
    return all(type(number) is int for number in numbers)


def is_layer(part: dict[str, Any]) -> bool:
    """Whether a part of a configuration is that of a layer, operation or model."""
    inner = part.get("config")
    return (
        "class_name" in part
        and isinstance(inner, dict)
        and ("inbound_nodes" in part or "trainable" in inner or part["class_name"] == "InputLayer")
    )


def is_of_keras(part: dict[str, Any]) -> bool:
    """Whether the configuration of a layer is that of one of Keras's own."""
    return str(part.get("module") or "").partition(".")[0] == "keras"


def graph_of_saved_model(layer: Any) -> bytes:
    """Return the graph of the SavedModel that a layer runs: the configuration names its folder only."""
    try:
        return Path(layer.filepath, "saved_model.pb").read_bytes()
    except OSError as error:
        msg = f"the SavedModel of the layer {layer.name!r} cannot be told from another, as it cannot be read: {error}"
        raise UnknownCodeError(msg) from error


def model_checksum(model: Any) -> str:
    """Return a checksum, within this process, of everything `model_digest` looks at; as fast as memory is read."""
    checksum = xxhash.xxh3_128()
    for layer in flat_layers(model):
        functions = {name: id(value) for name, value in vars(layer).items() if isinstance(value, types.FunctionType)}
        checksum.update(repr((id(layer), id(type(layer)), plain_attributes(layer), functions)).encode())
    for weight in model.weights:
        checksum.update(np.ascontiguousarray(weight.numpy()).view(np.uint8).data)
    return checksum.hexdigest()


def own_code(layer: Any) -> list[Any]:
    """Return the classes and functions of a layer that are not Keras's: its configuration only names them."""
    named = (value for value in vars(layer).values() if not is_nameless(value))
    functions = [value for value in named if isinstance(value, types.FunctionType)]
    return [part for part in (type(layer), *functions) if not is_trusted(part.__module__ or "")]


def plain_attributes(layer: Any) -> dict[str, Any]:
    """Return the numbers and names a custom layer keeps, in its configuration or not."""
    plain = (bool, int, float, str, tuple, type(None))
    found = {
        name: value
        for name, value in vars(layer).items()
        if name != "name" and not name.startswith("_") and isinstance(value, plain)
    }
    return dict(sorted(found.items()))
