"""`ScikerasClassifier`: scikeras' classifier, fed by images. Importing this module loads Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import ClassifierTags, column_or_1d
from sklearn.utils.validation import check_is_fitted

from skcnn._keras import keras as keras  # first, so that TensorFlow starts without lines about itself
from skcnn._validation import check_size
from skcnn.cache._store import DtypeError
from skcnn.features import RawPixels, extract
from skcnn.images import as_image_sequence
from skcnn.images._failures import refuse_rows_of_nan
from skcnn.images._inputs import is_pixel_array
from skcnn.images._transformer import check_images, image_tags

from scikeras.wrappers import KerasClassifier  # isort: skip


class ScikerasClassifier(KerasClassifier):
    """`scikeras.wrappers.KerasClassifier` that takes images, and that scikit-learn knows to be a classifier.

    Functions that build a network for scikeras work as they are, in pipelines, searches, ensembles and ten crops. Since
    scikit-learn 1.6 the classifier of scikeras 0.13 is not recognised as one, so that `cross_val_score` with an integer
    `cv` does not stratify; this one is.

    Parameters
    ----------
    model : callable or keras.Model
        As of scikeras: a function that returns a Keras model; where it has a parameter ``meta``, it gets the shape of
        the pixels as ``meta["X_shape_"]`` and the number of classes as ``meta["n_classes_"]``.
    input_size : int or (int, int), default=None
        Height and width in pixels that images are resized to. None leaves arrays as they are, and other images in the
        size that a step of a pipeline before gave them, such as `AspectAwareResize`.
    cache : True, path or None, default=True
        Where the pixels of images that are no arrays are kept, so that folds and searches decode none of them again.
    **of_scikeras
        All other parameters are those of scikeras, such as ``loss``, ``optimizer``, ``epochs``, ``callbacks`` and
        ``model__width``, and its attributes, too.

    See Also
    --------
    CNNClassifier : Trains such networks with augmentation, checkpoints and curves, from a cache larger than memory.

    Notes
    -----
    Pixels are uint8 in [0, 255], RGB, in one array in memory: scaling them is up to the network, such as by
    `keras.layers.Rescaling`. Numeric arrays, such as features, are handed on as they are.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from skcnn.classifiers import ScikerasClassifier
    >>> def build(meta, width=4):
    ...     pixels = keras.Input(meta["X_shape_"][1:])
    ...     x = keras.layers.Conv2D(width, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(pixels))
    ...     x = keras.layers.GlobalAveragePooling2D()(x)
    ...     return keras.Model(pixels, keras.layers.Dense(meta["n_classes_"], activation="softmax")(x))
    >>> images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    >>> clf = ScikerasClassifier(build, loss="sparse_categorical_crossentropy", verbose=0, model__width=8)
    >>> clf.fit(images, ["cat", "dog", "cow"] * 2).predict_proba(images).shape
    (6, 3)
    """

    def __init__(self, model=None, *, input_size=None, cache=True, **of_scikeras):
        super().__init__(model, **of_scikeras)
        self.input_size = input_size
        self.cache = cache

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **kwargs: Any) -> ScikerasClassifier:
        """Train the network, as scikeras does.

        Parameters
        ----------
        X : images or numeric array
            Anything `skcnn.images.as_image_sequence` takes; arrays of numbers as they are.
        y : array-like of shape (n_images,)
        sample_weight : array-like of shape (n_images,), default=None
        **kwargs
            For `keras.Model.fit`, as of scikeras.

        Returns
        -------
        self

        Raises
        ------
        ImageReadError
            Naming every unreadable image.
        ValueError
            When the images are of different sizes and there is no `input_size`.
        """
        return super().fit(self._pixels(X, y), as_labels(y), sample_weight, **kwargs)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> ScikerasClassifier:
        """Train the network for one more epoch, as scikeras does.

        Parameters
        ----------
        X, y, sample_weight
            As of `fit`.
        classes : array-like of shape (n_classes,), default=None
            All labels, where `y` of the first call has not all of them.

        Returns
        -------
        self
        """
        return super().partial_fit(self._pixels(X, y), as_labels(y), classes, sample_weight)

    def initialize(self, X: Any, y: Any) -> ScikerasClassifier:
        """Build the network without training it, as scikeras does.

        Parameters
        ----------
        X, y
            As of `fit`.

        Returns
        -------
        self
        """
        return super().initialize(self._pixels(X, y), as_labels(y))

    def predict_proba(self, X: Any, **kwargs: Any) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        X : images or numeric array
            As of `fit`.
        **kwargs
            For `keras.Model.predict`, as of scikeras.

        Returns
        -------
        ndarray of shape (n_images, n_classes), float32
            Columns in the order of `classes_`. Rows of unreadable images are NaN where a step of a pipeline before asks
            for it, such as ``AspectAwareResize(on_error="nan")``.

        Raises
        ------
        ImageReadError
            Naming every unreadable image.
        """
        check_is_fitted(self)
        pixels, failures = self._pixels_and_failures(X)
        probabilities = super().predict_proba(pixels, **kwargs)
        if failures:
            probabilities[failures] = np.nan
        return probabilities

    def predict(self, X: Any, **kwargs: Any) -> np.ndarray:
        """Return the most probable label of each image, as scikeras does.

        Parameters
        ----------
        X : images or numeric array
            As of `fit`.
        **kwargs
            For `keras.Model.predict`, as of scikeras.

        Returns
        -------
        ndarray of shape (n_images,)

        Raises
        ------
        ImageReadError
            Naming every unreadable image, also where a step before asks for rows of NaN.
        """
        check_is_fitted(self)
        images = as_image_sequence(X) if hasattr(X, "__next__") else X  # a generator yields its images once
        pixels, failures = self._pixels_and_failures(images)
        if failures:
            rows = np.zeros((len(pixels), 1))
            rows[failures] = np.nan
            refuse_rows_of_nan(rows, as_image_sequence(images))
        return super().predict(pixels, **kwargs)

    def _pixels(self, X: Any, y: Any) -> Any:
        """Return what there is to train on; unreadable images are errors."""
        if self._takes_as_it_is(X):
            return X
        return self._pixels_and_failures(check_images(X, y).with_on_error("raise"))[0]

    def _takes_as_it_is(self, X: Any) -> bool:
        values = X.to_numpy() if hasattr(X, "to_numpy") else X
        is_numeric = is_pixel_array(values) or hasattr(values, "tocsr")
        return is_numeric and (self.input_size is None or values.ndim < 3)

    def _pixels_and_failures(self, X: Any) -> tuple[Any, list[int]]:
        """Return the pixels of images in one array, and the positions of those that could not be read."""
        if self._takes_as_it_is(X):
            return X, []
        images = check_images(X)
        size = images.image_size if self.input_size is None else check_size("input_size", self.input_size)
        if size is None:
            return np.asarray(images), []
        shape = (*size, 3)
        try:
            stored = extract(images, RawPixels(shape), self.cache)
        except DtypeError:  # a step made pixels that are no uint8
            stored = extract(images, RawPixels(shape, dtype="float32"), self.cache)
        return np.asarray(stored), [*stored.failures]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.estimator_type = "classifier"
        tags.classifier_tags = ClassifierTags()
        tags.target_tags.required = True
        return image_tags(tags)


def as_labels(y: Any) -> Any:
    """Return labels as an array; scikeras makes numbers of lists of strings."""
    return column_or_1d(y, warn=True) if np.asarray(y).ndim == 1 else y
