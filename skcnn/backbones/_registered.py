"""Classes and functions that a configuration names but does not hold."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

from skcnn.exceptions import BackboneError

# Keras imports these packages by itself when a file names them.
KERAS_PACKAGES = {"keras_hub", "keras_cv", "keras_nlp"}


def required_code(config: Any, path: str) -> list[Any]:
    """Return the classes and functions that the configuration in a file names but does not hold.

    Raises
    ------
    BackboneError
        When some are not registered.
    """
    found = registered_code(config)
    missing = [name for name, code in found.items() if code is None]
    if missing:
        named = custom_objects(config)
        modules = sorted({named[name].partition(".")[0] for name in missing} - {"", "builtins", "__main__"})
        where = f"import {', '.join(modules)}" if modules else "import the module that registers them"
        raise BackboneError(f"{path!r} uses {missing}, which are not registered; {where} first")
    return list(found.values())


def registered_code(config: Any) -> dict[str, Any]:
    """Return the objects registered under the names in a configuration; Keras is imported only if there are any."""
    named = custom_objects(config)
    if not named:
        return {}
    from skcnn._keras import keras

    for package in KERAS_PACKAGES & {module.partition(".")[0] for module in named.values()}:
        with contextlib.suppress(ImportError):
            importlib.import_module(package)
    return {name: keras.saving.get_registered_object(name) for name in sorted(named)}


def custom_objects(config: Any) -> dict[str, str]:
    """Return the names under which a configuration refers to classes and functions not of Keras, and their modules."""
    if isinstance(config, list):
        return {name: module for part in config for name, module in custom_objects(part).items()}
    if not isinstance(config, dict):
        return {}
    module = str(config.get("module") or "")
    # Keras leaves out the module of what a script or notebook defined.
    own = "class_name" in config and (module.partition(".")[0] != "keras" if module else config.get("registered_name"))
    if own and config["class_name"] == "function":
        return {str(config["config"]): module}
    named = {str(config.get("registered_name") or config["class_name"]): module} if own else {}
    return named | custom_objects(list(config.values()))
