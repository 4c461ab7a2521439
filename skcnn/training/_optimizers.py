"""Optimizers, by name or configured by the user; each fit gets one of its own."""

from __future__ import annotations

import copy
import json
from collections.abc import Hashable
from typing import Any, NamedTuple

from skcnn._validation import check_real


class Recipe(NamedTuple):
    """How an optimizer that is given by name is made."""

    class_name: str
    learning_rate: float
    settings: dict[str, Any]


# Keras's learning rates are for random weights; these are for trained ones, a tenth of them. Adagrad keeps its rate,
# which shrinks by itself, and adadelta has a tenth of the 1 that its authors gave it.
OPTIMIZERS = {
    "sgd": Recipe("SGD", 1e-3, {"momentum": 0.9, "nesterov": True}),
    "rmsprop": Recipe("RMSprop", 1e-4, {}),
    "adam": Recipe("Adam", 1e-4, {}),
    "adamw": Recipe("AdamW", 1e-4, {}),
    "nadam": Recipe("Nadam", 1e-4, {}),
    "adagrad": Recipe("Adagrad", 1e-3, {}),
    "adadelta": Recipe("Adadelta", 1e-1, {}),
}


def make_optimizer(optimizer: Any, learning_rate: float | None = None, *, parameter: str = "optimizer") -> Any:
    """Return a new Keras optimizer.

    Parameters
    ----------
    optimizer : str or keras.optimizers.Optimizer
        "sgd" (momentum 0.9, Nesterov), "rmsprop", "adam", "adamw", "nadam", "adagrad" or "adadelta"; or a configured
        one, of which a copy is made.
    learning_rate : float, default=None
        None takes that of the configured optimizer, or what suits one given by name.
    parameter : str, default="optimizer"
        What to call it in messages.

    Returns
    -------
    keras.optimizers.Optimizer

    Raises
    ------
    ValueError
        For an unknown name (all are named), something else, or a learning rate that is not above 0.
    """
    from skcnn._keras import keras

    if learning_rate is not None:
        rate_of = "learning_rate" if parameter == "optimizer" else parameter.replace("optimizer", "learning_rate")
        check_real(rate_of, learning_rate, open_left=True)
    if isinstance(optimizer, str):
        recipe = OPTIMIZERS.get(optimizer.lower())
        if recipe is None:
            names = ", ".join(map(repr, OPTIMIZERS))
            msg = f"The {parameter!r} parameter must be one of {names}, or a configured Keras optimizer."
            raise ValueError(f"{msg} Got {optimizer!r} instead.")
        made = getattr(keras.optimizers, recipe.class_name)
        return made(learning_rate=float(learning_rate or recipe.learning_rate), **recipe.settings)
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        msg = f"The {parameter!r} parameter must be the name of an optimizer or a Keras optimizer."
        raise ValueError(f"{msg} Got {optimizer!r} instead.")
    config = optimizer.get_config()
    if learning_rate is not None:
        innermost(config)["learning_rate"] = float(learning_rate)
    return type(optimizer).from_config(config)


def rate_from_scratch(name: str) -> float | None:
    """Return the learning rate that suits random weights, of an optimizer given by name; None for an unknown one."""
    recipe = OPTIMIZERS.get(name.lower())
    return None if recipe is None else 10 * recipe.learning_rate


def describe_optimizer(optimizer: Any) -> tuple[Hashable, float | None]:
    """Return the configuration of an optimizer, and its learning rate.

    Parameters
    ----------
    optimizer : keras.optimizers.Optimizer

    Returns
    -------
    settings : hashable
        Class and configuration, but for the learning rate, which can be changed. None where they cannot be compared.
    learning_rate : float or None
        None for a schedule; it is one of the settings then.
    """
    config = copy.deepcopy(optimizer.get_config())
    inner = innermost(config)
    for each in (config, inner):
        each.pop("name", None)  # Keras numbers the names
    rate = None if isinstance(inner.get("learning_rate"), dict) else inner.pop("learning_rate", None)
    try:
        return (type(optimizer), json.dumps(config, sort_keys=True)), rate
    except TypeError:
        return None, rate


def check_sets_rate(optimizer: Any, schedule: Any) -> None:
    """Refuse a schedule for an optimizer whose learning rate is one already.

    Raises
    ------
    ValueError
    """
    if schedule is not None and describe_optimizer(optimizer)[1] is None:
        raise ValueError("the optimizer has a schedule of its own; give it a number, or schedule=None")


def innermost(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration that has the learning rate: that of the optimizer inside a `LossScaleOptimizer`."""
    while isinstance(config.get("inner_optimizer"), dict):
        config = config["inner_optimizer"]["config"]
    return config
