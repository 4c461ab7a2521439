"""Runners: what takes a batch of images through a frozen network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

__all__ = ["ENGINES", "KerasRunner", "Runner", "make_runner"]

ENGINES = ("auto", "keras")


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
        ndarray of shape (n_images, *output_shape), float32
        """


class KerasRunner(Runner):
    """Runs a model on whatever backend and device Keras uses."""

    def __init__(self, model: Any):
        self.model = model

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the activations of one image."""
        return tuple(self.model.output_shape[1:])

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Return the activations of a batch."""
        # A model of mixed precision gives float16 or bfloat16.
        return np.asarray(self.model.predict_on_batch(batch.astype(np.float32, copy=False)), np.float32)


def make_runner(model: Any, engine: str) -> Runner:
    """Return the runner that `engine` names for a Keras model of raw pixels."""
    return KerasRunner(model)
