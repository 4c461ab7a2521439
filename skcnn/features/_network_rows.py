"""Rows that a frozen network makes of images: its activations."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from skcnn.backbones import FrozenNetwork, Runner
from skcnn.exceptions import PreprocessingError
from skcnn.images import ToGrey
from skcnn.images._cached_rows import RowMaker

__all__ = ["NetworkRows", "already_normalised_error"]


class NetworkRows(RowMaker):
    """The activations of a network that is loaded when the first image comes.

    Parameters
    ----------
    network : FrozenNetwork
    engine : str
        Which runner to load.
    """

    def __init__(self, network: FrozenNetwork, engine: str):
        self.network = network
        self.engine = engine
        self.name = network.backbone.name
        self._is_first_batch = True

    def prepare(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """Give an image the network's channels; refuse pixels outside [0, 255] where it normalises them.

        Raises
        ------
        PreprocessingError
            When the network normalises pixels in [0, 255], and these were centred before or are of more than 8 bits.
        """
        if pixels.dtype != np.uint8:
            pixels = pixels.astype(np.float32, copy=False)
            low, high = float(pixels.min()), float(pixels.max())
            # Steps that interpolate may exceed 255 by a rounding error.
            if self.network.normalises and (low < 0 or high > 256):
                raise already_normalised_error(self.network, f"pixel values from {low:.4g} to {high:.4g} in {name}")
        channels = self.network.input_shape[2]
        if channels == 1:
            return ToGrey()(pixels)  # a step of the user's own may have given it colours again
        return np.repeat(pixels, channels, axis=2) if pixels.shape[2] == 1 else pixels

    def run(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        """Return the activations of a batch, float32.

        Raises
        ------
        PreprocessingError
            When the network normalises pixels in [0, 255], and all pixels of the first batch are scaled to [0, 1]. One
            image may be as dark as that; whoever has only such images passes them as uint8.
        """
        pixels = np.stack(prepared)
        if self._is_first_batch and pixels.dtype == np.float32 and self.network.normalises and 0 < pixels.max() <= 1:
            raise already_normalised_error(self.network, f"no pixel value above {pixels.max():.3g}")
        self._is_first_batch = False
        return self._runner.run(pixels)

    def row_shape(self) -> tuple[int, ...]:
        """Return the shape of the activations of one image; the network is loaded for that."""
        return self._runner.output_shape

    @functools.cached_property
    def _runner(self) -> Runner:
        return self.network.load(self.engine)


def already_normalised_error(network: FrozenNetwork, found: str) -> PreprocessingError:
    """Return the error for input that was centred or scaled before, although the network does that."""
    return PreprocessingError(
        f"got {found}, but {network.backbone.name} expects RGB pixels in [0, 255] and normalises them itself. Remove "
        "the earlier normalisation, or pass preprocess=None to feed the network pixels as they are."
    )
