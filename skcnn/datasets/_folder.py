"""`load_image_folder`: the labels are in the names of folders or files."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from skcnn.datasets._bunch import label_text, listing, make_bunch, object_array

if TYPE_CHECKING:
    from sklearn.utils import Bunch

__all__ = ["list_files", "load_image_folder"]

# Every format that skcnn.images decodes.
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".dib", ".tif", ".tiff"),
    *(".avif", ".heic", ".heif", ".jp2", ".j2k", ".pnm", ".pbm", ".pgm", ".ppm"),
)

LEVELS = {
    "path": lambda folders: "/".join(folders),
    "top": lambda folders: folders[0],
    "last": lambda folders: folders[-1],
}

# macOS archives and Synology disks keep previews there, under the names of the images.
SYSTEM_FOLDERS = frozenset({"__MACOSX", "@eaDir"})


def load_image_folder(
    root: str | os.PathLike,
    *,
    label_from: str | re.Pattern[str] | Callable[[PurePosixPath], Any] = "path",
    extensions: Iterable[str] | None = None,
    verify: bool = False,
    verbose: int | bool = 0,
) -> Bunch:
    r"""Load the paths and labels of the images in a folder and all folders below it.

    Nothing is read or decoded unless `verify`. Hidden files and folders (leading dot), the preview folders of macOS
    and Synology, and files with other extensions are skipped. Links are followed, but not back to where they stand.

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
        Extensions that count as images, in any case. None takes those of all formats skcnn decodes.
    verify : bool, default=False
        Decode every image now and leave out those that cannot be read, together with their labels, with a warning.
    verbose : int or bool, default=0
        1 shows a progress bar while images are verified.

    Returns
    -------
    Bunch
        - ``paths`` : object ndarray of shape (n_images,) of str, `root` included; ordered by the path below `root`,
          in the same way on every machine;
        - ``labels`` : ndarray of shape (n_images,) of str;
        - ``target_names`` : ndarray of shape (n_classes,) of str, the sorted distinct labels;
        - ``rejected`` : list of (path, reason), what `verify` left out.

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
        Naming up to 20 images that `verify` left out, and the classes that have none left.

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
    wanted = check_extensions(extensions)
    folder = check_root(root)
    files = sorted(list_files(folder), key=lambda name: (compose_unicode(name), name))
    names = [name for name in files if os.path.splitext(name)[1].lower() in wanted]
    if not names:
        raise no_images_error(folder, wanted, files)
    labels = read_labels(folder, names, label_from)
    paths = [os.path.join(folder, *name.split("/")) for name in names]
    return make_bunch(object_array(paths), labels, paths, verify=verify, verbose=verbose)


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


def check_extensions(extensions: Any) -> tuple[str, ...]:
    """Return extensions in lower case, with their dot."""
    if extensions is None:
        return EXTENSIONS
    given = [] if isinstance(extensions, (str, bytes)) else list(extensions)
    if not given or not all(isinstance(item, str) and item.strip(".") for item in given):
        msg = (
            f"The 'extensions' parameter must be a list such as ['.jpg', '.png'], or None. Got {extensions!r} instead."
        )
        raise ValueError(msg)
    return tuple("." + item.lower().lstrip(".") for item in given)


def check_root(root: Any) -> str:
    """Return `root` as str after checking that it is a folder."""
    if not isinstance(root, (str, os.PathLike)):
        raise TypeError(f"root is the path of a folder, str or Path. Got {type(root).__name__} instead.")
    folder = os.path.expanduser(os.fsdecode(root))
    if "://" in folder:
        msg = (
            f"{folder!r} is an address, and load_image_folder lists local folders only; list the images in a CSV file "
            "and read it with skcnn.datasets.load_image_csv, which takes addresses"
        )
        raise ValueError(msg)
    if os.path.isfile(folder):
        msg = f"{folder!r} is a file, not a folder of images; pass the folder that holds the folders of the classes"
        raise NotADirectoryError(msg)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"there is no folder {folder!r} (the working directory is {os.getcwd()!r})")
    return folder


def list_files(root: str) -> Iterator[str]:
    """Yield the "/"-joined path below `root` of every file that is not hidden, in the order of the disk."""
    pending: list[tuple[str, str, tuple[str, ...]]] = [("", root, (os.path.realpath(root),))]
    while pending:
        prefix, folder, trail = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in SYSTEM_FOLDERS:
                    continue
                linked = entry.is_symlink()
                # DirEntry.is_dir raises for a link to itself.
                if os.path.isdir(entry.path) if linked else entry.is_dir():
                    real = os.path.realpath(entry.path)
                    if not is_cycle(real, trail):
                        pending.append((f"{prefix}{entry.name}/", entry.path, (*trail, real)))
                elif linked or entry.is_file():  # a broken link too: reading it says so, skipping it would not
                    yield prefix + entry.name


def is_cycle(folder: str, trail: tuple[str, ...]) -> bool:
    """Whether `folder` is, or contains, one of the folders that led to it."""
    return any(seen == folder or seen.startswith(os.path.join(folder, "")) for seen in trail)


def compose_unicode(name: str) -> str:
    """Return `name` in the composed form of Unicode: some file systems take accents apart, others do not."""
    return unicodedata.normalize("NFC", name)


def no_images_error(root: str, wanted: tuple[str, ...], files: list[str]) -> ValueError:
    """Return the error for a folder without images."""
    found = f"{len(files)} other files:{listing(files, 5)}" if files else "no files at all"
    msg = (
        f"found no images in {root!r}: looked there and in every folder below for names ending in {', '.join(wanted)} "
        f"(hidden files and folders aside), and found {found}"
    )
    return ValueError(msg)


def read_labels(root: str, names: list[str], label_from: Any) -> list[str]:
    """Return the label of each image, given by its "/"-joined path below `root`."""
    if isinstance(label_from, str):
        return folder_labels(root, names, label_from)
    read = label_in_name if isinstance(label_from, re.Pattern) else label_by_call
    labels, problems = [], []
    for name in names:
        try:
            labels.append(compose_unicode(label_text(read(name, label_from))))
        except ValueError as error:
            problems.append((f"{name}: {error}", error))
    if problems:
        lines = [line for line, _ in problems]
        msg = f"label_from gives no label for {len(problems)} of {len(names)} images in {root!r}:{listing(lines)}"
        raise ValueError(msg) from problems[0][1]
    return labels


def folder_labels(root: str, names: list[str], level: str) -> list[str]:
    """Label images by the folders they are in."""
    loose = [name for name in names if "/" not in name]
    if loose:
        msg = (
            f"{len(loose)} of {len(names)} images lie directly in {root!r}, in no folder that could name their class; "
            "move them into one, or take the labels from the file names: label_from=re.compile(...) or a callable:"
        )
        raise ValueError(msg + listing(loose))
    return [LEVELS[level](compose_unicode(name).split("/")[:-1]) for name in names]


def label_in_name(name: str, pattern: re.Pattern[str]) -> str | None:
    """Return what the group finds in the file name."""
    file_name = compose_unicode(name).rpartition("/")[2]
    match = pattern.search(file_name)
    if match is None:
        raise ValueError(f"the file name does not match {pattern.pattern!r}")
    return match["label" if "label" in pattern.groupindex else 1]


def label_by_call(name: str, function: Callable[[PurePosixPath], Any]) -> Any:
    """Return what the user's function makes of the path below the root."""
    try:
        return function(PurePosixPath(name))
    except Exception as error:
        raise ValueError(f"the callable raised {error!r}") from error
