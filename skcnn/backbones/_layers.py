"""The layers of a network, and the one that a user names."""

from __future__ import annotations

from typing import Any, NamedTuple

from skcnn._private import name_of_origin
from skcnn._validation import closest
from skcnn.backbones._backbone import Backbone
from skcnn.backbones._graph import LISTS_ALL, functional, inputs_of, layer_outputs, output_of, separating_layers
from skcnn.backbones._head import layer_before_head
from skcnn.backbones._registry import resolve_backbone
from skcnn.exceptions import BackboneError


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
        batch out. The layers of an inner model are listed under its name, such as ``resnet50.conv1_conv``; for `layer`
        parameters ``conv1_conv`` will do where it is the only one. Features can be taken from any layer; the graph can
        be *cut* where a layer's output alone separates input from output, so that everything after it can be trained
        without what is before.

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


def find_layer(model: Any, backbone: Backbone, layer: str | int | None) -> str:
    """Return the name of the layer that the user named in one of several ways.

    Parameters
    ----------
    model : keras.Model
        The built backbone.
    backbone : Backbone
        Where it comes from, for its default layer and for messages.
    layer : str, int or None
        A name, an index (negative from the end), what a model that gives a dictionary calls an output, or None for the
        backbone's default.

    Raises
    ------
    BackboneError
        When there is no such layer, naming the closest, or several of that name; when it needs an input besides that of
        the images; or when no layer is named and it cannot be told which output is meant, or where the classification
        head begins.
    """
    names = [each.name for each in model.layers]
    if layer is None:
        name = backbone.default_layer or default_layer(model, backbone)
    elif isinstance(layer, str):
        outputs = {} if layer in names else names_of_outputs(model)
        name = outputs.get(layer) or layer_named(layer, names, backbone.name)
    elif -len(names) <= layer < len(names):
        name = names[layer]
    else:
        msg = f"backbone {backbone.name!r} has {len(names)} layers, 0 to {len(names) - 1}; there is no layer {layer}"
        raise BackboneError(f"{msg}. {LISTS_ALL}")
    if len(model.inputs) > 1:
        check_needs_images_alone(model, backbone, name)
    return name


def names_of_outputs(model: Any) -> dict[str, str]:
    """Return the layers that give the outputs of a model, by what the model calls them where it gives a dictionary."""
    outputs = functional(model).output
    if not isinstance(outputs, dict):
        return {}
    return {name: name_of_origin(each) for name, each in outputs.items() if hasattr(each, "shape")}


def default_layer(model: Any, backbone: Backbone) -> str:
    """Return the layer before the classification head, or refuse."""
    if len(model.outputs) > 1:
        own = (name_of_origin(output) for output in model.outputs)
        outputs = ", ".join(map(repr, names_of_outputs(model) or own))
        msg = f"backbone {backbone.name!r} has several outputs: {outputs}; name the layer to take features from"
        raise BackboneError(f"{msg}: layer='...'. {LISTS_ALL}")
    name = layer_before_head(model)
    if name is None:
        msg = f"it cannot be told where the classification head of {backbone.name!r} begins, if it has one; name the "
        raise BackboneError(f"{msg}layer to take features from: layer='...'. {LISTS_ALL}")
    return name


def check_needs_images_alone(model: Any, backbone: Backbone, name: str) -> None:
    """Refuse a layer that is computed from anything but one batch of images."""
    needed = inputs_of(model, output_of(model, name))
    if is_image(needed):
        return
    layers = {each.name for each in model.layers}
    outputs = {each: found[0] for each, found in layer_outputs(model).items() if each in layers and len(found) == 1}
    suited = [each for each, output in outputs.items() if is_image(inputs_of(model, output))]
    names = ", ".join(repr(name_of_origin(given)) for given in needed)
    msg = f"layer {name!r} of backbone {backbone.name!r} needs the inputs {names}, and only images are given; the last "
    raise BackboneError(f"{msg}layer that needs one input of images alone is {suited[-1]!r}. {LISTS_ALL}")


def is_image(inputs: list[Any]) -> bool:
    """Whether the inputs of a model are one batch of images."""
    return len(inputs) == 1 and len(inputs[0].shape) == 4


def layer_named(asked: str, names: list[str], network: str) -> str:
    """Return the full name of a layer: of one in an inner model the last part will do, of an inner model its name."""
    if asked in names:
        return asked
    inner = {name: name for name in names if name.endswith(f".{asked}")}
    for name in names:
        outside, found, _ = f".{name}".partition(f".{asked}.")
        if found:
            # All that an inner model computes leads to its output, so its last layer gives it.
            inner[f"{outside}.{asked}"[1:]] = name
    if len(inner) > 1:
        msg = f"backbone {network!r} has several layers {asked!r}: {', '.join(map(repr, inner))}; say which"
        raise BackboneError(msg)
    if inner:
        return next(iter(inner.values()))
    msg = f"backbone {network!r} has no layer {asked!r}; the closest are {closest(asked, names)}"
    raise BackboneError(f"{msg}. {LISTS_ALL}")
