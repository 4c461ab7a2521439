"""What each epoch is trained on: the same rows, another of the stored views of each image, or a fresh view."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from skcnn.features import StoredFeatures, Trunk
from skcnn.features._extract import fit_trunk
from skcnn.features._stream import stream
from skcnn.features._trunk_rows import TrunkRows
from skcnn.images import Augmentation
from skcnn.images._sequence import ImageSequence


class EpochRows(Protocol):
    """Rows to train on, which may be others in each epoch."""

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of the row of one image."""

    def __len__(self) -> int:
        """Return the number of images."""

    def read(self, epoch: int, order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        """Yield the rows of one epoch, batch by batch.

        Parameters
        ----------
        epoch : int
            From 0 on.
        order : ndarray of shape (n,), int
            Positions of images.
        batch_size : int
        """


class SameRows:
    """Rows that are the same in each epoch.

    Parameters
    ----------
    rows : StoredFeatures or ndarray of shape (n_rows, ...)
        Read batch by batch, so they may be larger than memory.
    chosen : ndarray of shape (n_images,), int, default=None
        Which of the rows; None takes all.
    """

    def __init__(self, rows: Any, chosen: np.ndarray | None = None):
        self._rows = rows
        self._chosen = np.arange(len(rows)) if chosen is None else chosen

    @property
    def row_shape(self) -> tuple[int, ...]:
        return self._rows.shape[1:]

    def __len__(self) -> int:
        return len(self._chosen)

    def read(self, epoch: int, order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        """Yield the rows of one epoch, batch by batch."""
        for start in range(0, len(order), batch_size):
            yield self._rows[self._chosen[order[start : start + batch_size]]]


class StoredViews:
    """Another of the stored views of each image in each epoch, and the first one again after the last.

    Images begin at different views, so that each epoch has views of all kinds, and copies of an image mostly differ.

    Parameters
    ----------
    rows : StoredFeatures of shape (n_images, n_views, ...)
    seed : int
        Of the view that each image begins with.
    """

    def __init__(self, rows: StoredFeatures, seed: int):
        self._rows = rows
        self._n_views = rows.shape[1]
        self._first = np.random.default_rng(seed).integers(self._n_views, size=len(rows))

    @property
    def row_shape(self) -> tuple[int, ...]:
        return self._rows.shape[2:]

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, epoch: int, order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        """Yield the rows of one epoch, batch by batch."""
        views = self._rows.pick_views(order, (self._first[order] + epoch) % self._n_views)
        for start in range(0, len(order), batch_size):
            yield views[start : start + batch_size]


class FreshViews:
    """A view of each image that was not seen before, made and taken through the trunk when it is needed.

    A view depends on the image, its position, the epoch and the seed alone.

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
        step = augmentation.views(epochs * len(images), trunk.input_shape[:2], seed=seed)
        self._images = fit_trunk(images.with_step(step), trunk)
        self._rows = TrunkRows(trunk, engine)

    @property
    def row_shape(self) -> tuple[int, ...]:
        return self._rows.row_shape()

    def __len__(self) -> int:
        return len(self._images)

    def read(self, epoch: int, order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        """Yield the rows of one epoch, batch by batch; the images of the next batches are decoded meanwhile."""
        return stream(self._images.pick_views(order, epoch * len(self) + order), self._rows, batch_size)
