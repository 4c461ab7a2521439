"""`MeanSubtract`: centre each colour channel."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skcnn._plain import plain
from skcnn._progress import without_verbosity
from skcnn.cache._feature_cache import FeatureCache
from skcnn.images._channel_sums import channel_statistics
from skcnn.images._inputs import as_image_sequence, is_pixel_array
from skcnn.images._sequence import ImageSequence
from skcnn.images._steps import SubtractMean
from skcnn.images._transformer import ImageTransformerMixin, check_images, like_input

# Of the ImageNet training images, RGB in [0, 255].
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


class MeanSubtract(ImageTransformerMixin, TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Subtract the mean of each colour channel, learned from the training images.

    Parameters
    ----------
    mean : None, tuple of float, dict or "imagenet", default=None
        None learns it; (r, g, b) or {"R": r, "G": g, "B": b} gives it, in [0, 255]; "imagenet" takes the published
        means of the ImageNet training set.
    std : None, True or tuple of float, default=None
        What to divide by afterwards: nothing, the standard deviation of each channel (learned, or ImageNet's where
        ``mean="imagenet"``), or the numbers given, all above 0.
    cache : True, path or None, default=True
        Where the sums of each image are kept, as in `CNNFeatureExtractor`: every fold of a search asks for them again,
        and each image is decoded once.
    verbose : int, default=None
        Progress while images are decoded: None shows it where that takes more than a few seconds, 0 never, 1 always.

    Attributes
    ----------
    mean_ : ndarray of shape (n_channels,), float64
        The means that are subtracted, in the order R, G, B.
    std_ : ndarray of shape (n_channels,), float64, or None
        What the result is divided by.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn import MeanSubtract
    >>> images = np.stack([np.full((2, 2, 3), value, np.uint8) for value in (10, 30)])
    >>> MeanSubtract(cache=None).fit(images).mean_
    array([20., 20., 20.])
    >>> MeanSubtract(cache=None).fit_transform(images)[:, 0, 0, 0]
    array([-10.,  10.], dtype=float32)
    """

    def __init__(self, mean=None, *, std=None, cache=True, verbose=None):
        self.mean = mean
        self.std = std
        self.cache = cache
        self.verbose = verbose

    def __getstate__(self) -> dict[str, Any]:
        return without_verbosity(super().__getstate__())

    def fit(self, X: Any, y: Any = None) -> MeanSubtract:
        """Learn the mean (and the standard deviation) of each channel over all pixels of all images.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes; read only when something is to be learned.
        y : array-like of shape (n_images,), default=None
            Only its length is checked.

        Returns
        -------
        self

        Raises
        ------
        ImageReadError
            Naming every image that cannot be read.
        """
        images = check_images(X, y)
        asked = plain(self.std)
        mean, std = given_mean(self.mean), given_std(asked, self.mean)
        learns_std = asked is True and std is None
        if mean is None or learns_std:
            learned_mean, learned_std = channel_statistics(images, FeatureCache.open(self.cache), self.verbose)
            mean = learned_mean if mean is None else mean
            std = learned_std if learns_std else std
        if std is not None and (len(std) != len(mean) or min(std) <= 0):
            raise ValueError(f"std needs {len(mean)} numbers above 0, one per channel of the mean; got {std}")
        self.mean_ = np.asarray(mean, np.float64)
        self.std_ = None if std is None else np.asarray(std, np.float64)
        return self

    def transform(self, X: Any) -> ImageSequence | np.ndarray:
        """Centre the images.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.

        Returns
        -------
        ImageSequence, or ndarray of shape (n_images, height, width, n_channels) when `X` is a numeric ndarray
            float32, around 0.
        """
        check_is_fitted(self)
        return like_input(X, as_image_sequence(X).with_step(self._step()))

    def inverse_transform(self, X: Any) -> ImageSequence | np.ndarray:
        """Bring centred images back to pixels that can be shown.

        Parameters
        ----------
        X : ImageSequence made by `transform`, or array-like of shape (n_images, height, width, n_channels)
            Centred images.

        Returns
        -------
        ImageSequence, or ndarray of shape (n_images, height, width, n_channels), uint8
            In [0, 255].
        """
        check_is_fitted(self)
        if isinstance(X, ImageSequence):
            if not X.steps or X.steps[-1] != self._step():
                raise ValueError(f"the last step of these images is not {self._step()}; nothing is there to undo")
            return X.without_last_step()
        centred = X if is_pixel_array(X) else np.asarray(as_image_sequence(X))
        pixels = centred * (1 if self.std_ is None else self.std_) + self.mean_
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)

    def _step(self) -> SubtractMean:
        std = None if self.std_ is None else tuple(self.std_.tolist())
        return SubtractMean(tuple(self.mean_.tolist()), std)


def given_mean(mean: Any) -> tuple[float, ...] | None:
    """Return the mean the user named, None when it is to be learned."""
    if mean is None:
        return None
    if isinstance(mean, str):
        if mean == "imagenet":
            return IMAGENET_MEAN
        raise ValueError(f"The 'mean' parameter must be None, 'imagenet', (r, g, b) or a dict. Got {mean!r} instead.")
    if isinstance(mean, dict):
        if set(mean) != set("RGB"):
            raise ValueError(f"a mean given as a dict has the keys 'R', 'G' and 'B'. Got {sorted(map(str, mean))}.")
        mean = [mean[channel] for channel in "RGB"]
    return as_floats("mean", mean)


def given_std(std: Any, mean: Any) -> tuple[float, ...] | None:
    """Return the standard deviation the user named, None when there is none or it is to be learned."""
    if std is None or std is False:
        return None
    if std is True:
        return IMAGENET_STD if isinstance(mean, str) and mean == "imagenet" else None
    return as_floats("std", std)


def as_floats(name: str, values: Any) -> tuple[float, ...]:
    """Return one or three finite numbers as floats."""
    try:
        numbers = np.asarray(values, np.float64).ravel()
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.size not in (1, 3) or not np.isfinite(numbers).all():
        raise ValueError(
            f"The {name!r} parameter must be one finite number per channel, (r, g, b). Got {values!r} instead."
        )
    return tuple(numbers.tolist())
