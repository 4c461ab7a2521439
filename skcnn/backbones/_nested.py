"""Models inside models: one graph of all layers."""

from __future__ import annotations

from typing import Any

from skcnn._private import functional_class, name_of_origin, without_nodes
from skcnn.backbones._backbone import quiet_build
from skcnn.backbones._graph import functional, graph_nodes


def inline_nested(model: Any) -> Any:
    """Return a model of the same graph whose layers are no models of their own.

    The layers of an inner model ``base`` are named ``base.conv1``. They share weights and everything else with the
    layers given, which stay as they are. An inner model stays one layer where it has no graph, or more than one input
    or output, or a ``call`` of its own.

    Parameters
    ----------
    model : keras.Model
        With a graph.

    Returns
    -------
    keras.Model
        `model` itself where nothing is nested.
    """
    from skcnn._keras import keras

    if not has_nested(model):
        return model
    with quiet_build():
        inputs = [
            keras.Input(batch_shape=given.shape, dtype=given.dtype, name=name_of_origin(given))
            for given in model.inputs
        ]
        tensors = dict(zip(map(id, model.inputs), inputs, strict=True))
        call_again(model, tensors, prefix="", twins={})
        outputs = keras.tree.map_structure(lambda output: tensors[id(output)], functional(model).output)
        return keras.Model(inputs[0] if len(inputs) == 1 else inputs, outputs, name=model.name)


def call_graph(model: Any, tensor: Any) -> Any:
    """Return the output of a model's graph for another input; it shares the layers, under their own names.

    Parameters
    ----------
    model : keras.Model
        With a graph of one input and one output.
    tensor : keras.KerasTensor
    """
    tensors = {id(model.inputs[0]): tensor}
    call_again(model, tensors, prefix="", twins={})
    return tensors[id(model.outputs[0])]


def has_nested(model: Any) -> bool:
    """Whether `inline_nested` has something to do."""
    return any(is_graph(layer) for layer in model.layers)


def call_again(model: Any, tensors: dict[int, Any], prefix: str, twins: dict[tuple[str, int], Any]) -> None:
    """Call twins of a model's operations on other tensors.

    Parameters
    ----------
    model : keras.Model
        Whose graph to follow.
    tensors : dict of int to KerasTensor
        From the ids of the model's own tensors to those of the new graph; the inputs are there, the others are added.
    prefix : str
        What the names begin with.
    twins : dict
        The twins made so far, by prefix and id of the operation: one that is called twice has one twin.
    """
    from skcnn._keras import keras

    for node in graph_nodes(model):
        if node.is_input:
            continue
        operation = node.operation
        given = node.arguments.keras_tensors
        if is_graph(operation) and len(given) == 1 and takes(operation, tensors[id(given[0])]):
            inner = functional(operation)
            # A dictionary of its own: the inner tensors are others where a model is called twice.
            inside = {id(inner.inputs[0]): tensors[id(given[0])]}
            call_again(operation, inside, f"{prefix}{operation.name}.", twins)
            outputs = [inside[id(inner.outputs[0])]]
        else:
            args, kwargs = node.arguments.fill_in(tensors)
            twin = twins.setdefault((prefix, id(operation)), twin_of(operation, f"{prefix}{operation.name}"))
            outputs = keras.tree.flatten(twin(*args, **kwargs))
        tensors.update(zip(map(id, node.outputs), outputs, strict=True))


def is_graph(operation: Any) -> bool:
    """Whether an operation is a model that computes its graph, with one input and one output."""
    from skcnn._keras import keras

    return (
        isinstance(operation, keras.Model)
        and follows_graph(operation)
        and operation.built
        and len(operation.inputs) == len(operation.outputs) == 1
    )


def follows_graph(model: Any) -> bool:
    """Whether calling a model computes its graph: it has no `call` of its own."""
    from skcnn._keras import keras

    return type(model).call in (keras.Sequential.call, functional_class().call)


def takes(model: Any, tensor: Any) -> bool:
    """Whether an inner model takes a tensor as it is: others it casts, or gives another rank."""
    (expected,) = model.inputs
    return expected.dtype == tensor.dtype and len(expected.shape) == len(tensor.shape)


def twin_of(operation: Any, name: str) -> Any:
    """Return an operation that shares everything with another but its name and its places in graphs.

    `copy.copy` would save and load it.
    """
    twin = object.__new__(type(operation))
    twin.__dict__.update(operation.__dict__, name=name, **without_nodes())
    return twin
