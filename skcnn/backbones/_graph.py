"""The layers of a network: their names, where the graph can be cut, and the trunk up to a cut."""

from __future__ import annotations

from typing import Any, NamedTuple

from skcnn._validation import closest
from skcnn.backbones._backbone import Backbone
from skcnn.backbones._registry import resolve_backbone
from skcnn.exceptions import BackboneError

__all__ = ["LayerInfo", "LayerTable", "find_layer", "layers", "output_of", "separating_layers"]


class LayerInfo(NamedTuple):
    """One row of `layers`."""

    index: int  # type: ignore[assignment]
    name: str
    output_shape: tuple
    parameters: int
    cuttable: bool


class LayerTable(list):
    """A list of `LayerInfo` that shows as a table."""

    def __repr__(self) -> str:
        rows = [("index", "name", "output shape", "parameters", "cut here")]
        rows += [
            (str(row.index), row.name, str(row.output_shape), f"{row.parameters:,}", "yes" if row.cuttable else "")
            for row in self
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        template = "  ".join(f"{{:{side}{width}}}" for side, width in zip("><<><", widths, strict=True))
        return "\n".join(template.format(*row).rstrip() for row in rows)


def layers(backbone: Any) -> LayerTable:
    """List the layers of a backbone.

    Parameters
    ----------
    backbone : str, path or keras.Model
        As for `CNNFeatureExtractor`.

    Returns
    -------
    LayerTable
        A list of (index, name, output_shape, parameters, cuttable), which shows as a table. `output_shape` leaves the
        batch out. Features can be taken from any layer; the graph can be *cut* where a layer's output alone separates
        input from output, so that everything after it can be trained without what is before.

    Examples
    --------
    >>> from skcnn.backbones import layers
    >>> layers("efficientnet_lite0")[-1]
    LayerInfo(index=142, name='logits', output_shape=(1000,), parameters=1281000, cuttable=True)
    """
    model = resolve_backbone(backbone, weights=None).build(load_weights=False)
    cuts, outputs = separating_layers(model), layer_outputs(model)
    return LayerTable(
        LayerInfo(index, layer.name, tuple(outputs[layer.name][0].shape[1:]), layer.count_params(), layer.name in cuts)
        for index, layer in enumerate(model.layers)
    )


def graph_nodes(model: Any) -> list[Any]:
    """Return the nodes of a model's own graph, in topological order; its layers may have others, in other graphs."""
    # A Sequential model keeps its graph in a functional one.
    by_depth = (getattr(model, "_functional", None) or model)._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def layer_outputs(model: Any) -> dict[str, list[Any]]:
    """Return the symbolic outputs of each layer, by its name; more than one where it is used several times."""
    outputs: dict[str, list[Any]] = {}
    for node in graph_nodes(model):
        outputs.setdefault(node.operation.name, []).extend(node.output_tensors)
    return outputs


def separating_layers(model: Any) -> set[str]:
    """Return the names of the layers whose output alone separates the model's input from its output.

    A sweep in topological order keeps the set of tensors that something later still reads; where it holds a single
    tensor, every path from input to output passes through that tensor.
    """
    nodes = graph_nodes(model)
    readers: dict[int, int] = {id(tensor): 1 for tensor in model.outputs}
    for node in nodes:
        for tensor in node.input_tensors:
            readers[id(tensor)] = readers.get(id(tensor), 0) + 1
    alive: set[int] = set()
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


def find_layer(model: Any, backbone: Backbone, layer: str | int | None) -> str:
    """Return the name of the layer that the user named in one of several ways.

    Parameters
    ----------
    model : keras.Model
        The built backbone.
    backbone : Backbone
        Where it comes from, for its default layer and for messages.
    layer : str, int or None
        A name, an index (negative from the end), or None for the backbone's default.

    Raises
    ------
    BackboneError
        When there is no such layer, naming the closest.
    """
    names = [each.name for each in model.layers]
    if layer is None:
        layer = backbone.default_layer or last_image_layer(model)
    if isinstance(layer, str):
        if layer not in names:
            msg = f"backbone {backbone.name!r} has no layer {layer!r}; the closest are {closest(layer, names)}"
            raise BackboneError(f"{msg}. skcnn.backbones.layers(backbone) lists all.")
        return layer
    if not -len(names) <= layer < len(names):
        msg = f"backbone {backbone.name!r} has {len(names)} layers, 0 to {len(names) - 1}; there is no layer {layer}"
        raise BackboneError(f"{msg}. skcnn.backbones.layers(backbone) lists all.")
    return names[layer]


def output_of(model: Any, name: str) -> Any:
    """Return the symbolic output of a layer. Raises BackboneError when the layer is used more than once."""
    # Not `layer.output`: that is the first place a layer was ever used at, be it in another graph, and of a model
    # among the layers it is a tensor inside.
    outputs = layer_outputs(model)[name]
    if len(outputs) > 1:
        msg = f"layer {name!r} has {len(outputs)} outputs, or is used that often: it is no single place in the graph"
        raise BackboneError(f"{msg}. skcnn.backbones.layers(backbone) lists all.")
    return outputs[0]


def last_image_layer(model: Any) -> str:
    """Return the name of the last layer whose output is still an image, or of the last layer."""
    outputs = layer_outputs(model)
    given = {id(tensor) for tensor in model.inputs}
    made = [layer.name for layer in model.layers if id(outputs[layer.name][0]) not in given]
    images = [name for name in made if len(outputs[name][0].shape) == 4]
    return images[-1] if images else model.layers[-1].name
