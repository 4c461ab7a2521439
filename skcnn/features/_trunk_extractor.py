"""Take batches of images through a trunk: a network up to a layer, or pixels as they are."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from skcnn.backbones._runner import Runner
from skcnn.cache._manifest import Label
from skcnn.exceptions import PreprocessingError
from skcnn.features._trunk import Trunk
from skcnn.images._batch_extractor import BatchExtractor
from skcnn.images._steps import ToGrey


class TrunkExtractor(BatchExtractor):
    """Adapter from `Trunk` to `BatchExtractor`; it loads the trunk at the first image.

    Parameters
    ----------
    trunk : Trunk
    engine : str
        Which runner to load.
    """

    def __init__(self, trunk: Trunk, engine: str):
        self.trunk = trunk
        self.engine = engine
        self.name = trunk.name
        self._is_first_batch = True

    def describe(self) -> dict[str, Any]:
        return {"trunk": self.trunk.description}

    def label(self, description: dict[str, Any], n_views: int) -> Label:
        """Return name, layer and image size of the trunk."""
        trunk = description["trunk"]
        height, width, _ = trunk["input_shape"]
        # Of the pooling the name, without the version.
        layer = [trunk.get("layer"), (trunk.get("pooling") or "").partition(" ")[0]]
        views = f", {n_views} views" if n_views > 1 else ""
        return Label(self.name, ", ".join(filter(None, layer)), f"{height} x {width}{views}")

    def prepare(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """Give an image the trunk's channels; refuse pixels outside [0, 255] where it normalises them.

        Raises
        ------
        PreprocessingError
            When the trunk normalises pixels in [0, 255], and these were centred before or are of more than 8 bits.
        """
        if pixels.dtype != np.uint8:
            pixels = pixels.astype(np.float32, copy=False)
            low, high = float(pixels.min()), float(pixels.max())
            # Steps that interpolate may exceed 255 by a rounding error.
            if self._normalises and (low < 0 or high > 256):
                raise already_normalised_error(self.trunk, f"pixel values from {low:.4g} to {high:.4g} in {name}")
        channels = self._channels
        if channels == 1:
            return ToGrey()(pixels)  # a step of the user's own may have given it colours again
        return np.repeat(pixels, channels, axis=2) if pixels.shape[2] == 1 else pixels

    def run(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        """Return the features of a batch.

        Raises
        ------
        PreprocessingError
            When the trunk normalises pixels in [0, 255], and all pixels of the first batch are scaled to [0, 1]. One
            image may be as dark as that. Pass images that are all so dark as uint8.
        """
        pixels = np.stack(prepared)
        if self._is_first_batch and pixels.dtype == np.float32 and self._normalises and 0 < pixels.max() <= 1:
            raise already_normalised_error(
                self.trunk, f"no pixel value above {pixels.max():.3g}", remedy="Multiply the pixels by 255"
            )
        self._is_first_batch = False
        return self._runner.run(pixels)

    def output_shape(self) -> tuple[int, ...]:
        """Return the shape of the features of one image; the trunk is loaded for that."""
        return self._runner.output_shape

    # Cached: of a network in a file, each question reads the file.
    @functools.cached_property
    def _channels(self) -> int:
        return self.trunk.input_shape[2]

    @functools.cached_property
    def _normalises(self) -> bool:
        return self.trunk.normalises

    @functools.cached_property
    def _runner(self) -> Runner:
        return self.trunk.load(self.engine)


def already_normalised_error(
    trunk: Trunk, found: str, remedy: str = "Remove the earlier normalisation"
) -> PreprocessingError:
    """Return the error for input that was centred or scaled before, although the trunk does that."""
    return PreprocessingError(
        f"got {found}, but {trunk.name} expects RGB pixels in [0, 255] and normalises them itself. "
        f"{remedy}, or pass preprocess=None to feed the network pixels as they are."
    )
