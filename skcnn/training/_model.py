"""The model that is trained: a head, and the tail of a network below it. Importing this module loads Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

__all__ = ["TailAndHead"]


class TailAndHead(keras.Model):
    """A head on a tail; the tail stays in inference mode, so its batch normalisation keeps its statistics.

    A functional model of the two would not do: it hands ``training=True`` down to all its layers, whatever they were
    called with.

    Parameters
    ----------
    tail : keras.Model or None
        From rows to features; None where the rows are the features.
    head : keras.Model
        From features to logits.
    """

    def __init__(self, tail: Any, head: Any):
        super().__init__(name="tail_and_head")
        self.tail = tail
        self.head = head

    def call(self, rows: Any, training: bool = False) -> Any:
        """Return logits of shape (n_images, n_classes)."""
        features = rows if self.tail is None else self.tail(rows, training=False)
        return self.head(features, training=training)

    def logits(self, rows: Any, batch_size: int) -> np.ndarray:
        """Return the logits of all rows, read batch by batch: (n_images, n_classes), float64."""
        # Called, not compiled: tracing a graph takes longer than most tails need for thousands of images.
        batches = [
            np.asarray(self(np.asarray(rows[start : start + batch_size], np.float32), training=False))
            for start in range(0, len(rows), batch_size)
        ]
        return np.concatenate(batches).astype(np.float64)
