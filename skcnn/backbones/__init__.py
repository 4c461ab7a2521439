"""Backbones: where networks come from, their layers and cuts, and the runners that execute them."""

from skcnn.backbones._backbone import Backbone
from skcnn.backbones._checkpoint import read_torch_checkpoint
from skcnn.backbones._graph import LayerInfo, LayerTable, layers, separating_layers
from skcnn.backbones._models import is_keras_model
from skcnn.backbones._network import POOLINGS, FrozenNetwork, loaded_networks, unload_networks
from skcnn.backbones._openvino import OpenVINORunner
from skcnn.backbones._registry import backbone_names, resolve_backbone
from skcnn.backbones._runner import Runner
from skcnn.backbones._runners import ENGINES, PRECISIONS, KerasRunner

__all__ = [
    "ENGINES",
    "POOLINGS",
    "PRECISIONS",
    "Backbone",
    "KerasRunner",
    "LayerInfo",
    "LayerTable",
    "FrozenNetwork",
    "OpenVINORunner",
    "Runner",
    "backbone_names",
    "is_keras_model",
    "layers",
    "loaded_networks",
    "read_torch_checkpoint",
    "resolve_backbone",
    "separating_layers",
    "unload_networks",
]
