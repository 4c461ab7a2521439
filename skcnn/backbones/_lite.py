"""EfficientNet-Lite as a backbone: the one that works without a network connection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skcnn.backbones._backbone import RANDOM, Backbone, file_digest, quiet_build, randomise, weights_file
from skcnn.backbones._checkpoint import read_torch_checkpoint
from skcnn.backbones._efficientnet_lite import (
    BUILDER_VERSION,
    VARIANTS,
    build_efficientnet_lite,
    load_efficientnet_lite_weights,
    packaged_checkpoint,
)


class LiteBackbone(Backbone):
    """EfficientNet-Lite 0, 1 or 2.

    Parameters
    ----------
    name : str
        "efficientnet_lite0", "efficientnet_lite1" or "efficientnet_lite2".
    weights : "imagenet", None or path
        The packaged ImageNet weights, seeded random values, or a checkpoint of the same layout.
    """

    def __init__(self, name: str, weights: Any):
        self.name = name
        self.weights = weights
        self._file: Path | None = None
        if weights is not None:
            self._file = packaged_checkpoint(name) if weights == "imagenet" else Path(weights_file(weights))

    def identity(self) -> dict[str, Any]:
        """Return name, version of the builder and digest of the weights."""
        weights = file_digest(self._file) if self._file else RANDOM
        return {"lite": self.name, "builder": BUILDER_VERSION, "weights": weights}

    @property
    def tells_imagenet_classes(self) -> bool:
        """They were published with these."""
        return True

    def input_shape(self) -> tuple[int, int, int]:
        """Return the size of the training images."""
        side = VARIANTS[self.name].input_size
        return side, side, 3

    def build(self, input_size: tuple[int, int] | None = None, *, load_weights: bool = True) -> Any:
        """Return the network up to its 1,000 logits."""
        with quiet_build():
            model = build_efficientnet_lite(self.name, input_size)
        if self._file and load_weights:
            load_efficientnet_lite_weights(model, read_torch_checkpoint(self._file))
        elif load_weights:
            randomise(model)
        return model

    @property
    def default_layer(self) -> str:
        """The last activation before pooling."""
        return "top_activation"

    @property
    def normalisation(self) -> str:
        """Pixels go in as (RGB - 127) / 128."""
        return "efficientnet_lite 1"

    def normalise(self, pixels: Any) -> Any:
        return (pixels - 127.0) / 128.0
