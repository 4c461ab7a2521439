"""Make the network that a classifier trains from random weights: a graph from pixels to logits."""

from __future__ import annotations

from typing import Any

from skcnn._validation import closest
from skcnn.architectures import ARCHITECTURES, Architecture
from skcnn.backbones._applications import APPLICATIONS, ApplicationBackbone
from skcnn.backbones._backbone import quiet_build
from skcnn.backbones._graph import graph_nodes
from skcnn.backbones._lambdas import layer_like
from skcnn.backbones._models import check_graph, is_keras_model
from skcnn.backbones._nested import call_graph, inline_nested
from skcnn.backbones._pixel_range import expects_raw_pixels, parts_of_model
from skcnn.backbones._untrained import UntrainedNetwork
from skcnn.exceptions import BackboneError

# What pixels in [0, 255] are multiplied by, where the network has no normalisation of its own.
SCALE = 1 / 255


def build_network(
    architecture: Any, input_shape: tuple[int, int, int], n_classes: int, *, normalises: bool
) -> UntrainedNetwork:
    """Return the layers from pixels to logits.

    Parameters
    ----------
    architecture : str, callable, Architecture or keras.Model
        As of `skcnn.CNNClassifier`.
    input_shape : (int, int, int)
        (height, width, channels) of the images.
    n_classes : int
    normalises : bool
        Whether pixels are in [0, 255] and have to be normalised: by the preprocessing of a network of
        `keras.applications`, by the layers that a network begins with, or else to [0, 1].

    Raises
    ------
    ValueError
        For an unknown name, images that the network cannot take, or a network that has not one output for each class.
    TypeError
        When a callable returns no Keras model.
    BackboneError
        For a network whose layers are not known, or cannot be written down. It is a ValueError.
    """
    from skcnn._keras import keras

    name = name_of(architecture)
    with quiet_build():
        model = logits_of(inline_nested(make_model(architecture, input_shape, n_classes)), name)
        check_fits(model, name, input_shape, n_classes)
        x = pixels = keras.Input(input_shape, dtype="float32", name="pixels")
        if normalises and name in APPLICATIONS:
            x = ApplicationBackbone(name, None).normalise(pixels)
        elif normalises and not expects_raw_pixels(parts_of_model(model)):
            x = keras.layers.Rescaling(SCALE, name="scale_pixels")(pixels)
        try:
            return UntrainedNetwork.of(keras.Model(pixels, call_graph(model, x), name=model.name))
        except (NotImplementedError, TypeError) as error:  # a layer without get_config, or one that fails
            reason = str(error).strip().partition("\n")[0]
            raise BackboneError(f"the layers of {name} cannot be made again for each fit: {reason}") from error


def name_of(architecture: Any) -> str:
    """Return what to call an architecture in messages."""
    if is_keras_model(architecture):
        return f"the model {architecture.name!r}"
    network = architecture.network if isinstance(architecture, Architecture) else architecture
    return network if isinstance(network, str) else getattr(network, "__name__", repr(network))


def make_model(architecture: Any, input_shape: tuple[int, int, int], n_classes: int) -> Any:
    """Return a Keras model of the architecture; of a Keras model, itself."""
    if is_keras_model(architecture):
        return check_graph(architecture)
    given = architecture if isinstance(architecture, Architecture) else Architecture(architecture)
    network, options = given.network, given.options
    if callable(network):
        model = network(input_shape, n_classes, **options)
        if not is_keras_model(model):
            msg = f"{name_of(network)}(input_shape, n_classes) has to return a keras.Model, and returned"
            raise TypeError(f"{msg} {type(model).__name__}")
        return check_graph(model)
    if network in ARCHITECTURES:
        return ARCHITECTURES[network](input_shape, n_classes, **options)
    if network in APPLICATIONS:
        return make_application(network, input_shape, n_classes, options)
    hint = closest(network, [*ARCHITECTURES, *APPLICATIONS])
    msg = f"unknown architecture {network!r}; closest: {hint}. There are {', '.join(ARCHITECTURES)}"
    raise ValueError(f"{msg}, and the networks of keras.applications, such as MobileNetV2")


def make_application(name: str, input_shape: tuple[int, int, int], n_classes: int, options: dict[str, Any]) -> Any:
    """Return a network of `keras.applications` with random weights, up to its logits."""
    from skcnn._keras import keras

    settings = {"weights": None, "classes": n_classes, "classifier_activation": None}
    try:
        return getattr(keras.applications, name)(input_shape=input_shape, **{**settings, **options})
    except ValueError as error:
        height, width, _ = input_shape
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"{name} cannot be built for images of {height} x {width} pixels: {reason}") from error


def logits_of(model: Any, name: str) -> Any:
    """Return the model up to its logits: without the softmax that it ends in, if there is one.

    Raises
    ------
    ValueError
        For several outputs, or a sigmoid, which does not choose between classes.
    """
    from skcnn._keras import keras

    if len(model.outputs) != 1 or len(model.inputs) != 1:
        msg = f"{name} has {len(model.inputs)} inputs and {len(model.outputs)} outputs; a classifier has one of each"
        raise ValueError(msg)
    (output,) = model.outputs
    last = next(node for node in graph_nodes(model) if any(each is output for each in node.output_tensors))
    operation = last.operation
    activation = getattr(getattr(operation, "activation", None), "__name__", None)
    if activation == "sigmoid":
        msg = f"{name} ends in a sigmoid, which judges each class by itself"
        raise ValueError(f"{msg}; end it in n_classes outputs with a softmax, also for two classes")
    is_softmax = type(operation).__name__ == "Softmax"  # the layer or the operation
    if is_softmax or (activation == "softmax" and isinstance(operation, keras.layers.Activation)):
        return keras.Model(model.inputs, last.input_tensors[0], name=model.name)
    if activation != "softmax":
        return model

    def without_softmax(layer: Any) -> Any:
        changes = {"activation": "linear"} if layer is operation else {}
        return layer_like(layer, lambda config: {**config, **changes})

    return keras.models.clone_model(model, clone_function=without_softmax)


def check_fits(model: Any, name: str, input_shape: tuple[int, int, int], n_classes: int) -> None:
    """Refuse a network for other images, or another number of classes.

    Raises
    ------
    ValueError
        Naming what it takes and gives.
    """
    takes = tuple(model.input_shape[1:])
    if len(takes) != 3 or any(own not in (None, asked) for own, asked in zip(takes, input_shape, strict=True)):
        size, channels = " x ".join(map(str, takes[:2])), takes[-1]
        msg = f"{name} takes images of {size} pixels with {channels} channels, and gets"
        found = f"{input_shape[0]} x {input_shape[1]} with {input_shape[2]}"
        raise ValueError(f"{msg} {found}; set 'input_size' and 'channels' to what it takes")
    if tuple(model.output_shape[1:]) != (n_classes,):
        msg = f"{name} gives {model.output_shape[1:]} values for each image, and there are {n_classes} classes"
        raise ValueError(f"{msg}; a function that builds it gets their number as its second argument")
