"""The range of pixels that a network of the user's own expects, as far as its layers tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from skcnn.backbones._graph import graph_nodes
from skcnn.backbones._nested import is_graph


class Part(NamedTuple):
    """A layer or operation, as both a model in memory and a ``.keras`` file describe it."""

    kind: str
    name: str
    dtype: str
    units: int | None  # or filters; None of layers that have neither


# Module of keras.applications whose networks expect normalised pixels -> what the names of all their layers with
# weights look like, and some that none of the others has. A network that was cut at a layer is recognised, too.
NUMBERED = r"(conv2d|batch_normalization)(_\d+)?"
LAYER_NAMES = {
    "densenet": (r"conv1_(conv|bn)|conv\d_block\d+_[0-2]_(conv|bn)|pool\d_(conv|bn)|bn", {"conv2_block1_0_bn"}),
    "inception_resnet_v2": (NUMBERED + r"|block\d+_\d+_conv|conv_7b(_bn)?", {"mixed_5b"}),
    "inception_v3": (NUMBERED, {"mixed0"}),
    "mobilenet": (r"conv1(_bn)?|conv_(dw|pw)_\d+(_bn)?", {"conv1_bn", "conv_pw_1_bn"}),
    "mobilenet_v2": (
        r"Conv1|bn_Conv1|(expanded_conv|block_\d+)_(expand|depthwise|project)(_BN)?|Conv_1(_bn)?",
        {"bn_Conv1", "expanded_conv_project_BN"},
    ),
    "nasnet": (r"(stem|reduction|separable|adjust|normal)_(conv|bn)\w*", {"stem_conv1", "stem_bn1"}),
    "resnet": (r"conv1_(conv|bn)|conv\d_block\d+_[0-3]_(conv|bn)", {"conv1_bn", "conv2_block1_3_bn"}),
    "resnet_v2": (
        r"conv1_conv|conv\d_block\d+_(preact_bn|[0-3]_(conv|bn))|post_bn",
        {"conv1_conv", "conv2_block1_preact_bn"},
    ),
    # VGG19 expects what VGG16 does.
    "vgg16": (r"block[12]_conv[12]|block[345]_conv[1-4]", {"block1_conv1", "block2_conv2"}),
    "xception": (NUMBERED + r"|block\d+_(sep)?conv\d(_bn)?", {"block1_conv1_bn", "block2_sepconv1"}),
}
# A head of other classes was trained by someone, on pixels that nobody here knows.
PUBLISHED_HEAD = r"fc1|fc2|predictions|conv_preds"
SCORES, PUBLISHED_CLASSES = {"predictions", "conv_preds"}, 1000

WITH_WEIGHTS = {"Conv2D", "SeparableConv2D", "DepthwiseConv2D", "BatchNormalization", "Dense"}
# The other layers of these networks.
WITHOUT_WEIGHTS = {
    "Activation",
    "Add",
    "AveragePooling2D",
    "Concatenate",
    "Cropping2D",
    "CustomScaleLayer",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "InputLayer",
    "MaxPooling2D",
    "ReLU",
    "Reshape",
    "ZeroPadding2D",
}
# Layers and operations that change the range of pixels: whoever put them first knew it.
SCALING = {"Rescaling", "Normalization", "Lambda", "Add", "Subtract", "Multiply", "Divide", "TrueDivide", "FloorDivide"}
# What may come before them.
PASSING = {"InputLayer", "Cast", "Resizing", "CenterCrop", "Dropout", "GaussianNoise", "Identity", "GetItem"}
PASSING |= {"ZeroPadding2D", "Cropping2D", "Reshape", "Permute", "Concatenate"}


def application_of(parts: Iterable[Part]) -> str | None:
    """Return the module of `keras.applications` a network is from, if its pixels have to be normalised before it.

    It is told by the names of the layers. The networks that normalise inside are not among them, nor is one on which
    another head was put: it may have been trained on any pixels.
    """
    parts = list(parts)
    if not {part.kind for part in parts} <= WITH_WEIGHTS | WITHOUT_WEIGHTS:
        return None
    if any(part.name in SCORES and part.units not in (None, PUBLISHED_CLASSES) for part in parts):
        return None
    names, learned = {part.name for part in parts}, [part.name for part in parts if part.kind in WITH_WEIGHTS]
    for module, (pattern, required) in LAYER_NAMES.items():
        allowed = re.compile(f"{pattern}|{PUBLISHED_HEAD}")
        if required <= names and all(map(allowed.fullmatch, learned)):
            return module
    return None


def expects_raw_pixels(parts: Iterable[Part]) -> bool:
    """Whether a network is known to take pixels in [0, 255]: its input is whole numbers, or it scales them first."""
    for part in parts:
        if part.kind == "InputLayer" and part.dtype.startswith(("uint", "int")):
            return True
        if part.kind in SCALING:
            return True
        if part.kind not in PASSING and not part.kind.startswith("Random"):
            return False
    return True


def parts_of_model(model: Any) -> Iterator[Part]:
    """Yield the parts of a model that see its images, in the order of its graph, those of inner models in place."""
    several = len(model.inputs) > 1
    seeing = {id(given) for given in model.inputs if not several or len(given.shape) == 4}
    for node in graph_nodes(model):
        if seeing.isdisjoint(map(id, [*node.input_tensors, *node.output_tensors])):
            continue
        seeing.update(map(id, node.output_tensors))
        operation = node.operation
        if is_graph(operation):
            yield from parts_of_model(operation)
        else:
            units = getattr(operation, "units", None) or getattr(operation, "filters", None)
            yield Part(type(operation).__name__, operation.name, str(getattr(operation, "dtype", "")), units)


def parts_of_config(config: dict[str, Any]) -> Iterator[Part]:
    """Yield the same from the configuration in a ``.keras`` file."""
    for layer in config["config"]["layers"]:
        own = layer["config"]
        if "layers" in own:
            yield from parts_of_config(layer)
        else:
            units = own.get("units") or own.get("filters")
            yield Part(layer["class_name"], str(own.get("name")), str(own.get("dtype")), units)
