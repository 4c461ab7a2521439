"""Architectures: networks to train from random weights, one file each, and the modules they are made of.

A builder takes the shape of the images and the number of classes, and returns a Keras model that ends in a softmax.
A new network needs a file, and its name below.
"""

from collections.abc import Callable
from typing import Any

from skcnn.architectures._alexnet import alexnet
from skcnn.architectures._architecture import Architecture
from skcnn.architectures._convnet import convnet
from skcnn.architectures._deepergooglenet import deepergooglenet
from skcnn.architectures._lenet import lenet
from skcnn.architectures._minigooglenet import minigooglenet
from skcnn.architectures._minivggnet import minivggnet
from skcnn.architectures._mlp import mlp
from skcnn.architectures._modules import (
    conv_module,
    dense_module,
    downsampling_module,
    inception_module,
    mini_inception_module,
    residual_module,
)
from skcnn.architectures._resnet import resnet
from skcnn.architectures._shallownet import shallownet
from skcnn.architectures._whitened_vgg import whitened_vgg

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "alexnet",
    "conv_module",
    "convnet",
    "deepergooglenet",
    "dense_module",
    "downsampling_module",
    "inception_module",
    "lenet",
    "mini_inception_module",
    "minigooglenet",
    "minivggnet",
    "mlp",
    "residual_module",
    "resnet",
    "shallownet",
    "whitened_vgg",
]

BUILDERS = (alexnet, convnet, deepergooglenet, lenet, minigooglenet, minivggnet, mlp, resnet, shallownet, whitened_vgg)
ARCHITECTURES: dict[str, Callable[..., Any]] = {builder.__name__: builder for builder in BUILDERS}
