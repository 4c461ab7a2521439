"""What all classifiers share whose network is trained: probabilities and export."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.utils.validation import check_is_fitted

from skcnn.classifiers._export import export_network, join
from skcnn.classifiers._image_classifier import ImageClassifier
from skcnn.images._sequence import ImageSequence
from skcnn.images._transformer import check_images


class TrainedClassifier(ImageClassifier):
    """Base of classifiers that train a network.

    A subclass implements `fit`, which sets `classes_`, `_predict_logits` and `_build_parts`. It keeps arrays and no
    live network, so that it can be pickled.
    """

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.

        Returns
        -------
        ndarray of shape (n_images, n_classes), float64
            Columns in the order of `classes_`. Rows sum to 1. Those of unreadable images are NaN where a step of a
            pipeline before asks for it, such as ``AspectAwareResize(on_error="nan")``.

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

    def export(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        """Write the whole trained network, normalisation included, for use without skcnn.

        Beside it the labels are written, in the order of the probabilities: a JSON list named as the export with
        ``.classes.json`` behind, such as ``name.keras.classes.json``.

        Parameters
        ----------
        path : str or Path
            ``name.keras``: a file for `keras.models.load_model`. ``name.xml``, with ``name.bin``: an intermediate
            representation for OpenVINO. ``name``, without a dot: a folder with a SavedModel, for `tf.saved_model.load`
            and TensorFlow Serving. Folders above it are made.
        overwrite : bool, default=False
            Whether an earlier export of that name is replaced.

        Raises
        ------
        ValueError
            For another suffix.
        FileExistsError
            When something of that name exists and `overwrite` is False, or is a folder but no SavedModel.
        ImportError
            When OpenVINO is needed and not installed.
        BackboneError
            When the backbone is not the one this was fitted on, or OpenVINO cannot run the network. It is a ValueError.

        Notes
        -----
        The network takes pixels as the classifier does, float32 of shape (n_images, height, width, channels): RGB in
        [0, 255], unless ``preprocess=None``. It gives the probabilities of `predict_proba`, float32 of shape (n_images,
        n_classes). Images have to be of the size it takes: resizing, and what other steps of a pipeline do, is not part
        of it. On some processors OpenVINO computes in bfloat16, unless it is told not to:
        ``compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})``.
        """
        check_is_fitted(self, "classes_")
        export_network(self._build_network, self.classes_, path, overwrite=overwrite)

    def _build_network(self) -> Any:
        """Return a new Keras model from pixels to probabilities."""
        return join(self._build_parts())

    def _predict_logits(self, images: ImageSequence) -> np.ndarray:
        """Return logits of shape (n_images, n_classes), float64."""
        raise NotImplementedError

    def _build_parts(self) -> list[Any]:
        """Return new Keras models that follow each other, from pixels to logits."""
        raise NotImplementedError


def check_one_view(X: Any, y: Any = None) -> ImageSequence:
    """Return `X` as an `ImageSequence` of one view of each image.

    Raises
    ------
    ValueError
        When `X` holds no images, `y` is of another length, or there are several views and none is chosen.
    """
    images = check_images(X, y)
    if images.n_views > 1 and images.picks is None:
        msg = f"a step makes {images.n_views} views of each image; choose the one to classify: images.with_view(0)"
        raise ValueError(msg)
    return images
