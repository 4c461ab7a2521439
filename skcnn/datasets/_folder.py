"""`load_image_folder`: the labels are in the names of folders or files; `find_images`: there are none."""

from __future__ import annotations

import mimetypes
import os
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from skcnn.datasets._bunch import label_text, listing, make_bunch, object_array, tidy
from skcnn.images._formats import HEAD_BYTES, describe_other, format_of
from skcnn.images._paths import NO_FOLDER, find_file, missing_file
from skcnn.images._sources import open_at_once

if TYPE_CHECKING:
    import numpy as np
    from sklearn.utils import Bunch

# Of every format that skcnn.images decodes. Files of other extensions are known by how they start.
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".dib", ".tif", ".tiff"),
    *(".avif", ".heic", ".heif", ".jp2", ".j2k", ".pnm", ".pbm", ".pgm", ".ppm"),
)

LEVELS = {
    "path": lambda folders: "/".join(folders),
    "top": lambda folders: folders[0],
    "last": lambda folders: folders[-1],
}

# Where macOS archives and network disks keep previews under the names of the images, and systems what was deleted.
SYSTEM_FOLDERS = frozenset(
    {
        *("__macosx", "@eadir", "$recycle.bin", "recycler", "#recycle", "@recycle", "#snapshot", "lost+found"),
        "system volume information",
    }
)

# The types Python knows by itself: those of the machine differ from one to the next.
FILE_TYPES = mimetypes.MimeTypes()

EMPTY_FOLDER = "the folder is empty"
NO_IMAGE = "not an image"
OTHER_EXTENSION = "its extension is not one of `extensions`"

# Reasons that nobody needs to hear of as long as the folder gives images.
ORDINARY = (EMPTY_FOLDER, NO_IMAGE, OTHER_EXTENSION)


def load_image_folder(
    root: str | os.PathLike,
    *,
    label_from: str | re.Pattern[str] | Callable[[PurePosixPath], Any] = "path",
    extensions: Iterable[str] | None = None,
    verify: bool = False,
    verbose: int | bool | None = None,
) -> Bunch:
    r"""Load the paths and labels of the images in a folder and all folders below it.

    Nothing is decoded unless `verify`; a file whose extension says nothing is an image if it starts like one. Hidden
    files and folders (leading dot) and folders of the system (previews, deleted files) are skipped. Links are followed,
    but not back to where they stand.

    Parameters
    ----------
    root : str or Path
        The folder.
    label_from : {"path", "top", "last"}, compiled regular expression, or callable, default="path"
        Where the label of an image is. For ``root/animals/cat/1.jpg``:

        - "path": every folder below `root`, ``animals/cat``; with "/" on every operating system;
        - "top": the first folder below `root`, ``animals``;
        - "last": the folder that holds the image, ``cat``;
        - ``re.compile(...)``: what the group named "label", or else the only group, finds in the file name ``1.jpg``;
        - a callable: what it returns for ``PurePosixPath("animals/cat/1.jpg")``, text or a number.
    extensions : iterable of str, default=None
        Extensions that count as images, in any case. None takes all formats that skcnn decodes, by extension or, where
        it is missing or unknown, by content.
    verify : bool, default=False
        Decode every image now and leave out those that cannot be read, together with their labels, with a warning.
    verbose : int or bool, default=None
        Progress while images are verified: None shows it where that takes more than a few seconds, 0 never, 1 always.

    Returns
    -------
    Bunch
        - ``paths`` : object ndarray of shape (n_images,) of str, `root` included; ordered by the path below `root`,
          in the same way on every machine;
        - ``labels`` : ndarray of shape (n_images,) of str;
        - ``target_names`` : ndarray of shape (n_classes,) of str, the sorted distinct labels;
        - ``rejected`` : list of (path, reason): files of image formats that are not read, what there is instead of
          images in folders that give no class, and what `verify` left out;
        - ``cut_off`` : ndarray of shape (n_images,) of float, or None unless `verify`: the share of each image that is
          outside the largest square in its middle, which is what networks are given;
        - ``groups`` : ndarray of shape (n_images,) of int, or None unless `verify`: the same number for images that are
          copies of each other, byte for byte, for scikit-learn's `StratifiedGroupKFold` and `GroupShuffleSplit`.

        Labels are in Unicode's composed form (NFC), however the file system stores accents.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        When `root` does not exist or is a file.
    ValueError
        When there are no images, images lie directly in `root` and so have no folder to be labelled by, or a regular
        expression or callable gives no label; every such image is counted and the first 20 are named.
    ImageReadError
        When `verify` finds no image that can be read.

    Warns
    -----
    UserWarning
        Naming up to 20 of what was ``rejected``: folders that give no class as no image is in them, files of formats
        that are not read, images that `verify` left out and the classes that have none left. When `verify` finds many
        images that are at least twice as long as wide, or copies of images, perhaps in several classes.

    Examples
    --------
    >>> import re, tempfile
    >>> from pathlib import Path
    >>> from skcnn.datasets import load_image_folder
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for name in ("pets/cat/cat_1.jpg", "pets/dog/dog_1.JPG", "wild/fox/fox_1.png"):
    ...         Path(root, name).parent.mkdir(parents=True)
    ...         Path(root, name).touch()
    ...     data = load_image_folder(root)
    ...     top = load_image_folder(root, label_from="top")
    ...     named = load_image_folder(root, label_from=re.compile(r"^(\w+)_\d+\."))
    >>> data.labels
    array(['pets/cat', 'pets/dog', 'wild/fox'], dtype='<U8')
    >>> top.target_names, named.target_names
    (array(['pets', 'wild'], dtype='<U4'), array(['cat', 'dog', 'fox'], dtype='<U3'))
    """
    check_label_from(label_from)
    folder = check_root(root, "load_image_folder", "the folder that holds the folders of the classes")
    names, others = images_and_others(folder, check_extensions(extensions))
    labels = read_labels(folder, names, label_from)
    rejected = missed_images(names, others, LEVELS.get(label_from) if isinstance(label_from, str) else None)
    warn_missed(folder, rejected, " (the result's `rejected` lists them)")
    paths = [below(folder, name) for name in names]
    data = make_bunch(object_array(paths), labels, paths, verify=verify, verbose=verbose)
    data.rejected[:0] = [(below(folder, name), reason) for name, reason in rejected]
    return data


def find_images(root: str | os.PathLike, *, extensions: Iterable[str] | None = None) -> np.ndarray:
    """Find the images in a folder and all folders below it, such as new ones that a classifier is to label.

    As in `load_image_folder`, nothing is decoded, a file whose extension says nothing is an image if it starts like
    one, and hidden files and folders are skipped.

    Parameters
    ----------
    root : str or Path
        The folder.
    extensions : iterable of str, default=None
        Extensions that count as images, in any case. None takes all formats that skcnn decodes, by extension or, where
        it is missing or unknown, by content.

    Returns
    -------
    object ndarray of shape (n_images,) of str
        Their paths, `root` included; ordered by the path below `root`, in the same way on every machine.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        When `root` does not exist or is a file.
    ValueError
        When there are no images.

    Warns
    -----
    UserWarning
        Naming up to 20 files of image formats that are not read.

    See Also
    --------
    load_image_folder : With a label for each image.
    skcnn.prediction_table : The predictions for each image.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skcnn.datasets import find_images
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for name in ("b.jpg", "a/c.png", "notes.txt"):
    ...         Path(root, name).parent.mkdir(exist_ok=True)
    ...         Path(root, name).touch()
    ...     [Path(path).relative_to(root).as_posix() for path in find_images(root)]
    ['a/c.png', 'b.jpg']
    """
    folder = check_root(root, "find_images", "the folder that holds the images (one image is given as a list: [path])")
    names, others = images_and_others(folder, check_extensions(extensions))
    warn_missed(folder, missed_images(names, others, None), "")
    return object_array([below(folder, name) for name in names])


def check_label_from(label_from: Any) -> None:
    """Raise ValueError unless labels can be had by `label_from`."""
    if isinstance(label_from, re.Pattern):
        groups = label_from.groups
        if not isinstance(label_from.pattern, str) or (groups != 1 and "label" not in label_from.groupindex):
            msg = (
                f"the regular expression in label_from needs one group, or one named 'label' as in (?P<label>...), and "
                f"a pattern of str. Got {label_from.pattern!r} with {groups} groups."
            )
            raise ValueError(msg)
    elif not callable(label_from) and not (isinstance(label_from, str) and label_from in LEVELS):
        text = isinstance(label_from, str)
        remedy = f" A regular expression is passed as label_from=re.compile({label_from!r})." if text else ""
        msg = (
            "The 'label_from' parameter must be 'path', 'top', 'last', a compiled regular expression or a callable. "
            f"Got {label_from!r} instead.{remedy}"
        )
        raise ValueError(msg)


def check_extensions(extensions: Any) -> tuple[str, ...] | None:
    """Return extensions in lower case, with their dot, or None."""
    if extensions is None:
        return None
    given = [] if isinstance(extensions, (str, bytes)) else list(extensions)
    if not given or not all(isinstance(item, str) and item.strip(".") for item in given):
        msg = (
            f"The 'extensions' parameter must be a list such as ['.jpg', '.png'], or None. Got {extensions!r} instead."
        )
        raise ValueError(msg)
    return tuple("." + item.lower().lstrip(".") for item in given)


def check_root(root: Any, loader: str, expected: str) -> str:
    """Return `root` as str after checking that it is a folder; `loader` and `expected` are for the message."""
    if not isinstance(root, (str, os.PathLike)):
        raise TypeError(f"root is the path of a folder, str or Path. Got {type(root).__name__} instead.")
    folder = os.path.expanduser(os.fsdecode(root))
    if "://" in folder:
        msg = (
            f"{folder!r} is an address, and {loader} lists local folders only; list the images in a CSV file "
            "and read it with skcnn.datasets.load_image_csv, which takes addresses"
        )
        raise ValueError(msg)
    if os.path.isfile(folder):
        msg = f"{folder!r} is a file, not a folder of images; pass {expected}"
        raise NotADirectoryError(msg)
    found = find_file(folder)
    if found is None or not os.path.isdir(found):
        raise FileNotFoundError(f"{folder!r}: {missing_file(folder, NO_FOLDER)}")
    return found


def images_and_others(folder: str, wanted: tuple[str, ...] | None) -> tuple[list[str], dict[str, str]]:
    """Return the "/"-joined paths below a folder of its images, and why the others are none.

    Raises
    ------
    ValueError
        When there is no image.
    """
    files = sorted(list_files(folder), key=lambda name: (compose_unicode(name), name))
    others = {name: reason for name in files if (reason := why_no_image(folder, name, wanted)) is not None}
    names = [name for name in files if name not in others]
    if not names:
        raise no_images_error(folder, wanted, others)
    return names, others


def list_files(root: str) -> Iterator[str]:
    """Yield the "/"-joined path below `root` of every file that is not hidden, and of every empty folder, with "/"."""
    pending: list[tuple[str, str, tuple[str, ...]]] = [("", root, (os.path.realpath(root),))]
    while pending:
        prefix, folder, trail = pending.pop()
        empty = True
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower() in SYSTEM_FOLDERS:
                    continue
                linked = entry.is_symlink()
                # DirEntry.is_dir raises for a link to itself.
                if os.path.isdir(entry.path) if linked else entry.is_dir():
                    empty = False
                    real = os.path.realpath(entry.path)
                    if not is_cycle(real, trail):
                        pending.append((f"{prefix}{entry.name}/", entry.path, (*trail, real)))
                elif linked or entry.is_file():  # a broken link too: reading it says so, skipping it would not
                    empty = False
                    yield prefix + entry.name
        if empty and prefix:
            yield prefix


def is_cycle(folder: str, trail: tuple[str, ...]) -> bool:
    """Whether `folder` is, or contains, one of the folders that led to it."""
    return any(seen == folder or seen.startswith(os.path.join(folder, "")) for seen in trail)


def compose_unicode(name: str) -> str:
    """Return `name` in the composed form of Unicode: some file systems take accents apart, others do not."""
    return unicodedata.normalize("NFC", name)


def below(root: str, name: str) -> str:
    """Return the path of a file or folder, given by its "/"-joined path below `root`."""
    return os.path.join(root, *name.rstrip("/").split("/"))


def why_no_image(root: str, name: str, wanted: tuple[str, ...] | None) -> str | None:
    """Return why a file or an empty folder is no image, or None when it is one; `wanted` are the extensions that do."""
    if name.endswith("/"):
        return EMPTY_FOLDER
    extension = os.path.splitext(name)[1].lower()
    if extension in (wanted or EXTENSIONS):
        return None
    if wanted is not None:
        return OTHER_EXTENSION
    kind, packing = FILE_TYPES.guess_type(f"x{extension}")
    if packing is not None or (kind is not None and not kind.startswith("image/")):
        return NO_IMAGE
    try:
        with open(below(root, name), "rb", opener=open_at_once) as file:
            data = file.read(HEAD_BYTES) or b""  # of a pipe None
    except OSError as error:
        return f"it cannot be read: {error}"
    return None if format_of(data) else describe_other(data) or NO_IMAGE


def missed_images(
    names: list[str], others: dict[str, str], level: Callable[[list[str]], str] | None
) -> list[tuple[str, str]]:
    """Return which of the `others` a user would expect among the images, and why they are not.

    Those are files of image formats that are not read, and whatever is in a folder that gives no class.

    Parameters
    ----------
    names : list of str
        The images.
    others : dict of str to str
        Files that are no images, and empty folders, with the reason.
    level : callable or None
        Labels a file by the folders it is in; None where labels do not come from folders.
    """
    folders = {"/".join(parts[:depth]) for name in names for parts in [name.split("/")] for depth in range(len(parts))}
    labels = {level(name.split("/")[:-1]) for name in names} if level else set()
    missed = []
    for name, reason in others.items():
        parts = name.split("/")[:-1]
        gives_no_class = level and parts and "/".join(parts) not in folders and level(parts) not in labels
        if gives_no_class or (reason not in ORDINARY and (parts or not level)):
            missed.append((name, reason))
    return missed


def warn_missed(folder: str, missed: list[tuple[str, str]], where: str) -> None:
    """Warn of files that a user would expect among the images of a folder; called by the loader itself."""
    if missed:
        text = f"these files and folders in {folder!r} give no image{where}:"
        warnings.warn(text + listing(describe_missed(missed)), UserWarning, stacklevel=3)


def describe_missed(missed: list[tuple[str, str]]) -> list[str]:
    """Return a line for each folder and reason in the result of `missed_images`."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, reason in missed:
        groups.setdefault((name.rpartition("/")[0], reason), []).append(name)
    return [
        f"{names[0]}: {reason}" + (f" (and {len(names) - 1} more in {folder}/)" if len(names) > 1 else "")
        for (folder, reason), names in groups.items()
    ]


def no_images_error(root: str, wanted: tuple[str, ...] | None, others: dict[str, str]) -> ValueError:
    """Return the error for a folder without images."""
    files = [f"{name}: {reason}" for name, reason in others.items()]
    found = f"{len(files)} other files or empty folders:{listing(files, 5)}" if files else "no files at all"
    msg = (
        f"found no images in {root!r}: looked there and in every folder below for names ending in "
        f"{', '.join(wanted or EXTENSIONS)} (hidden files and folders aside), and found {found}"
    )
    return ValueError(msg)


def read_labels(root: str, names: list[str], label_from: Any) -> list[str]:
    """Return the label of each image, given by its "/"-joined path below `root`."""
    labels, problems = [], []
    for name in names:
        try:
            labels.append(read_label(name, label_from))
        except ValueError as error:
            problems.append((f"{name}: {error}", error))
    if problems:
        lines = [line for line, _ in problems]
        msg = f"label_from gives no label for {len(problems)} of {len(names)} images in {root!r}:{listing(lines)}"
        if len(problems) == len(names):
            msg += f"\nimages without labels are found by skcnn.find_images({root!r})"
        raise ValueError(msg) from problems[0][1]
    return labels


def read_label(name: str, label_from: Any) -> str:
    """Return the label of one image."""
    if isinstance(label_from, str):
        folders = [tidy(folder) for folder in name.split("/")[:-1]]
        if not folders:
            raise ValueError("it lies in no folder that names its class; move it, or pass label_from=re.compile(...)")
        return LEVELS[label_from](folders)
    if isinstance(label_from, re.Pattern):
        match = label_from.search(compose_unicode(name).rpartition("/")[2])
        if match is None:
            raise ValueError(f"the file name does not match {label_from.pattern!r}")
        return label_text(match["label" if "label" in label_from.groupindex else 1])
    try:
        label = label_from(PurePosixPath(name))
    except Exception as error:
        raise ValueError(f"the callable raised {error!r}") from error
    return label_text(label)
