"""Where a network is cut for fine-tuning: a trunk that stays as it is, and a tail with weights of its own."""

from __future__ import annotations

import numbers
from typing import Any, NamedTuple

from skcnn._private import flat_layers, name_of_origin
from skcnn.backbones._backbone import quiet_build
from skcnn.backbones._graph import graph_nodes, output_of, separating_layers
from skcnn.backbones._head import is_learned
from skcnn.backbones._layers import layer_named
from skcnn.backbones._nested import inline_nested
from skcnn.exceptions import BackboneError

# Cuts that were found are remembered: raise this where `cut_for` would find others.
CUT_VERSION = 1


class TrainingCut(NamedTuple):
    """Where a network is cut, and which layers are trained.

    Attributes
    ----------
    layer : str
        The last layer of the trunk. Its output separates the graph, and is what the tail takes.
    trained : tuple of str
        The layers that are trained, from input to output. They are in the tail; its other layers stay frozen.
    at_input : bool
        Whether `layer` is the input of the network, so that the tail is all of it.
    """

    layer: str
    trained: tuple[str, ...]
    at_input: bool


def cut_for(model: Any, unfreeze: int | str) -> TrainingCut:
    """Return where to cut a network so that its upper layers can be trained.

    Parameters
    ----------
    model : keras.Model
        With one input and one output, up to the features that a head is put on.
    unfreeze : int, str or "all"
        How many convolution layers are trained, counted from the top, together with every layer after the first of
        them; or the name of the first layer that is trained; or all of them. 0 trains none.

    Returns
    -------
    TrainingCut
        The cut is the last layer before the first trained one whose output alone separates the model's input from its
        output. Within a residual or dense block there is none, so the cut is before the block, and layers between the
        cut and the first trained one stay frozen. Where nothing before it has learned weights, it is the input.

    Raises
    ------
    BackboneError
        When there are not so many convolution layers, no layer of that name (the closest are named), or nothing to
        train from there on.
    ValueError
        When `unfreeze` is something else.

    Examples
    --------
    >>> from skcnn.backbones import cut_for, resolve_backbone
    >>> cut = cut_for(resolve_backbone("VGG16", weights=None).build(), 3)
    >>> cut.layer, cut.trained[0], cut.at_input
    ('block4_pool', 'block5_conv1', False)
    """
    model = inline_nested(model)
    first = first_trained(model, unfreeze)
    if first is None:
        return TrainingCut(name_of_origin(model.outputs[0]), (), at_input=False)
    names = [layer.name for layer in model.layers]
    trained = tuple(names[names.index(first) :])
    if not any(is_learned(model.get_layer(name)) for name in trained):
        msg = f"unfreeze={unfreeze!r}, but {model.name!r} has no weights from {first!r} on"
        raise BackboneError(f"{msg}; name an earlier layer, or train the head alone: unfreeze=0")
    layer = last_cut_before(model, first)
    return TrainingCut(layer, trained, at_input=layer == names[0])


def split(model: Any, layer: str) -> tuple[Any, Any]:
    """Cut a network in two.

    Parameters
    ----------
    model : keras.Model
        With one input and one output.
    layer : str
        The last layer of the first part. Its output alone must separate the model's input from its output.

    Returns
    -------
    trunk : keras.Model
        From the model's input to the output of `layer`. It shares its layers, and so its weights, with the model.
    tail : keras.Model
        From the output of `layer` to that of the model. Its layers are copies, with weights of their own.

    Raises
    ------
    BackboneError
        When there is no such layer, or it is inside a block (the nearest that will do are named), or the last one, or a
        layer after it cannot be copied.
    """
    from skcnn._keras import keras

    model = inline_nested(model)
    names = [each.name for each in model.layers]
    layer = layer_named(layer, names, model.name)
    cuts = separating_layers(model)
    if layer not in cuts:
        place = names.index(layer)
        near = [[name for name in names[:place] if name in cuts][-1:], [name for name in names[place:] if name in cuts]]
        shown = " and ".join(repr(each[0]) for each in near if each)
        msg = f"the output of {layer!r} alone does not separate the input of {model.name!r} from its output: other "
        raise BackboneError(f"{msg}paths go around it. The nearest layers before and after it that do are {shown}")
    tensor = output_of(model, layer)
    if tensor is model.outputs[0]:
        raise BackboneError(f"nothing comes after {layer!r}, the last layer of {model.name!r}")
    with quiet_build():
        rest = keras.Model(tensor, model.outputs[0], name="tail")
        try:
            tail = keras.models.clone_model(rest)
        except Exception as error:  # whatever a layer's get_config or from_config raises
            msg = f"the layers of {model.name!r} after {layer!r} cannot be copied: {error}. Layers of your own need a "
            raise BackboneError(f"{msg}get_config that returns the arguments of __init__") from error
        tail.set_weights(rest.get_weights())
        return keras.Model(model.inputs[0], tensor, name="trunk"), tail


def convolution_layers(model: Any) -> list[str]:
    """Return the names of the convolution layers of a model, from input to output.

    A layer that is not a convolution itself, but made of layers of which one is, counts as one.
    """
    from skcnn._keras import keras

    kinds = tuple(
        getattr(keras.layers, name) for name in ("Conv2D", "Conv2DTranspose", "DepthwiseConv2D", "SeparableConv2D")
    )
    return [layer.name for layer in model.layers if any(isinstance(part, kinds) for part in flat_layers(layer))]


def first_trained(model: Any, unfreeze: int | str) -> str | None:
    """Return the name of the first layer to train, None for none."""
    names = [layer.name for layer in model.layers]
    if isinstance(unfreeze, str):
        return names[0] if unfreeze == "all" else layer_named(unfreeze, names, model.name)
    if not is_count(unfreeze):
        msg = "The 'unfreeze' parameter must be a number of convolution layers, the name of a layer, or 'all'."
        raise ValueError(f"{msg} Got {unfreeze!r} instead.")
    convolutions = convolution_layers(model)
    if unfreeze > len(convolutions):
        msg = f"unfreeze={unfreeze}, but {model.name!r} has {len(convolutions)} convolution layers"
        raise BackboneError(f"{msg}; give a smaller number, the name of the first layer to train, or unfreeze='all'")
    return convolutions[-int(unfreeze)] if unfreeze else None


def is_count(unfreeze: Any) -> bool:
    return isinstance(unfreeze, numbers.Integral) and not isinstance(unfreeze, bool) and int(unfreeze) >= 0


def last_cut_before(model: Any, first: str) -> str:
    """Return the last layer before `first` that separates the graph; the input where nothing before has weights."""
    layers, cuts = {layer.name: layer for layer in model.layers}, separating_layers(model)
    start = next(iter(layers))
    before, learned = start, False
    for node in graph_nodes(model):
        name = node.operation.name
        if name == first:
            break
        learned = learned or is_learned(node.operation)
        # What is stored is found by the name of its layer, and an operation such as `x + y` is none.
        if learned and name in cuts and name in layers:
            before = name
    return before
