"""The pixels, features or activations of each epoch: the same ones, stored views in turn, or fresh views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from skcnn.features import StoredFeatures, Trunk
from skcnn.features._extract import fit_trunk
from skcnn.features._stream import stream
from skcnn.features._trunk_extractor import TrunkExtractor
from skcnn.images import Augmentation
from skcnn.images._augmentation import AugmentedViews
from skcnn.images._sequence import ImageSequence


class EpochInputs(Protocol):
    """Inputs of a model that is trained: an array for each image, which may be another in each epoch."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input of one image."""

    def __len__(self) -> int:
        """Return the number of images."""

    def read(self, epoch: int, order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        """Yield the inputs of one epoch, batch by batch.

        Parameters
        ----------
        epoch : int
            From 0 on.
        order : ndarray of shape (n,), int
            Positions of images.
        batch_size : int
        """


class SameInputs:
    """Stored features or activations, the same in each epoch.

    Parameters
    ----------
    stored : StoredFeatures or ndarray of shape (n, ...)
        Read batch by batch, so they may be larger than memory.
    chosen : ndarray of shape (n_images,), int, default=None
        Which of them; None takes all.
    """

    def __init__(self, stored: Any, chosen: np.ndarray | None = None):
        self._stored = stored
        self._chosen = np.arange(len(stored)) if chosen is None else chosen

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self._stored.shape[1:]

    def __len__(self) -> int:
        return len(self._chosen)

    def read(self, epoch: int, order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        """Yield the inputs of one epoch, batch by batch."""
        for start in range(0, len(order), batch_size):
            yield self._stored[self._chosen[order[start : start + batch_size]]]


class StoredViews:
    """Stored views of each image in turn: epoch e trains on view (first + e) mod n_views.

    `first` differs between images, so that each epoch has views of all kinds, and copies of an image mostly differ.

    Parameters
    ----------
    stored : StoredFeatures of shape (n_images, n_views, ...)
    seed : int
        Of the view that each image begins with, `first`.
    """

    def __init__(self, stored: StoredFeatures, seed: int):
        self._stored = stored
        self._n_views = stored.shape[1]
        self._first = np.random.default_rng(seed).integers(self._n_views, size=len(stored))

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self._stored.shape[2:]

    def __len__(self) -> int:
        return len(self._stored)

    def read(self, epoch: int, order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        """Yield the inputs of one epoch, batch by batch."""
        views = self._stored.pick_views(order, (self._first[order] + epoch) % self._n_views)
        for start in range(0, len(order), batch_size):
            yield views[start : start + batch_size]


class FreshViews:
    """A new view of each image in each epoch, warped and taken through the trunk when it is needed.

    A view depends on the image, its position, the epoch and the seed alone. The number of the view
    of an image is even in one epoch and odd in the next.

    Parameters
    ----------
    images : ImageSequence
        As they are without augmentation.
    trunk : Trunk
    augmentation : Augmentation
    epochs : int
        How many there may be.
    seed : int
    engine : str
        What runs the trunk.
    """

    def __init__(
        self, images: ImageSequence, trunk: Trunk, augmentation: Augmentation, *, epochs: int, seed: int, engine: str
    ):
        self._views_of_an_epoch = len(images) | 1  # an odd number, so that they alternate
        step = augmentation.views(epochs * self._views_of_an_epoch, trunk.input_shape[:2], seed=seed)
        self._images = fit_trunk(images.with_step(step), trunk)
        self._extractor = TrunkExtractor(trunk, engine)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self._extractor.output_shape()

    def __len__(self) -> int:
        return len(self._images)

    def read(self, epoch: int, order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        """Yield the inputs of one epoch, batch by batch; the images of the next batches are decoded meanwhile."""
        return stream(
            self._images.pick_views(order, epoch * self._views_of_an_epoch + order), self._extractor, batch_size
        )


class WarpedPixels:
    """A new view of each image in each epoch, warped from stored pixels: no image is decoded again.

    A view depends on the position of the image, the epoch and the seed alone. The number of the view
    of an image is even in one epoch and odd in the next.

    Parameters
    ----------
    stored : StoredFeatures of shape (n_images, height, width, channels)
    views : AugmentedViews
    seed : int
    """

    def __init__(self, stored: StoredFeatures, views: AugmentedViews, seed: int):
        self._stored = stored
        self._views = views
        self._seed = seed

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self._views.height, self._views.width, self._stored.shape[3])

    def __len__(self) -> int:
        return len(self._stored)

    def read(self, epoch: int, order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        """Yield the inputs of one epoch, batch by batch."""
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            pairs = zip(self._stored[chosen], chosen.tolist(), strict=True)
            yield np.stack([self._view(image, epoch, position) for image, position in pairs])

    def _view(self, image: np.ndarray, epoch: int, position: int) -> np.ndarray:
        random = np.random.default_rng([self._seed, epoch, position])
        return self._views.make_view(image, epoch + position, random)
