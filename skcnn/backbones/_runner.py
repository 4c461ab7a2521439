"""The interface of runners, which take batches of images through a frozen network."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np


class Runner(ABC):
    """A loaded network that is ready to run.

    Every runner of one network gives the same activations within float32 rounding.
    """

    @property
    @abstractmethod
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the activations of one image."""

    @abstractmethod
    def run(self, batch: np.ndarray) -> np.ndarray:
        """Return the activations of a batch.

        Parameters
        ----------
        batch : ndarray of shape (n_images, height, width, channels), uint8 or float32
            RGB in [0, 255], or whatever the network was asked to take as it is.

        Returns
        -------
        ndarray of shape ``(n_images, *output_shape)``, float32
        """
