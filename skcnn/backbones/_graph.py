"""The graph of a network: its nodes, the outputs of its layers, and where it can be cut."""

from __future__ import annotations

from typing import Any

from skcnn._private import inner_functional, nodes_by_depth
from skcnn.backbones._backbone import quiet_build
from skcnn.exceptions import BackboneError

# The end of every message about a layer.
LISTS_ALL = "skcnn.backbones.layers(backbone) lists all."


def graph_nodes(model: Any) -> list[Any]:
    """Return the nodes of a model's own graph, in topological order; its layers may have others, in other graphs."""
    by_depth = nodes_by_depth(functional(model))
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def functional(model: Any) -> Any:
    """Return the functional model that holds the graph: a Sequential model keeps one inside."""
    return inner_functional(model) or model


def layer_outputs(model: Any) -> dict[str, list[Any]]:
    """Return the symbolic outputs of each layer, by its name; more than one where it is used several times."""
    outputs: dict[str, list[Any]] = {}
    for node in graph_nodes(model):
        outputs.setdefault(node.operation.name, []).extend(node.output_tensors)
    return outputs


def output_of(model: Any, name: str) -> Any:
    """Return the symbolic output of a layer. Raises BackboneError when the layer is used more than once."""
    # Not `layer.output`: that is the first place a layer was ever used at, be it in another graph.
    outputs = layer_outputs(model)[name]
    if len(outputs) > 1:
        msg = f"layer {name!r} has {len(outputs)} outputs, or is used that often: it is no single place in the graph"
        raise BackboneError(f"{msg}. {LISTS_ALL}")
    return outputs[0]


def inputs_of(model: Any, tensor: Any) -> list[Any]:
    """Return those of the model's inputs that a symbolic tensor of its graph is computed from."""
    needed = {id(tensor)}
    for node in reversed(graph_nodes(model)):
        if needed & {id(output) for output in node.output_tensors}:
            needed.update(map(id, node.input_tensors))
    return [given for given in model.inputs if id(given) in needed]


def trunk_of(model: Any, layer: str) -> Any:
    """Return the model that ends at a layer of another. It shares its layers, and so its weights, with that one."""
    from skcnn._keras import keras

    output = output_of(model, layer)
    with quiet_build():
        return keras.Model(inputs_of(model, output), output, name=model.name)


def separating_layers(model: Any) -> set[str]:
    """Return the names of the layers whose output alone separates the model's inputs from its outputs.

    A sweep in topological order keeps the set of tensors that something later still reads; where it holds a single
    tensor, every path from inputs to outputs passes through that tensor.
    """
    nodes = graph_nodes(model)
    readers: dict[int, int] = {id(tensor): 1 for tensor in model.outputs}
    for node in nodes:
        for tensor in node.input_tensors:
            readers[id(tensor)] = readers.get(id(tensor), 0) + 1
    alive = {id(given) for given in model.inputs if readers.get(id(given))}
    cuts, seen = set(), set()
    for node in nodes:
        for tensor in node.input_tensors:
            readers[id(tensor)] -= 1
            if not readers[id(tensor)]:
                alive.discard(id(tensor))
        outputs = [id(tensor) for tensor in node.output_tensors]
        alive.update(output for output in outputs if readers.get(output))
        name = node.operation.name
        # A layer that is used twice does not name one place in the graph.
        if len(outputs) == 1 and alive == set(outputs) and name not in seen:
            cuts.add(name)
        elif name in seen:
            cuts.discard(name)
        seen.add(name)
    return cuts
