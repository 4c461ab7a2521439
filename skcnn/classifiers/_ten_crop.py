"""`TenCropClassifier`: the mean of the predictions for ten crops of each image."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.special import softmax
from sklearn.base import MetaEstimatorMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted, column_or_1d

from skcnn._private import check_method_params, safe_indexing
from skcnn._validation import Check, check_flag, check_parameters, check_size, one_of
from skcnn.classifiers._export import average_of_views, export_network
from skcnn.classifiers._network_classifier import NetworkClassifier
from skcnn.classifiers._wrapper import ClassifierWrapper, check_plain_images, check_predicts_proba, describe_estimator
from skcnn.exceptions import ImageReadError
from skcnn.images import ResizeCrop, TenCrop
from skcnn.images._failures import unreadable_error
from skcnn.images._sequence import ImageSequence
from skcnn.inspection._history_display import history_of
from skcnn.metrics import ScoreTable

AVERAGES = ("mean", "geometric", "max")
# The estimator gets the crops of so many images at a time: the features of all crops need not fit in memory at once.
IMAGES_AT_ONCE = 256


class TenCropClassifier(MetaEstimatorMixin, ClassifierWrapper):
    """Average the predictions for ten crops of each image: the corners, the centre, and the same mirrored.

    Where the crops are as large as the images, there are two: the whole image and its mirror image. That costs one more
    pass; networks that were trained on mirror images gain a little.

    An image is first brought to the size `resize`: resized until it covers that, enlarged (bilinear) where it is
    smaller, and its centre cut out. The crops are taken from there, so the ends of an oblong photograph are in none of
    them. It is decoded once for all crops. Their features are stored together, and read back the next time.

    Parameters
    ----------
    estimator : classifier
        Any classifier, or pipeline that ends in one, that takes images and has `predict_proba`. Where it is fitted, and
        `fit` is not called, it is used as it is.
    resize : int or (int, int), default=256
        Height and width in pixels that an image is brought to before it is cut.
    crop_size : int or (int, int), default=224
        Height and width in pixels of each crop, at most `resize`.
    horizontal_flips : bool, default=True
        False leaves out the mirror images: five crops, for images in which left and right mean something.
    average : {"mean", "geometric", "max"}, default="mean"
        How the probabilities of the crops are joined: their mean; their geometric mean; or the highest that a class has
        in any crop. The last two are scaled so that they sum to 1.
    fit_crops : bool, default=False
        What `fit` trains on: False hands the images to `estimator` as they are. True hands it all crops, each with the
        label and the weight of its image; an estimator that splits its data by itself then has crops of one image on
        both sides.

    Attributes
    ----------
    estimator_ : classifier
        The clone of `estimator` that `fit` fitted.
    classes_ : ndarray of shape (n_classes,)
        The labels, as of the fitted estimator.
    history_ : list of dict
        How the estimator was trained, where it keeps that.

    See Also
    --------
    skcnn.images.TenCrop : The crops alone.

    Notes
    -----
    Ten-crop evaluation was introduced with AlexNet: Krizhevsky et al., "ImageNet Classification with Deep Convolutional
    Neural Networks", 2012. Averaging mends some predictions and breaks others: Shanmugam et al., "Better Aggregation in
    Test-Time Augmentation", arXiv 2011.11156. `view_scores` counts both.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skcnn import CNNFeatureExtractor, TenCropClassifier
    >>> images = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), dtype=np.uint8)
    >>> extractor = CNNFeatureExtractor(weights=None, input_size=32, cache=None)
    >>> clf = TenCropClassifier(make_pipeline(extractor, LogisticRegression()), resize=36, crop_size=32)
    >>> clf.fit(images, ["cat", "dog", "cow"] * 2).predict_proba(images).shape
    (6, 3)
    """

    _constraints: ClassVar[dict[str, Check]] = {
        "resize": check_size,
        "crop_size": check_size,
        "average": one_of(*AVERAGES),
        "horizontal_flips": check_flag,
        "fit_crops": check_flag,
    }

    def __init__(self, estimator, *, resize=256, crop_size=224, horizontal_flips=True, average="mean", fit_crops=False):
        self.estimator = estimator
        self.resize = resize
        self.crop_size = crop_size
        self.horizontal_flips = horizontal_flips
        self.average = average
        self.fit_crops = fit_crops

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **fit_params: Any) -> TenCropClassifier:
        """Fit a clone of the estimator.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.
        y : array-like of shape (n_images,)
            Labels.
        sample_weight : array-like of shape (n_images,), default=None
            Handed to the `fit` of the estimator; of a pipeline, to that of its last step.
        **fit_params
            Handed to the `fit` of the estimator, such as ``logisticregression__sample_weight=...`` for a pipeline. With
            ``enable_metadata_routing=True`` they go where they were requested.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters out of range, or a crop that is larger than the image it is cut out of.
        TypeError
            When the estimator has no `predict_proba`, or takes no `sample_weight` and was given one.
        """
        images = check_plain_images(X, y, type(self).__name__)
        check_predicts_proba(self.estimator, type(self).__name__)
        self._check_parameters()
        params = self._params_of_fit(sample_weight, fit_params)["estimator"]
        if self.fit_crops:
            crops = self._crops(images)
            owners = np.repeat(np.arange(len(images)), crops.n_views)
            params = check_method_params(images, params, owners)
            images, y = crops, safe_indexing(column_or_1d(y, warn=True), owners)
        self.estimator_ = clone(self.estimator).fit(images, y, **params)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, averaged over the crops.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.

        Returns
        -------
        ndarray of shape (n_images, n_classes), float64
            Columns in the order of `classes_`. Rows sum to 1, or are NaN where those of the estimator are.

        Raises
        ------
        ImageReadError
            Naming every unreadable image.
        ValueError
            As `fit` does; what the estimator raises is handed on.
        """
        estimator = self._fitted()
        images = check_plain_images(X, None, type(self).__name__)
        self._check_parameters()
        probabilities = np.empty((len(images), len(estimator.classes_)))
        failures: dict[int, str] = {}
        for batch in gen_batches(len(images), IMAGES_AT_ONCE):
            crops = self._crops(images[batch])
            try:
                of_crops = estimator.predict_proba(crops)
            except ImageReadError as error:
                if not error.failures:
                    raise
                failures |= {batch.start + index: reason for index, reason in error.failures.items()}
                continue
            by_image = np.asarray(of_crops, np.float64).reshape(batch.stop - batch.start, -1, of_crops.shape[1])
            probabilities[batch] = average_probabilities(by_image, self.average)
        if failures:
            raise unreadable_error(images, failures)
        return probabilities

    def view_scores(self, X: Any, y: Any) -> ScoreTable:
        """Compare the predictions averaged over the crops with those that the estimator makes of the images themselves.

        Averaging mends some predictions and breaks others; the gain in accuracy is the difference.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.
        y : array-like of shape (n_images,)
            The right labels.

        Returns
        -------
        skcnn.metrics.ScoreTable
            A row "all", then one for each class. Columns: images, their number; single and averaged, the accuracy
            without and with the crops; corrected, how many predictions are right only with them; made_wrong, how many
            only without.
        """
        estimator = self._fitted()
        images = check_plain_images(X, y, type(self).__name__)
        labels = column_or_1d(y)
        single = np.asarray(estimator.predict(images) == labels)
        averaged = np.asarray(self.predict(images) == labels)
        columns: dict[str, Callable[[np.ndarray], Any]] = {
            "images": np.count_nonzero,
            "single": lambda of: single[of].mean(),
            "averaged": lambda of: averaged[of].mean(),
            "corrected": lambda of: np.count_nonzero((averaged & ~single)[of]),
            "made_wrong": lambda of: np.count_nonzero((single & ~averaged)[of]),
        }
        return ScoreTable.by_class(labels, columns)

    def export(self, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
        """Write a network that makes the crops and averages over them, for use without skcnn.

        It takes images of the size `resize`; everything else is as of `FineTunedCNNClassifier.export`.

        Parameters
        ----------
        path : str or Path
            ``name.keras``, ``name.xml`` for OpenVINO, or the name of a folder for a SavedModel.
        overwrite : bool, default=False
            Whether an earlier export of that name is replaced.

        Returns
        -------
        Path
            What was written.

        Raises
        ------
        TypeError
            When the fitted estimator is no `FineTunedCNNClassifier` or `CNNClassifier`, alone or after steps that are
            "passthrough".
        ValueError
            When its network takes images of another size than `crop_size`, or as `FineTunedCNNClassifier.export` does.
        FileExistsError, ImportError
            As `FineTunedCNNClassifier.export` does.
        """
        self._check_parameters()
        inner = self._trained_classifier()
        size = check_size("resize", self.resize)
        settings = {"mirrored": bool(self.horizontal_flips), "average": self.average}

        def build() -> Any:
            network = inner._build_network()
            if network.input_shape[1:3] != check_size("crop_size", self.crop_size):
                height, width = network.input_shape[1:3]
                msg = f"the network takes images of {height} x {width} pixels, and an export does not resize crops"
                raise ValueError(f"{msg}; set the 'crop_size' parameter to ({height}, {width})")
            return average_of_views(network, size, self._ten_crop().boxes(size), **settings)

        return export_network(build, self.classes_, path, overwrite=overwrite)

    def _trained_classifier(self) -> NetworkClassifier:
        """Return the network that was trained, if the crops go into it as they are."""
        fitted = inner = self._fitted()
        if isinstance(inner, Pipeline) and all(step in ("passthrough", None) for _, step in inner.steps[:-1]):
            inner = inner.steps[-1][1]
        if isinstance(inner, NetworkClassifier):
            return inner
        msg = f"the estimator is {describe_estimator(fitted)}; only networks of skcnn are exported with their crops"
        raise TypeError(f"{msg}. Export the network alone, or keep the classifier with joblib.dump.")

    @property
    def history_(self) -> list[dict[str, Any]]:
        """How the estimator was trained."""
        try:
            return history_of(self._fitted())
        except (NotFittedError, TypeError) as error:
            raise AttributeError(str(error)) from error

    @property
    def classes_(self) -> np.ndarray:  # type: ignore[override]
        """The labels of the estimator that was fitted."""
        try:
            return self._fitted().classes_
        except NotFittedError as error:
            raise AttributeError(str(error)) from error

    def _fitted(self) -> Any:
        """Return the estimator that was fitted here, or the one that came fitted."""
        if hasattr(self, "estimator_"):
            return self.estimator_
        check_predicts_proba(self.estimator, type(self).__name__)
        try:
            check_is_fitted(self.estimator)
        except NotFittedError:
            msg = f"This {type(self).__name__} instance is not fitted yet, and nor is its estimator; call 'fit' first."
            raise NotFittedError(msg) from None
        return self.estimator

    def _crops(self, images: ImageSequence) -> ImageSequence:
        """Return all crops, those of one image after another, each as an image of its own."""
        resized = images.with_step(ResizeCrop(*check_size("resize", self.resize)))
        return resized.with_step(self._ten_crop()).with_views_apart()

    def _ten_crop(self) -> TenCrop:
        crop = check_size("crop_size", self.crop_size)
        corners = crop != check_size("resize", self.resize)
        return TenCrop(*crop, horizontal_flips=bool(self.horizontal_flips), corners=corners)

    def _check_parameters(self) -> None:
        check_parameters(self)
        resize, crop = check_size("resize", self.resize), check_size("crop_size", self.crop_size)
        if crop[0] > resize[0] or crop[1] > resize[1]:
            msg = f"crops of {crop[0]} x {crop[1]} pixels do not fit in images of {resize[0]} x {resize[1]}"
            raise ValueError(f"{msg}; the 'crop_size' parameter must be at most 'resize', in height and in width")

    def __sklearn_is_fitted__(self) -> bool:
        try:
            self._fitted()
        except (NotFittedError, TypeError):
            return False
        return True


def average_probabilities(probabilities: np.ndarray, average: str) -> np.ndarray:
    """Join the probabilities of several views of each image.

    Parameters
    ----------
    probabilities : ndarray of shape (n_images, n_views, n_classes), float64
    average : {"mean", "geometric", "max"}

    Returns
    -------
    ndarray of shape (n_images, n_classes), float64
        Rows sum to 1.
    """
    if average == "geometric":
        # A probability of 0 in one view would make the product 0, whatever the others say.
        return softmax(np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)).mean(axis=1), axis=1)
    joined = probabilities.mean(axis=1) if average == "mean" else probabilities.max(axis=1)
    return joined / joined.sum(axis=1, keepdims=True)
