"""`AspectAwareResize`: every image to one size, undistorted."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from skcnn._validation import Check, check_parameters, check_size, one_of
from skcnn.images._sequence import ON_ERROR, ImageSequence
from skcnn.images._steps import INTERPOLATIONS, ResizeCrop, ToGrey
from skcnn.images._transformer import ImageTransformerMixin, check_images, like_input


class AspectAwareResize(ImageTransformerMixin, TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Resize along the shorter side and crop the centre, so that nothing is squeezed.

    Parameters
    ----------
    size : int or (int, int), default=(224, 224)
        Height and width in pixels of every image that comes out.
    interpolation : {"area", "linear", "cubic", "lanczos", "nearest"}, default="area"
        "area" averages when an image shrinks, which keeps fine texture from flickering, and is bilinear when it grows.
    channels : {"rgb", "grey"}, default="rgb"
        "grey" gives images of one channel.
    on_error : {"raise", "nan"}, default="raise"
        What an unreadable image becomes when it is read: an error that names all unreadable images of the call, or an
        image of NaN (and a row of NaN in the features made of it).

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn import AspectAwareResize
    >>> AspectAwareResize((4, 6)).fit_transform(np.zeros((2, 30, 30, 3), np.uint8)).shape
    (2, 4, 6, 3)
    >>> AspectAwareResize(32).fit_transform(["cat.jpg", "dog.jpg"])  # nothing is read yet
    ImageSequence of 2 images (cat.jpg, ...), steps: ResizeCrop(height=32, width=32, interpolation='area')
    """

    _constraints: ClassVar[dict[str, Check]] = {
        "size": check_size,
        "interpolation": one_of(*INTERPOLATIONS),
        "channels": one_of("rgb", "grey"),
        "on_error": one_of(*ON_ERROR),
    }

    def __init__(self, size=(224, 224), *, interpolation="area", channels="rgb", on_error="raise"):
        self.size = size
        self.interpolation = interpolation
        self.channels = channels
        self.on_error = on_error

    def fit(self, X: Any, y: Any = None) -> AspectAwareResize:
        """Check the parameters; there is nothing to learn.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes; only counted, not read.
        y : array-like of shape (n_images,), default=None
            Only its length is checked.

        Returns
        -------
        self
        """
        self._steps()
        check_images(X, y, on_error=self.on_error)
        return self

    def transform(self, X: Any) -> ImageSequence | np.ndarray:
        """Resize and crop.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.

        Returns
        -------
        ImageSequence, or ndarray of shape (n_images, height, width, 3 or 1) when `X` is a numeric ndarray
            Pixels keep their dtype, uint8 or float32. A sequence decodes when it is read, not before.

        Raises
        ------
        ImageReadError
            When `X` is an array and some of its images are not valid.
        """
        steps = self._steps()
        images = check_images(X, on_error=self.on_error)
        for step in steps:
            images = images.with_step(step)
        return like_input(X, images)

    def _steps(self) -> list:
        check_parameters(self)
        height, width = check_size("size", self.size)
        grey = [ToGrey()] if self.channels == "grey" else []
        return [ResizeCrop(height, width, self.interpolation), *grey]

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags
