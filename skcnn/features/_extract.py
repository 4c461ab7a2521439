"""`extract`: the one way from images through a trunk to stored features."""

from __future__ import annotations

from typing import Any

import numpy as np

from skcnn._validation import check_choice, check_int
from skcnn.backbones._runners import ENGINES
from skcnn.cache._feature_cache import FeatureCache
from skcnn.cache._store import DTYPES
from skcnn.cache._stored_features import StoredFeatures
from skcnn.exceptions import BackboneError
from skcnn.features._trunk import RawPixels, Trunk
from skcnn.features._trunk_extractor import TrunkExtractor, already_normalised_error
from skcnn.images._cached_extraction import CachedExtraction
from skcnn.images._failures import describe_failures, unreadable_error
from skcnn.images._hdf5 import Hdf5Rows, Hdf5Sources
from skcnn.images._inputs import as_image_sequence
from skcnn.images._sequence import ImageSequence
from skcnn.images._steps import ResizeCrop, SubtractMean, ToGrey


def extract(
    images: Any,
    trunk: Trunk,
    cache: Any = True,
    *,
    dtype: str | None = None,
    batch_size: int = 32,
    engine: str = "auto",
    verbose: int | None = None,
    in_memory: bool = False,
) -> StoredFeatures:
    """Take images through a trunk; features that were computed before are read from the cache.

    Parameters
    ----------
    images : images
        Anything `skcnn.images.as_image_sequence` takes. They are resized to what the trunk takes, unless their steps do
        that already. Where steps make several views of an image, all of them are computed and stored together; where
        a view is chosen (`ImageSequence.with_view`), that one is returned.
    trunk : FrozenNetwork or RawPixels
        Or anything else with the attributes of `skcnn.features.Trunk`.
    cache : True, path, FeatureCache or None, default=True
        Where features are stored: in the user's cache directory, a directory of your own, or nowhere.
    dtype : {"float32", "float16", "uint8"}, default=None
        Of the features. None takes what suits the trunk: float32, or uint8 for pixels.
    batch_size : int, default=32
        Images in one pass. It changes memory and speed, not results.
    engine : {"auto", "keras", "openvino"}, default="auto"
        What runs a network.
    verbose : int, default=None
        Progress while images go through the trunk: None shows it where that takes more than a few seconds, 0 never, 1
        always.
    in_memory : bool, default=False
        True reads all features into memory at once, which is faster than indexing them afterwards.

    Returns
    -------
    StoredFeatures of shape (n_images, ...)
        (n_images, n_views, ...) where each image has several views. They are read when they are indexed.
        Images without features are in its `failures`.

    Raises
    ------
    ImageReadError
        Naming every unreadable image, unless the images ask for rows of NaN (``on_error="nan"``). The features of the
        others have been stored by then.
    PreprocessingError
        When the trunk normalises pixels in [0, 255] and these were centred or scaled before. It is a ValueError.
    BackboneError
        When activations are NaN or infinite for every image, or, unless the images ask for rows of NaN, for some. It is
        a ValueError, too.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn.backbones import FrozenNetwork, resolve_backbone
    >>> from skcnn.features import extract
    >>> images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    >>> network = FrozenNetwork(
    ...     resolve_backbone("efficientnet_lite0", None), "block6a_project_bn", pooling=None, input_size=(32, 32)
    ... )
    >>> features = extract(images, network, cache=None)
    >>> features.shape, features[0].shape
    ((2, 1, 1, 192), (1, 1, 192))
    """
    images = as_image_sequence(images)
    pixels = packed_pixels(images, trunk)
    if pixels is not None:
        held = pixels[:] if in_memory else pixels
        return StoredFeatures(-1 - np.arange(len(images)), None, held, failures={})
    extraction = plan_extraction(
        images,
        trunk,
        FeatureCache.open(cache),
        dtype=dtype,
        batch_size=batch_size,
        engine=engine,
        verbose=verbose,
        in_memory=in_memory,
    )
    features = extraction.run()
    if images.on_error == "raise":
        if extraction.failures:
            raise unreadable_error(extraction.images, extraction.failures)
        if extraction.not_finite:
            msg = describe_failures(extraction.images, extraction.not_finite, "have no finite activations")
            raise BackboneError(msg)
    return features


def packed_pixels(images: ImageSequence, trunk: Trunk) -> Hdf5Rows | None:
    """Return the pixels of images that are what a trunk gives of them, in a file of their own; None for all others."""
    if not isinstance(trunk, RawPixels) or not isinstance(images.sources, Hdf5Sources) or images.steps:
        return None
    rows = images.sources.rows
    return rows if rows.dtype == np.dtype(trunk.dtype) == np.uint8 and rows.shape[1:] == trunk.input_shape else None


def plan_extraction(
    images: ImageSequence,
    trunk: Trunk,
    cache: FeatureCache | None,
    *,
    dtype: str | None,
    batch_size: int,
    engine: str,
    verbose: int | None,
    in_memory: bool = False,
) -> CachedExtraction:
    """Check the settings and join images, trunk and store; no image is read yet."""
    dtype = trunk.dtype if dtype is None else dtype
    check_choice("dtype", dtype, DTYPES)
    check_choice("engine", engine, ENGINES)
    check_int("batch_size", batch_size)
    return CachedExtraction.open(
        fit_trunk(images, trunk),
        TrunkExtractor(trunk, engine),
        cache,
        dtype=dtype,
        batch_size=batch_size,
        verbose=verbose,
        in_memory=in_memory,
    )


def fit_trunk(images: ImageSequence, trunk: Trunk) -> ImageSequence:
    """Return images with the steps that give them the size and channels of a trunk, unless they have them already."""
    if trunk.normalises and any(isinstance(step, SubtractMean) for step in images.steps):
        raise already_normalised_error(trunk, "images whose mean was subtracted")
    height, width, channels = trunk.input_shape
    if images.image_size != (height, width):
        images = images.with_step(ResizeCrop(height, width))
    if channels == 1 and ToGrey() not in images.steps:
        images = images.with_step(ToGrey())
    return images
