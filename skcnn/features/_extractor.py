"""`CNNFeatureExtractor`: images in, activations of a frozen network out."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skcnn._private import output_config
from skcnn._validation import Check, check_parameters, one_of
from skcnn.backbones import FrozenNetwork
from skcnn.backbones._network import POOLINGS
from skcnn.backbones._runners import PRECISIONS
from skcnn.cache import CacheInfo, FeatureCache
from skcnn.features._backbone_parameters import BackboneParameters
from skcnn.features._extract import extract, plan_extraction
from skcnn.images._sequence import ON_ERROR, ImageSequence
from skcnn.images._transformer import check_images, image_tags

DTYPES = ("float32", "float16")


class CNNFeatureExtractor(BackboneParameters, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn images into the activations of a pretrained network, computed once and then read from the cache.

    Features are stored on disk under the digest of the image's bytes, so cross-validation, grid searches and later
    sessions read them back.

    Parameters
    ----------
    backbone : str, path or keras.Model, default="efficientnet_lite0"
        A name of `skcnn.backbones.backbone_names`, the path of a ``.keras`` file or of a whole model in ``.h5``, or a
        Keras model. The default comes with its ImageNet weights and needs no download.
    weights : "imagenet", None or path, default="imagenet"
        For names: the published weights, seeded random values, or a file.
    layer : str or int, default=None
        Whose output to take, by name or index (`skcnn.backbones.layers` lists them). None takes the last one before
        the classification head whose output is an image, or, where there are none, the last one before the head. Of a
        Keras model or file in which that cannot be told, or with several outputs, an error asks for it. Of a network
        with several inputs, a layer that needs one of images alone.
    pooling : {"avg", "max", "flatten", None}, default="avg"
        How the positions of a layer whose output is an image become one row. None keeps them: rows of shape (height,
        width, channels).
    input_size : int or (int, int), default=None
        Height and width in pixels the images are resized to. None takes the size the backbone was trained on.
    preprocess : {"auto", None}, default="auto"
        "auto" applies the backbone's own normalisation to RGB pixels in [0, 255], and refuses pixels that were centred
        before. A model of `keras.applications` is recognised by its layers; any other model of your own is fed pixels
        as they are, with a `PixelRangeWarning` where no layer of it tells that it takes [0, 255]. None feeds pixels as
        they are, without a warning.
    cache : True, path or None, default=True
        Where activations are kept: in the user's cache directory (`SKCNN_CACHE_DIR` names another), in a directory of
        your own, or nowhere.
    batch_size : int, default=32
        Images in one pass through the network. It changes memory and speed, not results.
    engine : {"auto", "keras", "openvino"}, default="auto"
        What runs the network. "auto" takes OpenVINO where it is installed (``pip install 'skcnn[fast]'``) and no GPU is
        visible. Features agree within float32 rounding, so all engines share what is stored.
    precision : {"float32", "bfloat16"}, default="float32"
        What the network computes in. "bfloat16" needs OpenVINO, and is faster where the processor has it.
    decode : {"fast", "exact"}, default="fast"
        "fast" lets libjpeg shrink large JPEGs by 2, 4 or 8 while decoding, never below 1.5 times the size that is
        needed; "exact" decodes all pixels.
    dtype : {"float32", "float16"}, default="float32"
        What features are kept and returned in. "float16" halves the disk space.
    on_error : {"raise", "nan"}, default="raise"
        What an unreadable image leads to: an error that names all of them, after the features of the others have been
        stored; or a row of NaN, listed in `errors_`. The same holds for an image whose activations are not finite.
        Pixels in another range than the network expects are an error in either case.
    verbose : int, default=None
        Progress while images go through the network: None shows it where that takes more than a few seconds, 0 never, 1
        always.

    Attributes
    ----------
    feature_shape_ : tuple of int
        Shape of the features of one image.
    errors_ : list of (int, str, str)
        Position, name and reason of each image that the last `transform` in this thread gave no features. A thread that
        called no `transform` gets those of the last one in any thread.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn import CNNFeatureExtractor
    >>> images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    >>> extractor = CNNFeatureExtractor(weights=None, input_size=32, cache=None)
    >>> extractor.fit_transform(images).shape
    (2, 1280)
    """

    _network_parameters: ClassVar = (*BackboneParameters._network_parameters, "precision", "dtype")
    _constraints: ClassVar[dict[str, Check]] = {
        "pooling": one_of(*POOLINGS),
        "precision": one_of(*PRECISIONS),
        "dtype": one_of(*DTYPES),
        "on_error": one_of(*ON_ERROR),
    }

    def __init__(
        self,
        backbone="efficientnet_lite0",
        *,
        weights="imagenet",
        layer=None,
        pooling="avg",
        input_size=None,
        preprocess="auto",
        cache=True,
        batch_size=32,
        engine="auto",
        precision="float32",
        decode="fast",
        dtype="float32",
        on_error="raise",
        verbose=None,
    ):
        self.backbone = backbone
        self.weights = weights
        self.layer = layer
        self.pooling = pooling
        self.input_size = input_size
        self.preprocess = preprocess
        self.cache = cache
        self.batch_size = batch_size
        self.engine = engine
        self.precision = precision
        self.decode = decode
        self.dtype = dtype
        self.on_error = on_error
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> CNNFeatureExtractor:
        """Check the parameters and the kind of input; there is nothing to learn, and no image is read.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.
        y : array-like of shape (n_images,), default=None
            Only its length is checked.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters out of range, an unknown backbone or layer (the closest are named), or no images.
        """
        images, network, settings = self._prepare(X, y)
        extraction = plan_extraction(images, network, FeatureCache.open(self.cache), **settings)
        self.feature_shape_ = extraction.output_shape()
        self._keep_parameters()
        self._description = None if extraction.store is None else extraction.store.description
        self._errors = ErrorsOfThreads()
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the features of images.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.

        Returns
        -------
        ndarray of shape ``(n_images, *feature_shape_)``, which is (n_images, n_features) where positions are pooled
            Of `dtype`. `skcnn.features.extract` gives the same without reading it into memory. With
            ``set_output(transform="pandas")`` a DataFrame, whose index is that of the table the images came from.

        Raises
        ------
        ImageReadError
            Naming every unreadable image, when ``on_error="raise"``.
        PreprocessingError
            When pixels were centred or scaled before and ``preprocess="auto"``, whatever `on_error` says. It is a
            ValueError.
        BackboneError
            When the network gives NaN or infinite activations for every image, or, with ``on_error="raise"``, for some;
            the message names them. It is a ValueError, too.
        """
        check_is_fitted(self, "feature_shape_")
        images, network, settings = self._as_fitted()._prepare(X)
        errors = self.__dict__.setdefault("_errors", ErrorsOfThreads())
        errors.set([])
        features = extract(images, network, self.cache, in_memory=True, **settings)
        self._description = None if features.store is None else features.store.description
        errors.set([(i, images.name(i), reason) for i, reason in sorted(features.failures.items())])
        return self._keep_index(features[:], images)

    @property
    def errors_(self) -> list[tuple[int, str, str]]:
        """Position, name and reason of each image that the last `transform` gave no features."""
        check_is_fitted(self, "feature_shape_")
        return self.__dict__.setdefault("_errors", ErrorsOfThreads()).get()

    def cache_info(self) -> CacheInfo:
        """Return hits and misses of the store, and its size.

        Returns
        -------
        CacheInfo
            `hits` and `misses` of this process with these settings, in all clones; `images` and `bytes` on disk.
            All 0 with ``cache=None``.
        """
        check_is_fitted(self, "feature_shape_")
        cache = FeatureCache.open(self.cache)
        if cache is None or self._description is None:
            return CacheInfo(0, 0, 0, 0)
        return cache.store(self._description, self.dtype).info()

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of shape (n_features,), object
            "cnnfeatureextractor0", "cnnfeatureextractor1", ...

        Raises
        ------
        ValueError
            With ``pooling=None`` on a layer whose output is an image: such features are no columns.
        """
        check_is_fitted(self, "feature_shape_")
        if len(self.feature_shape_) != 1:
            msg = f"features of shape {self.feature_shape_} are no columns to name; pooling='flatten' makes them so"
            raise ValueError(msg)
        return super().get_feature_names_out(input_features)

    @property
    def _n_features_out(self) -> int:
        return self.feature_shape_[0]

    def _keep_index(self, features: np.ndarray, images: ImageSequence) -> Any:
        """Return features as a frame with the index of the table that the images came from, if pandas was asked for.

        scikit-learn makes the frame, but takes the index from X, and not from what a step before made of a table.
        """
        config = output_config(self)
        if images.index is None or config.get("transform", get_config()["transform_output"]) != "pandas":
            return features
        import pandas as pd

        return pd.DataFrame(features, index=images.index) if features.ndim == 2 else features

    def _prepare(self, X: Any, y: Any = None) -> tuple[ImageSequence, FrozenNetwork, dict[str, Any]]:
        """Return the images, the network, and the settings of `extract`."""
        check_parameters(self)
        images = check_images(X, y, on_error=self.on_error)
        settings = {
            "dtype": self.dtype,
            "batch_size": self.batch_size,
            "engine": self.engine,
            "verbose": self.verbose,
        }
        return images.with_decode(self.decode), self._frozen_network(self.precision), settings

    def __sklearn_tags__(self):
        tags = image_tags(super().__sklearn_tags__())
        tags.input_tags.allow_nan = False
        return tags


class ErrorsOfThreads:
    """The errors of the last call in each thread. A thread that made no call gets those of the last call in any."""

    def __init__(self, errors: list[tuple[int, str, str]] | None = None):
        self._last = errors or []
        self._own = threading.local()

    def set(self, errors: list[tuple[int, str, str]]) -> None:
        """Keep the errors of a call in this thread."""
        self._own.errors = self._last = errors

    def get(self) -> list[tuple[int, str, str]]:
        """Return the errors that this thread should see."""
        return getattr(self._own, "errors", self._last)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.get(),)
