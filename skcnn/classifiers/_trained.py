"""What all classifiers share whose network is trained: probabilities and labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from skcnn.images._sequence import ImageSequence
from skcnn.images._transformer import check_images, image_tags

__all__ = ["TrainedClassifier", "check_one_view"]


class TrainedClassifier(ClassifierMixin, BaseEstimator):
    """Base of classifiers that train a network.

    A subclass implements `fit`, which sets `classes_`, and `_predict_logits`. It keeps arrays and no live network, so
    that it can be pickled.
    """

    classes_: np.ndarray

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.

        Returns
        -------
        ndarray of shape (n_images, n_classes), float64
            Columns in the order of `classes_`. Rows sum to 1.

        Raises
        ------
        ImageReadError
            Naming every unreadable image.
        PreprocessingError
            When pixels are not in the range that the network normalises. It is a ValueError.
        BackboneError
            When the backbone is not the one this was fitted on. It is a ValueError.
        """
        check_is_fitted(self, "classes_")
        return softmax(self._predict_logits(check_one_view(X)), axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable label of each image.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.

        Returns
        -------
        ndarray of shape (n_images,), of the dtype of `classes_`
        """
        check_is_fitted(self, "classes_")
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _predict_logits(self, images: ImageSequence) -> np.ndarray:
        """Return logits of shape (n_images, n_classes), float64."""
        raise NotImplementedError

    def __sklearn_tags__(self):
        return image_tags(super().__sklearn_tags__())


def check_one_view(X: Any, y: Any = None) -> ImageSequence:
    """Return `X` as an `ImageSequence` of one view of each image.

    Raises
    ------
    ValueError
        When `X` holds no images, `y` is of another length, or there are several views and none is chosen.
    """
    images = check_images(X, y)
    if images.n_views > 1 and images.view is None:
        msg = f"a step makes {images.n_views} views of each image; choose the one to classify: images.with_view(0)"
        raise ValueError(msg)
    return images
