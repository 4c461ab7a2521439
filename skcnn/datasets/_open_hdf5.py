"""`open_hdf5`: images and labels of one HDF5 file, which is read row by row when it is needed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from skcnn._validation import check_choice
from skcnn.cache._digests import DIGEST_BYTES
from skcnn.datasets._bunch import label_text, listing, object_array
from skcnn.datasets._open import table_path
from skcnn.images import ImageSequence
from skcnn.images._hdf5 import Hdf5Dataset, Hdf5ImageSources, Hdf5Sources, Hdf5Text, opened, text_of
from skcnn.images._paths import missing_file

if TYPE_CHECKING:
    import h5py
    from sklearn.utils import Bunch

# What names the class of a group of images; some files have "name".
LABEL_ATTRIBUTES = ("label", "name")
LAYOUTS = (
    "'images' (n, height, width, 3) and 'labels' (n,), or a group of images for each class with the attribute 'label'"
)


def open_hdf5(file: str | os.PathLike, *, channels: str = "rgb") -> Bunch:
    """Open images and labels that are kept in one HDF5 file; no image is read yet.

    Files that `pack_hdf5` wrote are read by memory map, however large they are, and features of their images are found
    without reading an image. Files by others may have:

    - ``images`` of shape (n_images, height, width, 3) or (n_images, height, width), of whole numbers or of floats in
      [0, 255], and ``labels`` of shape (n_images,): text, or numbers which ``label_names`` may give names;
    - a group for each class with the attribute ``label``, whose data sets are images of any sizes. It may have groups
      for its subclasses.

    Parameters
    ----------
    file : str or Path
        The file.
    channels : {"rgb", "bgr"}, default="rgb"
        The order in which the file has them. OpenCV reads BGR, and what is written from it as it is has that order.

    Returns
    -------
    Bunch
        ``images``, an `ImageSequence` that goes through splits, searches and every estimator without being read into
        memory and is pickled as the name of the file; ``labels``, ndarray of shape (n_images,), None where there are
        none; ``target_names``, the sorted labels; ``names``, what each image was made of, read when it is indexed;
        ``subclasses``, object ndarray of shape (n_images,) of str, the groups below that of the class, "/"-joined;
        ``channel_means``, float64 of shape (3,), and ``pixel_means``, float64 of shape (height, width, 3), in [0, 255].
        The last four are None where the file does not have them.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is no HDF5 file, is cut short or of another layout, or has not as many labels as images.
    BlockingIOError
        When another process is writing to it.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skcnn.datasets import open_hdf5, pack_hdf5
    >>> images = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), dtype=np.uint8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     packed = pack_hdf5(images, ["cat", "dog", "cat", "dog"], f"{folder}/pets.hdf5", size=32)
    ...     data = open_hdf5(f"{folder}/pets.hdf5")
    ...     first = data.images[0]
    >>> first.shape, data.labels.tolist()
    ((32, 32, 3), ['cat', 'dog', 'cat', 'dog'])
    """
    check_choice("channels", channels, ("rgb", "bgr"))
    path = os.path.abspath(table_path(file))
    try:
        with opened(path) as content:
            if "images" in content:
                return open_rows(path, content, bgr=channels == "bgr")
            return open_classes(path, content, bgr=channels == "bgr")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path!r}: {missing_file(path)}") from error
    except IsADirectoryError as error:
        raise ValueError(f"{path!r} is a folder; skcnn.load_image_folder reads a folder of images") from error
    except BlockingIOError as error:
        raise BlockingIOError(f"{path!r} is being written by another process; open it when that is done") from error
    except PermissionError:
        raise
    except OSError as error:  # of the HDF5 library
        raise ValueError(
            f"{path!r} {'is cut short' if 'truncated' in str(error) else 'is no HDF5 file'}: {error}"
        ) from error


def open_rows(path: str, file: h5py.File, *, bgr: bool) -> Bunch:
    """Return the data of a file whose images are rows of one dataset."""
    images = dataset_of(path, file, "images")
    if (
        len(images.shape) not in (3, 4)
        or images.shape[3:] not in ((), (1,), (3,), (4,))
        or images.dtype.kind not in "buif"
    ):
        msg = f"'images' of {path!r} is {images.dtype} of shape {images.shape}"
        raise ValueError(f"{msg}; expected numbers of shape (n_images, height, width, 1 | 3 | 4)")
    if not images.shape[0]:
        raise ValueError(f"{path!r} holds no images")
    further: dict[str, Any] = {name: dataset_of(path, file, name) for name in ("digests", "names") if name in file}
    for name, dataset in further.items():
        if dataset.shape[:1] != images.shape[:1]:
            raise ValueError(f"{path!r} has {dataset.shape[0]} {name} for {images.shape[0]} images")
    digests = further.get("digests")
    if digests is not None and (digests.dtype, digests.shape[1:]) != (np.uint8, (DIGEST_BYTES,)):
        digests = None
    names = further.get("names")
    if names is not None and names.dtype.kind != "S":
        names = None
    labels = read_labels(path, file)
    if labels is not None and len(labels) != images.shape[0]:
        raise ValueError(f"{path!r} has {len(labels)} labels for {images.shape[0]} images")
    # Digests are of RGB.
    sources = Hdf5Sources(images, None if bgr else digests, names, bgr=bgr and len(images.shape) == 4)
    means = {name: file[name][...] if name in file else None for name in ("channel_means", "pixel_means")}
    return bunch(ImageSequence(sources), labels, names=None if names is None else Hdf5Text(names), **means)


def read_labels(path: str, file: h5py.File) -> np.ndarray | None:
    """Return the labels of a file, by their names where it has them; None where it has no labels."""
    if "labels" not in file:
        return None
    labels = dataset_of(path, file, "labels")
    if len(labels.shape) == 2 and labels.shape[1] == 1:
        values = file["labels"][:, 0]
    elif len(labels.shape) == 1:
        values = file["labels"][...]
    else:
        msg = f"'labels' of {path!r} has the shape {labels.shape}; expected one label for each image, (n_images,)"
        raise ValueError(f"{msg}. Of one-hot rows, argmax(axis=1) gives it")
    if values.dtype.kind not in "iu":
        return values if values.dtype.kind in "fb" else np.array(text_of(values.tolist()), dtype=str)
    if "label_names" not in file:
        return values
    names = np.array(text_of(file["label_names"][...].tolist()), dtype=str)
    wrong = np.unique(values[(values < 0) | (values >= len(names))])
    if len(wrong):
        raise ValueError(f"{path!r} has labels without a name: {wrong[:20].tolist()}; 'label_names' has {len(names)}")
    kind = file["label_names"].attrs.get("dtype")
    return (names if kind is None else names.astype(text_of([kind])[0]))[values]


def open_classes(path: str, file: h5py.File, *, bgr: bool) -> Bunch:
    """Return the data of a file with a group for each class."""
    import h5py

    found: list[tuple[str, str, str]] = []

    def visit(group: h5py.Group, label: str, below: str) -> None:
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{path!r} has a link at '{group.name}/{name}', which is not followed")
            item = group[name]
            if isinstance(item, h5py.Group):
                visit(item, label, f"{below}/{name}".strip("/"))
            elif item.ndim in (2, 3) and item.dtype.kind in "buif" and not (item.external or item.is_virtual):
                found.append((item.name, label, below))

    unlabelled = []
    for name in file:
        item = file.get(name)
        if isinstance(item, h5py.Group):
            attribute = next((item.attrs[key] for key in LABEL_ATTRIBUTES if key in item.attrs), None)
            if attribute is None:
                unlabelled.append(name)
            else:
                visit(item, attribute_text(attribute), "")
    if unlabelled or not found:
        names = [f"{name}: {describe(file.get(name))}" for name in file]
        msg = f"{path!r} has no layout that is known: expected {LAYOUTS}. It has{listing(names) or ' nothing'}"
        raise ValueError(msg)
    images, labels, below = zip(*found, strict=True)
    sources = Hdf5ImageSources(path, np.array(images), bgr=bgr)
    subclasses = object_array(below) if any(below) else None
    return bunch(ImageSequence(sources), np.array(labels), names=np.array(images), subclasses=subclasses)


def attribute_text(value: Any) -> str:
    """Return an attribute that names a class as a label."""
    value = np.asarray(value).item()
    return label_text(value.decode() if isinstance(value, bytes) else value)


def dataset_of(path: str, file: h5py.File, name: str) -> Hdf5Dataset:
    """Return a dataset of a file, or say that there is none of this name."""
    import h5py

    link, item = file.get(name, getlink=True), file.get(name)
    if not isinstance(link, h5py.HardLink) or not isinstance(item, h5py.Dataset):
        raise ValueError(f"{path!r} has no layout that is known: {name!r} is {describe(item)}; expected {LAYOUTS}")
    return Hdf5Dataset(path, name)


def describe(item: Any) -> str:
    """Return what an item of a file is."""
    return f"{item.dtype} of shape {item.shape}" if hasattr(item, "dtype") else f"a {type(item).__name__}"


def bunch(images: ImageSequence, labels: np.ndarray | None, **further: Any) -> Bunch:
    """Return what `open_hdf5` returns."""
    from sklearn.utils import Bunch

    names: dict[str, Any] = {"names": None, "subclasses": None, "channel_means": None, "pixel_means": None}
    targets = None if labels is None else np.unique(labels)
    return Bunch(images=images, labels=labels, target_names=targets, **{**names, **further})
