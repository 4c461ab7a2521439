"""Batches of training data, in another order each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from skcnn.training._epoch_inputs import EpochInputs


def epoch_order(n_images: int, seed: tuple[int, ...], epoch: int) -> np.ndarray:
    """Return the positions of all images in the order of one epoch, the same for the same seed.

    Parameters
    ----------
    n_images : int
    seed : tuple of int
    epoch : int
        From 0 on.

    Returns
    -------
    ndarray of shape (n_images,), int64
    """
    return np.random.default_rng((*seed, epoch)).permutation(n_images)


@dataclass(frozen=True)
class Batches:
    """Inputs, targets and weights, batch by batch.

    Keras is given them as a generator: it would shuffle a ``PyDataset`` by numbers of its own, and reads ahead, so that
    ``on_epoch_end`` comes too early to draw another order.

    Parameters
    ----------
    inputs : EpochInputs
    targets : ndarray of shape (n_images, n_classes), float32
    weights : ndarray of shape (n_images,), float32, or None
        Of the images; of mean 1, so that the learning rate keeps its meaning.
    batch_size : int
    seed : tuple of int
        Of the order (`epoch_order`).
    """

    inputs: EpochInputs
    targets: np.ndarray
    weights: np.ndarray | None
    batch_size: int
    seed: tuple[int, ...]

    @property
    def per_epoch(self) -> int:
        """Number of batches in an epoch; the last may be smaller than the others."""
        return -(-len(self.inputs) // self.batch_size)

    def epochs(self, count: int, begin: int = 0) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield (inputs, targets) or (inputs, targets, weights) batch by batch, for `count` epochs from `begin` on."""
        for epoch in range(begin, begin + count):
            order = epoch_order(len(self.inputs), self.seed, epoch)
            for number, values in enumerate(self.inputs.read(epoch, order, self.batch_size)):
                chosen = order[number * self.batch_size :][: self.batch_size]
                batch = (np.asarray(values, np.float32), self.targets[chosen])
                yield batch if self.weights is None else (*batch, self.weights[chosen])
