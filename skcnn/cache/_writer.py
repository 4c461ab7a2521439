"""Collect features batch by batch, and write them to a store one shard at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from skcnn.cache._digests import DIGEST_BYTES
from skcnn.cache._directory import warn_not_kept
from skcnn.cache._store import FeatureStore

# A shard is written when any of these is reached; a killed process loses at most what came after the last shard.
SHARD_ROWS = 4096
SHARD_BYTES = 64 << 20
SHARD_SECONDS = 15.0


class ShardWriter:
    """Adds features to a store. If writing fails, it warns once and hands the features back through `keep`.

    Parameters
    ----------
    store : FeatureStore
        Whose `writing` the caller holds.
    keep : callable of (list of bytes, ndarray)
        Takes digests and features that could not be written.
    """

    def __init__(self, store: FeatureStore, keep: Callable[[Sequence[bytes], np.ndarray], None]):
        self.store: FeatureStore | None = store
        self._keep = keep
        self._digests: list[bytes] = []
        self._features: list[np.ndarray] = []
        self._begun = time.monotonic()

    def add(self, digests: Sequence[bytes], features: np.ndarray) -> None:
        """Add features; they are written once there are enough for a shard.

        Parameters
        ----------
        digests : sequence of bytes
            20 of each image.
        features : ndarray of shape (n_images, ...)
        """
        if self.store is None:
            self._keep(digests, features)
            return
        self._digests += digests
        self._features.append(features)
        n_bytes = len(self._digests) * features[0].nbytes if len(features) else 0
        age = time.monotonic() - self._begun
        if len(self._digests) >= SHARD_ROWS or n_bytes >= SHARD_BYTES or age >= SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the remaining features as a shard."""
        self._begun = time.monotonic()
        if self.store is None or not self._digests:
            return
        digests, features = self._digests, np.concatenate(self._features)
        self._digests, self._features = [], []
        try:
            self.store.put(np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES), features)
        except OSError as error:
            warn_unwritable(self.store, error)
            self.store = None
            self._keep(digests, features)


def warn_unwritable(store: FeatureStore, error: OSError) -> None:
    """Warn that the directory of a store cannot be written."""
    problem = f"the feature store {store.directory} cannot be written ({error})"
    warn_not_kept(problem, cause=(store.directory.parent, error.errno))
