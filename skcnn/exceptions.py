"""Errors and warnings that skcnn raises, each also a familiar built-in one."""

from __future__ import annotations

__all__ = [
    "BackboneError",
    "CheckpointError",
    "EngineWarning",
    "ImageReadError",
    "PixelRangeWarning",
    "PreprocessingError",
    "StoreError",
    "StoreWarning",
]


class ImageReadError(OSError):
    """One or more images are missing or cannot be decoded.

    Attributes
    ----------
    failures : dict of int to str
        For each unreadable image of the call: its position, and what was wrong with it. Empty when the error is about
        a single image outside any sequence.
    """

    def __init__(self, message: str, failures: dict[int, str] | None = None):
        super().__init__(message)
        self.failures = dict(failures or {})

    def __reduce__(self):
        return type(self), (str(self), self.failures)


class BackboneError(ValueError):
    """A backbone, layer or pooling is unknown, or a network cannot be used as asked."""


class CheckpointError(ValueError):
    """A checkpoint is damaged, hostile, not of the format that was expected, or of another training."""


class EngineWarning(UserWarning):
    """A network runs on another engine than the fastest."""


class PixelRangeWarning(UserWarning):
    """The range of pixels that a network expects is not known."""


class StoreError(ValueError):
    """A directory of stored features contradicts its own manifest, or rows in use were removed from it."""


class StoreWarning(UserWarning):
    """The feature store could not do its work; results are right, but were computed again or not kept."""


class PreprocessingError(ValueError):
    """Pixels are not in the range [0, 255]: they were centred or scaled before, or are of more than 8 bits."""
