"""Find the backbone for the value of a `backbone` parameter."""

from __future__ import annotations

import os
from typing import Any

from skcnn._validation import closest
from skcnn.backbones._applications import APPLICATIONS, ApplicationBackbone
from skcnn.backbones._backbone import Backbone
from skcnn.backbones._efficientnet_lite import VARIANTS
from skcnn.backbones._lite import LiteBackbone
from skcnn.backbones._model_files import backbone_in_file
from skcnn.backbones._models import ModelBackbone, is_keras_model
from skcnn.backbones._portable import LostBackbone, resolve_received
from skcnn.exceptions import BackboneError


def backbone_names() -> list[str]:
    """Return every name that can be given as a backbone.

    Examples
    --------
    >>> from skcnn.backbones import backbone_names
    >>> backbone_names()[:4]
    ['efficientnet_lite0', 'efficientnet_lite1', 'efficientnet_lite2', 'ConvNeXtTiny']
    """
    return [*VARIANTS, *APPLICATIONS]


def resolve_backbone(backbone: Any, weights: Any = "imagenet") -> Backbone:
    """Return the backbone that a name, a path or a model stands for; nothing is loaded.

    Parameters
    ----------
    backbone : str, path or keras.Model
        A name of `backbone_names`, the path of a ``.keras`` file or of a model that older versions of Keras saved as
        ``.h5``, or a model.
    weights : "imagenet", None or path, default="imagenet"
        For names: the published weights, seeded random values, or a weights file. Files and models bring their own.

    Raises
    ------
    BackboneError
        When there is no such backbone, naming the closest, or a file or folder holds something else, naming the remedy,
        or the weights are neither known nor a file.
    """
    if is_keras_model(backbone):
        return ModelBackbone(backbone)
    if isinstance(backbone, LostBackbone):
        return resolve_received(backbone)
    if not isinstance(backbone, (str, os.PathLike)):
        raise BackboneError(describe_other(backbone))
    name = os.fspath(backbone)
    if name in VARIANTS:
        return LiteBackbone(name, weights)
    if name in APPLICATIONS:
        return ApplicationBackbone(name, weights)
    in_file = backbone_in_file(name)
    if in_file is not None:
        return in_file
    msg = (
        f"there is no backbone {name!r}; the closest are {closest(name, backbone_names())}. "
        "skcnn.backbones.backbone_names() lists all; the path of a .keras file or a Keras model will do, too."
    )
    raise BackboneError(msg)


def describe_other(thing: Any) -> str:
    """Return the message for an object that is no backbone: its kind, and the remedy."""
    package = type(thing).__module__.partition(".")[0]
    if package == "tf_keras":
        return (
            f"the {type(thing).__name__} is a model of Keras 2 (the package tf_keras). Save it with "
            "model.save('network.h5') and give that path; layers of its own have to be written for Keras 3"
        )
    msg = f"backbone must be a name, the path of a .keras file or a Keras model. Got {type(thing).__name__}"
    return f"{msg}, of PyTorch" if package in ("torch", "torchvision", "timm") else f"{msg}."
