"""`CNNFeatureExtractor`: images in, activations of a frozen network out."""

from __future__ import annotations

import copy
import numbers
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skcnn._source_code import UnknownCodeError
from skcnn._validation import check_choice, check_positive_int, check_size
from skcnn.backbones import ENGINES, POOLINGS, PRECISIONS, FrozenNetwork, is_keras_model, resolve_backbone
from skcnn.backbones._network import Cut
from skcnn.cache._digests import open_memo
from skcnn.cache._directory import cache_directory
from skcnn.cache._json_memo import JsonMemo
from skcnn.cache._store import CacheInfo, open_store
from skcnn.exceptions import BackboneError
from skcnn.features._network_rows import NetworkRows, already_normalised_error
from skcnn.images import (
    ImageSequence,
    ResizeCrop,
    SubtractMean,
    ToGrey,
    check_images,
    describe_failures,
    image_tags,
    unreadable_error,
)
from skcnn.images._cached_rows import CachedRows
from skcnn.images._transformer import warn_unknown

__all__ = ["CNNFeatureExtractor"]

DTYPES = ("float32", "float16")
DECODES = ("exact", "fast")


class CNNFeatureExtractor(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn images into the activations of a pretrained network, each image once in its life.

    What the network made of an image is kept on disk under the content of the image, so cross-validation, grid searches
    and later sessions read it back instead of computing it again.

    Parameters
    ----------
    backbone : str, path or keras.Model, default="efficientnet_lite0"
        A name of `skcnn.backbones.backbone_names`, the path of a ``.keras`` file, or a Keras model. The default comes
        with its ImageNet weights and needs no download.
    weights : "imagenet", None or path, default="imagenet"
        For names: the published weights, seeded random values, or a file.
    layer : str or int, default=None
        Whose output to take, by name or index (`skcnn.backbones.layers` lists them). None takes the last one before
        the classification head.
    pooling : {"avg", "max", "flatten", None}, default="avg"
        How the positions of a layer whose output is an image become one row. None keeps them: rows of shape (height,
        width, channels).
    input_size : int or (int, int), default=None
        Height and width in pixels the images are resized to. None takes the size the backbone was trained on.
    preprocess : {"auto", None}, default="auto"
        "auto" applies the backbone's own normalisation to RGB pixels in [0, 255], and refuses pixels that were centred
        before. None feeds pixels as they are. A model of your own is fed pixels as they are in either case.
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
    decode : {"exact", "fast"}, default="exact"
        "fast" lets libjpeg shrink large JPEGs while decoding, never below the size that is needed.
    dtype : {"float32", "float16"}, default="float32"
        What features are kept and returned in. "float16" halves the disk space.
    on_error : {"raise", "nan"}, default="raise"
        What an unreadable image leads to: an error that names all of them, after the features of the others have been
        stored; or a row of NaN, listed in `errors_`. The same holds for an image whose activations are not finite.
        Pixels in another range than the network expects are an error in either case.
    verbose : int, default=0
        1 shows a progress bar while images go through the network.

    Attributes
    ----------
    feature_shape_ : tuple of int
        Shape of the features of one image.
    errors_ : list of (int, str, str)
        Position, name and reason of each image that the last `transform` could not read.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn import CNNFeatureExtractor
    >>> images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    >>> extractor = CNNFeatureExtractor(weights=None, input_size=32, cache=None)
    >>> extractor.fit_transform(images).shape
    (2, 1280)
    """

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
        decode="exact",
        dtype="float32",
        on_error="raise",
        verbose=0,
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
        self.feature_shape_ = self._rows(check_images(X, y, on_error=self.on_error)).row_shape()
        self.errors_: list[tuple[int, str, str]] = []
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the features of images.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.

        Returns
        -------
        ndarray of shape (n_images, n_features), or (n_images, *feature_shape_) with ``pooling=None``
            Of `dtype`.

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
        images = check_images(X, on_error=self.on_error)
        rows = self._rows(images)
        self.errors_ = []
        features = rows.run()
        if images.on_error == "raise":
            if rows.failures:
                raise unreadable_error(images, rows.failures)
            if rows.not_finite:
                raise BackboneError(describe_failures(images, rows.not_finite, "have no finite activations"))
        failures = {**rows.failures, **rows.not_finite}
        self.errors_ = [(i, images.sources.name(i), reason) for i, reason in sorted(failures.items())]
        return features

    def cache_info(self) -> CacheInfo:
        """Return how often the store answered, and what it holds.

        Returns
        -------
        CacheInfo
            `hits` and `misses` of this process with these settings, whichever clone asked; `rows` and `bytes` on disk.
            All 0 with ``cache=None``.
        """
        check_is_fitted(self, "feature_shape_")
        directory = cache_directory(self.cache)
        if directory is None or self._description is None:
            return CacheInfo(0, 0, 0, 0)
        return open_store(directory, self._description, self.dtype).info()

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

    def _rows(self, images: ImageSequence) -> CachedRows:
        """Join images, network and store."""
        self._check_parameters()
        directory = cache_directory(self.cache)
        network = self._network()
        images = fit_network(images, network).with_decode(self.decode)
        self._description = try_to_describe(images, network, directory) if directory else None
        store = memo = None
        if directory and self._description:
            store, memo = open_store(directory, self._description, self.dtype), open_memo(directory)
        return CachedRows(
            images,
            NetworkRows(network, self.engine),
            store=store,
            memo=memo,
            dtype=np.dtype(self.dtype),
            batch_size=self.batch_size,
            verbose=self.verbose,
        )

    def _network(self) -> FrozenNetwork:
        size = None if self.input_size is None else check_size("input_size", self.input_size)
        # A search over np.arange gives NumPy's integers, which are no JSON.
        layer = int(self.layer) if isinstance(self.layer, numbers.Integral) else self.layer
        backbone = resolve_backbone(self.backbone, self.weights)
        return FrozenNetwork(backbone, layer, self.pooling, size, self.preprocess, self.precision)

    def _check_parameters(self) -> None:
        check_choice("pooling", self.pooling, POOLINGS)
        check_choice("preprocess", self.preprocess, ("auto", None))
        check_choice("engine", self.engine, ENGINES)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("decode", self.decode, DECODES)
        check_choice("dtype", self.dtype, DTYPES)
        check_positive_int("batch_size", self.batch_size)
        if self.layer is not None and not isinstance(self.layer, (str, numbers.Integral)):
            raise ValueError(f"The 'layer' parameter must be a name, an index or None. Got {self.layer!r} instead.")

    def __sklearn_clone__(self) -> CNNFeatureExtractor:
        if not is_keras_model(self.backbone):
            return super().__sklearn_clone__()
        # A network is read, never written: clones share it, where a copy each would fill the memory.
        light = copy.copy(self)
        light.backbone = None
        clone = super(CNNFeatureExtractor, light).__sklearn_clone__()
        clone.backbone = self.backbone
        return clone

    def __sklearn_tags__(self):
        tags = image_tags(super().__sklearn_tags__())
        tags.input_tags.allow_nan = False
        return tags


def fit_network(images: ImageSequence, network: FrozenNetwork) -> ImageSequence:
    """Return images with the steps that bring them to what a network takes, unless they have them already."""
    if network.normalises and any(isinstance(step, SubtractMean) for step in images.steps):
        raise already_normalised_error(network, "images whose mean was subtracted")
    height, width, channels = network.input_shape
    if images.image_size != (height, width):
        images = images.with_step(ResizeCrop(height, width))
    if channels == 1 and ToGrey() not in images.steps:
        images = images.with_step(ToGrey())
    return images


def try_to_describe(images: ImageSequence, network: FrozenNetwork, directory: Path) -> dict[str, Any] | None:
    """Return everything that decides the features of an image, as JSON types; None, with a warning, if that is unknown.

    Parameters
    ----------
    directory : Path
        Of the cache, where the place of a cut is looked up, so that a warm run need not build the graph.
    """
    try:
        return {"network": network.describe(find_cut(network, directory)), **images.describe()}
    except UnknownCodeError as error:
        warn_unknown(error)
        return None


def find_cut(network: FrozenNetwork, directory: Path) -> Cut:
    """Return where a network is cut, from the cache where it is known."""
    if network.backbone.in_memory:
        return network.cut()
    memo = _cut_memos.setdefault(directory, JsonMemo(directory / "layers"))
    question = network.cut_key()
    answer = memo.get(question)
    if isinstance(answer, list) and list(map(type, answer)) == [str, bool]:
        return Cut(*answer)
    cut = network.cut()
    memo.put(question, list(cut))
    return cut


_cut_memos: dict[Path, JsonMemo] = {}
