"""`UntrainedNetwork`: the layers of a network without its weights, from which it is made again in any process."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import types
from dataclasses import dataclass
from typing import Any

from skcnn._private import flat_layers
from skcnn._source_code import UnknownCodeError, describe_code
from skcnn.backbones._backbone import DIGEST_BYTES, quiet_build
from skcnn.backbones._identity import own_code
from skcnn.backbones._lambdas import named_config
from skcnn.backbones._portable import Code, code_of_model, pack, unpack


@dataclass(frozen=True, eq=False)
class UntrainedNetwork:
    """The layers of a network, without their weights.

    Parameters
    ----------
    config : dict
        Of the model, as `named_config` returns it.
    functions : dict of str to function
        The functions without a name of their own that the configuration refers to.
    codes : list of Code
        The classes and functions that are not Keras's.
    code : dict or None
        Names and source of these classes and functions; None where they depend on values that cannot be told.
    """

    config: dict[str, Any]
    functions: dict[str, types.FunctionType]
    codes: list[Code]
    code: dict[str, Any] | None

    @classmethod
    def of(cls, model: Any) -> UntrainedNetwork:
        """Return the layers of a functional model.

        Raises
        ------
        NotImplementedError
            When a layer has no `get_config`.
        """
        config, functions = named_config(model)
        own = [code for layer in flat_layers(model) for code in own_code(layer)]
        try:
            code = describe_code(*own, nameless=[*functions.values()])
        except UnknownCodeError:
            code = None
        return cls(without_addresses(config), functions, pack(code_of_model(model)), code)

    @functools.cached_property
    def digest(self) -> str | None:
        """Hex digest of all settings of all layers, those of training included, and of their code; None if unknown."""
        if self.code is None:
            return None
        text = json.dumps([self.config, self.code], sort_keys=True, default=repr)
        return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()

    def has(self, class_name: str) -> bool:
        """Whether there is a layer of this class."""
        return any(layer["class_name"] == class_name for layer in self.config["config"]["layers"])

    def build(self) -> Any:
        """Return a new functional model of these layers, with any weights."""
        from skcnn._keras import keras

        with quiet_build(), keras.saving.custom_object_scope({**unpack(self.codes), **self.functions}):
            # A copy, as Keras takes it apart. It is of a model that was in memory, so its code is the user's own.
            return keras.saving.deserialize_keras_object(copy.deepcopy(self.config), safe_mode=False)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in ("config", "functions", "codes", "code")}
        if self.functions:
            import cloudpickle

            state["functions"] = cloudpickle.dumps(self.functions)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state["functions"], bytes):
            import cloudpickle

            state = {**state, "functions": cloudpickle.loads(state["functions"])}
        self.__dict__.update(state)


def without_addresses(part: Any) -> Any:
    """Return a part of a configuration without the addresses by which Keras marks what layers share."""
    if isinstance(part, (list, tuple)):
        return type(part)(without_addresses(each) for each in part)
    if isinstance(part, dict):
        return {name: without_addresses(value) for name, value in part.items() if name != "shared_object_id"}
    return part
