"""The interface of trunks, the frozen layers whose output is stored, and the plainest of them: `RawPixels`."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from skcnn._validation import check_size
from skcnn.backbones._runner import Runner

PIXELS_VERSION = 1


class Trunk(Protocol):
    """The frozen layers that give the features which are stored. `skcnn.backbones.FrozenNetwork` is one."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    @property
    def description(self) -> dict[str, Any]:
        """Everything that decides the features of given pixels, as JSON types; equal features have equal descriptions.

        Raises
        ------
        skcnn._source_code.UnknownCodeError
            When it cannot be told; the features are then computed, but not stored.
        """

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images it takes; channels are 1 or 3."""

    @property
    def normalises(self) -> bool:
        """Whether it takes pixels in [0, 255] and normalises them itself."""

    @property
    def dtype(self) -> str:
        """The dtype its features are stored in by default."""

    def load(self, engine: str) -> Runner:
        """Return a runner that takes batches through it; it is loaded at the first call."""


class RawPixels:
    """The resized pixels themselves, so that training a network from scratch decodes each image once.

    Parameters
    ----------
    input_shape : (int, int, int), default=(64, 64, 3)
        Height and width in pixels, and channels: 3 for RGB, 1 for grey.
    normalises : bool, default=False
        Whether pixels outside [0, 255] are refused, because the network that takes them normalises them.
    dtype : {"uint8", "float32"}, default="uint8"
        In which they are stored. Steps that subtract a mean, or images of your own, may make pixels that are not uint8.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn.features import RawPixels, extract
    >>> images = np.random.default_rng(0).integers(0, 256, (2, 90, 120, 3), dtype=np.uint8)
    >>> extract(images, RawPixels((32, 32, 3)), cache=None)
    StoredFeatures of shape (2, 32, 32, 3), uint8: 0 of 2 in the cache
    """

    name = "RawPixels"

    def __init__(
        self, input_shape: tuple[int, int, int] = (64, 64, 3), *, normalises: bool = False, dtype: str = "uint8"
    ):
        *size, channels = input_shape
        if channels not in (1, 3):
            raise ValueError(f"The 'input_shape' parameter must end in 1 or 3 channels. Got {input_shape!r} instead.")
        self.input_shape = (*check_size("input_shape", tuple(size)), int(channels))
        self.normalises = normalises
        self.dtype = dtype

    @property
    def description(self) -> dict[str, Any]:
        """Everything that decides the stored pixels besides the images."""
        return {"pixels": PIXELS_VERSION, "input_shape": list(self.input_shape)}

    def load(self, engine: str = "auto") -> Runner:
        """Return a runner that returns its input.

        Parameters
        ----------
        engine : ignored
        """
        return PixelRunner(self.input_shape)

    def __repr__(self) -> str:
        return f"RawPixels({self.input_shape})"


class PixelRunner(Runner):
    """Returns the pixels it gets, in their own dtype."""

    def __init__(self, input_shape: tuple[int, int, int]):
        self._input_shape = input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self._input_shape

    def run(self, batch: np.ndarray) -> np.ndarray:
        return batch
