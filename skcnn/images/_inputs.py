"""Turn whatever a user passes as X into an `ImageSequence`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from skcnn.images._sequence import ImageSequence
from skcnn.images._sources import CHANNELS, ArraySources, BytesSources, PathSources, PillowSources, Sources

ACCEPTED = (
    "a list or array of paths, of encoded bytes, of Pillow images, or of (height, width, channels) arrays; one "
    "(n, height, width, 3) array; an ImageSequence; a Series or a single column of paths"
)
# What loaders of data sets call images.
IMAGE_KEYS = ("paths", "images", "filenames")
NAMED_ITEMS = 20
# What an iterator of unknown length may yield: one that does not end would fill the memory.
MOST_BYTES = 4 * 2**30
MOST_ITEMS = 10_000_000


def is_pixel_array(X: Any) -> bool:
    """Whether `X` is one numeric array, whose transform should be an array again."""
    return isinstance(X, np.ndarray) and X.dtype.kind in "buif"


def as_image_sequence(X: Any, n_images: int | None = None) -> ImageSequence:
    """Return `X` as an `ImageSequence`; nothing is read or decoded.

    Parameters
    ----------
    X : images
        A list or 1-d array of str or Path, of bytes, of Pillow images, or of arrays; an ndarray of shape (n_images,
        height, width) or (n_images, height, width, channels); an ImageSequence; a pandas or polars Series; an
        (n_images, 1) column; anything else that ends when it is iterated over.
    n_images : int, default=None
        How many there are to be, where that is known; an iterator that yields more is refused.

    Returns
    -------
    ImageSequence
        `X` itself when it is one already.

    Raises
    ------
    ValueError
        When `X` is empty, a single image or path, yields batches, does not end, or holds things of several kinds; every
        offending item is named.
    """
    if isinstance(X, ImageSequence):
        if not len(X):
            raise no_images_error(X)
        return X
    refuse_single(X)
    refuse_batches(X)
    index = X.index if hasattr(X, "iloc") else None  # of pandas
    refuse_table(X)
    if hasattr(X, "to_numpy"):
        X = X.to_numpy()
    if isinstance(X, np.ndarray) and X.dtype.kind not in "OUT":
        return ImageSequence(array_sources(X), source_index=index)
    items = as_list(X, n_images)
    if not items:
        raise no_images_error(X)
    return ImageSequence(item_sources(items), source_index=index)


def refuse_single(X: Any) -> None:
    """Refuse one path, one encoded image or a mapping: each looks like a sequence to Python."""
    if isinstance(X, (str, os.PathLike)):
        path = str(os.fsdecode(X))
        if os.path.isdir(path):
            msg = (
                f"got the folder {path!r} instead of images; skcnn.find_images({path!r}) finds those in it, and "
                f"skcnn.load_image_folder({path!r}) their labels, too, where each class has a folder of its own"
            )
        else:
            msg = f"got the single path {path!r} instead of a sequence of images; for one image pass a list: [{path!r}]"
        raise ValueError(msg)
    if isinstance(X, (bytes, bytearray, memoryview)):
        raise ValueError(
            f"got {len(X)} encoded bytes instead of a sequence of images; for one image pass a list: [data]"
        )
    if isinstance(X, dict) and (names := [name for name in IMAGE_KEYS if name in X]):
        kind = type(X).__name__
        msg = f"got a {kind} instead of images; give what it has by name: data[{names[0]!r}]"
        raise ValueError(f"{msg}, and as y data[{'labels' if 'labels' in X else 'target'!r}]")
    if X is None or isinstance(X, (dict, set)) or not (hasattr(X, "__len__") or hasattr(X, "__iter__")):
        raise ValueError(f"got {type(X).__name__} instead of images; expected {ACCEPTED}")


def refuse_batches(X: Any) -> None:
    """Refuse the data sets of Keras and PyTorch: batches of images and labels, often without an end."""
    folder = getattr(X, "directory", None)
    if isinstance(folder, (str, os.PathLike)):
        remedy = f"Both are found by skcnn.datasets.load_image_folder({os.fspath(folder)!r})"
    else:
        remedy = "Those of a folder are found by skcnn.datasets.load_image_folder(folder)"
    is_data_set = hasattr(X, "element_spec")
    is_loader = hasattr(X, "batch_size") and (hasattr(X, "dataset") or hasattr(X, "on_epoch_end"))
    if is_data_set or is_loader:
        kind = f"{type(X).__module__.split('.')[0]}'s {type(X).__name__}"
        msg = f"got {kind}, which yields batches; images and labels are passed apart and are batched here: "
        raise ValueError(f"{msg}fit(paths, labels). {remedy}.")


def refuse_table(X: Any) -> None:
    """Refuse a table of several columns, of pandas or polars, of which one may hold the images."""
    columns = [*getattr(X, "columns", ())]
    likely = [name for name in columns if len(X) and is_file_name(X[name][:1].to_numpy()[0])]
    if likely and len(columns) > 1:
        named = ", ".join(map(repr, columns[:NAMED_ITEMS]))
        raise ValueError(f"got a table with the columns {named}; give the one with the images: X[{likely[0]!r}]")


def is_file_name(item: Any) -> bool:
    """Whether an item of a table looks like the path of a file, and not like a label."""
    return isinstance(item, os.PathLike) or (isinstance(item, str) and bool(os.path.splitext(item)[1]))


def no_images_error(X: Any) -> ValueError:
    """Return the error for an input without images."""
    shape = f" of shape {X.shape}" if hasattr(X, "shape") else ""
    msg = f"found 0 images: the {type(X).__name__}{shape} is empty, and at least one image is required"
    if hasattr(X, "__next__"):
        msg += "; what yields items does so once: where it was used before, make a list of it first"
    return ValueError(msg)


def as_list(X: Any, n_images: int | None = None) -> list[Any]:
    """Return the items of a sequence; a single column is taken apart.

    Raises
    ------
    ValueError
        When it yields batches, or does not end.
    """
    if isinstance(X, np.ndarray):
        if X.ndim == 0 or (X.ndim > 1 and X.shape[1:] != (1,)):
            raise ValueError(
                f"got a {X.dtype} array of shape {X.shape}; paths come as (n,) or as one column (n, 1); choose one"
            )
        return X.ravel().tolist() if X.dtype.kind != "O" else list(X.ravel())
    items = take_all(X, n_images)
    if items and all(
        isinstance(item, (list, tuple)) and len(item) == 1 and not isinstance(item[0], (list, tuple)) for item in items
    ):
        return [item[0] for item in items]
    return items


def take_all(X: Any, n_images: int | None) -> list[Any]:
    """Return all items of something that can be iterated over and has to end."""
    if isinstance(X, (list, tuple)):
        return list(X)
    items: list[Any] = []
    size = 0
    length = len(X) if hasattr(X, "__len__") else n_images
    for item in X:
        if not items and is_batch(item):
            msg = f"got a {type(X).__name__} of batches; images and labels are passed apart and are batched here"
            raise ValueError(f"{msg}: fit(paths, labels), or fit(images, labels) with one image for each label")
        items.append(item)
        size += getattr(item, "nbytes", 0)
        if length is not None and len(items) > length:
            what = f"its length of {length}" if hasattr(X, "__len__") else f"the {length} labels in y"
            raise ValueError(f"a {type(X).__name__} yields more images than {what}; give a list of images, or paths")
        if size > MOST_BYTES or len(items) > MOST_ITEMS:
            msg = f"a {type(X).__name__} has yielded {len(items)} images ({size / 1e9:.1f} GB) and goes on"
            raise ValueError(f"{msg}; give paths, which are read when they are needed, or something that ends")
    return items


def is_batch(item: Any) -> bool:
    """Whether an item is (images, labels) or (images, labels, weights), or an array of several images."""
    first = item[0] if isinstance(item, (tuple, list)) and len(item) in (2, 3) else item
    return getattr(first, "ndim", 0) == 4


def array_sources(X: np.ndarray) -> ArraySources:
    """Check the shape of one numeric array of images."""
    if X.dtype.kind not in "buif":
        advice = " (it cuts trailing zero bytes off images: pass a list of bytes, or paths as str)"
        advice = advice if X.dtype.kind == "S" else ""
        raise ValueError(f"got an array of dtype {X.dtype}{advice}; expected {ACCEPTED}")
    if X.size == 0:
        raise no_images_error(X)
    if X.ndim == 3 and X.shape[2] in CHANNELS:
        raise ValueError(f"got a single image of shape {X.shape}; for one image pass X[np.newaxis]")
    if X.ndim not in (3, 4) or (X.ndim == 4 and X.shape[3] not in CHANNELS):
        msg = (
            f"got an array of shape {X.shape}; images come as (n_images, height, width, 1 | 3 | 4) or, in grey, as "
            "(n_images, height, width). Reshape your data (channels go last), or pass a list of images."
        )
        raise ValueError(msg)
    return ArraySources(X[..., np.newaxis] if X.ndim == 3 else X)


def item_sources(items: Sequence[Any]) -> Sources:
    """Check that all items are of one kind, and keep them as sources of that kind."""
    kinds = [kind_of(item) for item in items]
    counts = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
    if len(counts) > 1 or "unknown" in counts:
        usual = max((kind for kind in counts if kind != "unknown"), key=lambda kind: counts[kind], default=None)
        raise mixed_kinds_error(items, kinds, usual)
    if "path" in counts:
        # NumPy's str_ would be pickled at many times the size.
        return PathSources([str(os.path.expanduser(os.fsdecode(item))) for item in items])
    if "bytes" in counts:
        return BytesSources([bytes(item) for item in items])
    if "Pillow image" in counts:
        return PillowSources(items)
    arrays = np.empty(len(items), object)
    for index, item in enumerate(items):
        arrays[index] = np.asarray(item)
    return ArraySources(arrays)


def kind_of(item: Any) -> str:
    """Name the kind of source an item is: path, bytes, Pillow image, array, or unknown."""
    if isinstance(item, (str, os.PathLike)):
        return "path"
    if isinstance(item, (bytes, bytearray, memoryview)):
        return "bytes"
    if hasattr(item, "getbands"):
        return "Pillow image"
    try:
        is_image = np.ndim(item) >= 2
    except (TypeError, ValueError):  # rows of unequal length
        is_image = False
    return "array" if is_image else "unknown"


def mixed_kinds_error(items: Sequence[Any], kinds: Sequence[str], usual: str | None) -> ValueError:
    """Return the error that names the items which are not of the usual kind."""
    odd = [f"[{index}] {shorten(item)}" for index, item in enumerate(items) if kinds[index] != usual]
    named = ", ".join(odd[:NAMED_ITEMS]) + (f" and {len(odd) - NAMED_ITEMS} more" if len(odd) > NAMED_ITEMS else "")
    if usual is None:
        return ValueError(f"these items are no images: {named}; expected {ACCEPTED}")
    return ValueError(f"the images are of several kinds; most are given as {usual}, but not these: {named}")


def shorten(item: Any) -> str:
    """Name an item of any type in a few characters."""
    text = repr(item)
    return f"{type(item).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
