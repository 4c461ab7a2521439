"""The base of all transformers of images: sources in, sources out; an array in, an array out."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.utils import check_consistent_length

from skcnn._source_code import UnknownCodeError
from skcnn.exceptions import StoreWarning
from skcnn.images._inputs import as_image_sequence, is_pixel_array
from skcnn.images._sequence import ImageSequence


def check_images(X: Any, y: Any = None, *, on_error: str = "raise") -> ImageSequence:
    """Return `X` as an `ImageSequence` after checking it against `y`.

    Raises
    ------
    ValueError
        When `X` holds no images, or `y` is of another length.
    """
    images = as_image_sequence(X, len(y) if hasattr(y, "__len__") else None)
    if y is not None:
        check_consistent_length(images, y)
    # A step before may have asked for NaN already; that is never taken back.
    return images.with_on_error(on_error) if on_error == "nan" else images


def warn_unknown(error: UnknownCodeError) -> None:
    """Warn that features are not stored, because the code that decides them is unknown."""
    msg = f"{error}; what is computed is returned, but not kept. cache=None says the same without a warning."
    warnings.warn(msg, StoreWarning, stacklevel=2)


class ImageTransformerMixin:
    """Mixin for transformers whose input and output are images.

    Feature names and pandas output mean nothing for pictures, so `set_output` is accepted, for the sake of pipelines,
    and changes nothing.
    """

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the one name "image": the output is still one image per row.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of shape (1,), object
        """
        return np.asarray(["image"], dtype=object)

    def set_output(self, *, transform: Any = None) -> Any:
        """Do nothing: images stay images.

        Parameters
        ----------
        transform : ignored

        Returns
        -------
        self
        """
        return self

    def __sklearn_tags__(self):
        return image_tags(super().__sklearn_tags__())  # type: ignore[misc]


def image_tags(tags: Any) -> Any:
    """Return scikit-learn's tags, changed to say that the input is images."""
    tags.no_validation = True
    tags.input_tags.two_d_array = False
    tags.input_tags.three_d_array = True
    tags.input_tags.string = True
    if tags.transformer_tags is not None:
        tags.transformer_tags.preserves_dtype = []
    return tags


def like_input(X: Any, images: ImageSequence) -> ImageSequence | np.ndarray:
    """Return `images` as an array when `X` was one, else as they are."""
    return np.asarray(images) if is_pixel_array(X) else images
