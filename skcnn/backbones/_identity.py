"""Who a model is: everything that decides what it computes."""

from __future__ import annotations

import hashlib
import json
import types
from typing import Any

import numpy as np
import xxhash

from skcnn._source_code import UnknownCodeError, describe_code, is_trusted
from skcnn.backbones._backbone import DIGEST_BYTES
from skcnn.backbones._lambdas import is_nameless, named_config

__all__ = ["model_checksum", "model_digest", "own_code"]


def model_digest(model: Any) -> str:
    """Return the hex digest of everything that decides what a model computes."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    try:
        config, _ = named_config(model)
    except NotImplementedError as error:  # a layer without get_config
        msg = f"the model {model.name!r} cannot be told from another: {str(error).strip()}"
        raise UnknownCodeError(msg) from error
    digest.update(json.dumps(config, sort_keys=True, default=repr).encode())
    layers = model._flatten_layers()
    codes = [code for layer in layers for code in own_code(layer)]
    # Also those that no configuration tells of.
    nameless = [value for layer in layers for value in vars(layer).values() if is_nameless(value)]
    digest.update(json.dumps(describe_code(*codes, nameless=nameless)).encode())
    for layer in layers:
        if not is_trusted(type(layer).__module__):
            digest.update(repr(plain_attributes(layer)).encode())
    for weight in model.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return digest.hexdigest()


def model_checksum(model: Any) -> str:
    """Return a checksum, within this process, of everything `model_digest` looks at; as fast as memory is read."""
    checksum = xxhash.xxh3_128()
    for layer in model._flatten_layers():
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
        name: value for name, value in vars(layer).items() if not name.startswith("_") and isinstance(value, plain)
    }
    return dict(sorted(found.items()))
