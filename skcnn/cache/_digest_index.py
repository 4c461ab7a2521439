"""From digests to positions, for millions of them."""

from __future__ import annotations

import numpy as np


class DigestIndex:
    """Digest -> position, as a sorted array: a dictionary of as many bytes objects would take far more memory.

    Parameters
    ----------
    digests : ndarray of shape (n, 20), uint8
        A digest may occur several times; any of its positions is found.
    """

    def __init__(self, digests: np.ndarray):
        self.digests = digests
        prefixes = prefixes_of(digests)
        self.order = np.argsort(prefixes, kind="stable")
        self.prefixes = prefixes[self.order]

    def with_more(self, digests: np.ndarray) -> DigestIndex:
        """Return the index of these digests and, behind them, some more; only those are sorted."""
        more, both = DigestIndex(digests), object.__new__(DigestIndex)
        places = np.searchsorted(self.prefixes, more.prefixes, side="right")
        both.digests = np.concatenate([self.digests, digests])
        both.order = np.insert(self.order, places, more.order + len(self))
        both.prefixes = np.insert(self.prefixes, places, more.prefixes)
        return both

    def __len__(self) -> int:
        return len(self.digests)

    def find(self, digests: np.ndarray) -> np.ndarray:
        """Return a position of each digest, -1 where it is not there.

        Parameters
        ----------
        digests : ndarray of shape (n_digests, 20), uint8

        Returns
        -------
        ndarray of shape (n_digests,), int64
        """
        positions = np.full(len(digests), -1, np.int64)
        if not len(self) or not len(digests):
            return positions
        prefixes = prefixes_of(digests)
        slots = np.searchsorted(self.prefixes, prefixes)
        undecided = np.arange(len(digests))
        # One round, unless two stored digests share their first eight bytes.
        while len(undecided):
            inside = slots[undecided] < len(self)
            undecided = undecided[inside]
            undecided = undecided[self.prefixes[slots[undecided]] == prefixes[undecided]]
            candidates = self.order[slots[undecided]]
            equal = (self.digests[candidates] == digests[undecided]).all(axis=1)
            positions[undecided[equal]] = candidates[equal]
            undecided = undecided[~equal]
            slots[undecided] += 1
        return positions


def prefixes_of(digests: np.ndarray) -> np.ndarray:
    """Return the first eight bytes of each digest as one number."""
    return np.ascontiguousarray(digests[:, :8]).view(np.uint64).ravel()
