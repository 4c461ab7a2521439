"""Where the classification head of a network begins."""

from __future__ import annotations

from typing import Any

from skcnn.backbones._graph import graph_nodes, separating_layers

# Part of what is remembered of a network: raise it where `layer_before_head` would give another layer.
RULE_VERSION = 3


def layer_before_head(model: Any) -> str | None:
    """Return the name of the layer whose features a classification head was put on; None where it cannot be told.

    Only layers that all information passes through are looked at. Of those before the classifier (a last Dense layer,
    or what softmax or sigmoid follows) it is the last one whose output is an image, and before global pooling, if that
    is there. Where the network goes on from images to something else, such as the tokens of a transformer, it is the
    last layer before the classifier. A layer is never taken from before the first one with weights.
    """
    nodes = [node for node in graph_nodes(model) if not node.is_input]
    separating = separating_layers(model)
    spine = [place for place, node in enumerate(nodes) if node.operation.name in separating]
    first_learned = next((place for place, node in enumerate(nodes) if is_learned(node.operation)), len(nodes))
    classifier = find_classifier(nodes, spine)
    before = [place for place in spine if classifier is None or place < classifier]
    pooled = next((place for place in before if is_global_pooling(nodes[place].operation)), len(nodes))
    images = [place for place in before if place < pooled and has_rank(nodes[place], 4)]
    if images and images[-1] >= first_learned:
        rest = nodes[images[-1] + 1 : classifier]
        if all(may_be_in_head(node.operation, pooled=pooled < len(nodes)) for node in rest):
            return nodes[images[-1]].operation.name
    if classifier is None:
        return None
    features = [place for place in before if not is_dropout(nodes[place].operation)]
    return nodes[features[-1]].operation.name if features and features[-1] >= first_learned else None


def find_classifier(nodes: list[Any], spine: list[int]) -> int | None:
    """Return the place of the layer that makes class scores, None where nothing tells that there is one."""
    learned = [place for place, node in enumerate(nodes) if is_learned(node.operation)]
    if not learned or learned[-1] not in spine:
        return None
    last = learned[-1]
    if has_rank(nodes[last], 2) and is_kind(nodes[last].operation, "Dense"):
        return last
    gives_scores = any(is_score(nodes[place].operation) for place in spine if place >= last)
    # A convolution does for a Dense layer once positions are gone.
    follows_pooling = any(is_global_pooling(nodes[place].operation) for place in spine if place < last)
    return last if gives_scores or (follows_pooling and is_kind(nodes[last].operation, "Conv2D")) else None


def is_kind(operation: Any, *names: str) -> bool:
    """Whether an operation is one of these layers of Keras."""
    from skcnn._keras import keras

    return isinstance(operation, tuple(getattr(keras.layers, name) for name in names))


def has_rank(node: Any, rank: int) -> bool:
    """Whether an operation gives one tensor of a rank."""
    return len(node.outputs) == 1 and len(node.outputs[0].shape) == rank


def is_learned(operation: Any) -> bool:
    """Whether an operation has weights that training changes; the mean and variance of pixels are none."""
    return bool(getattr(operation, "weights", [])) and not is_kind(operation, "Normalization")


def is_global_pooling(operation: Any) -> bool:
    """Whether an operation takes the mean or the maximum over all positions."""
    return is_kind(operation, "GlobalAveragePooling2D", "GlobalMaxPooling2D")


def is_dropout(operation: Any) -> bool:
    """Whether an operation does nothing once training is over."""
    return is_kind(operation, "Dropout", "GaussianDropout", "GaussianNoise", "AlphaDropout", "Identity")


def is_score(operation: Any) -> bool:
    """Whether an operation is softmax or sigmoid, or ends in it."""
    activation = getattr(getattr(operation, "activation", None), "__name__", type(operation).__name__)
    return activation.lower() in ("softmax", "sigmoid")


def may_be_in_head(operation: Any, *, pooled: bool) -> bool:
    """Whether an operation may stand between the features of a network and its classifier."""
    kinds = ["Dense", "BatchNormalization", "LayerNormalization", "PReLU"]
    return not is_learned(operation) or is_kind(operation, *kinds, *(["Conv2D"] if pooled else []))
