"""The base of all classifiers of images: labels from probabilities, and tags for input that is images."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from skcnn.images._failures import refuse_rows_of_nan
from skcnn.images._inputs import as_image_sequence
from skcnn.images._transformer import image_tags


class ImageClassifier(ClassifierMixin, BaseEstimator):
    """Base of all classifiers of images. A subclass has `fit`, `predict_proba` and, once it is fitted, `classes_`."""

    classes_: np.ndarray

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class."""
        raise NotImplementedError

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable label of each image.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.

        Returns
        -------
        ndarray of shape (n_images,), of the dtype of `classes_`

        Raises
        ------
        ImageReadError
            Naming every unreadable image, also where a step of a pipeline before asks for rows of NaN: there is no
            label that means "unreadable".
        """
        images = as_image_sequence(X) if hasattr(X, "__next__") else X  # a generator yields its images once
        probabilities = self.predict_proba(images)
        if np.isnan(probabilities).any():
            refuse_rows_of_nan(probabilities, as_image_sequence(images))
        return self.classes_[probabilities.argmax(axis=1)]

    def __sklearn_tags__(self):
        return image_tags(super().__sklearn_tags__())
