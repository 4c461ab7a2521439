"""Backbones: where networks come from, their layers and cuts, and the runners that execute them."""

from skcnn.backbones._backbone import Backbone
from skcnn.backbones._cut import TrainingCut, cut_for, split
from skcnn.backbones._graph import separating_layers
from skcnn.backbones._layers import LayerInfo, LayerTable, layers
from skcnn.backbones._network import FrozenNetwork, loaded_networks, unload_networks
from skcnn.backbones._registry import backbone_names, resolve_backbone
from skcnn.backbones._runner import Runner

__all__ = [
    "Backbone",
    "FrozenNetwork",
    "LayerInfo",
    "LayerTable",
    "Runner",
    "TrainingCut",
    "backbone_names",
    "cut_for",
    "layers",
    "loaded_networks",
    "resolve_backbone",
    "separating_layers",
    "split",
    "unload_networks",
]
