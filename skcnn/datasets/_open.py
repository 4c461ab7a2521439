"""Tables are files or addresses, and so are the images they name."""

from __future__ import annotations

import contextlib
import io
import ntpath
import os
import posixpath
from collections.abc import Iterator
from typing import IO, Any

from skcnn.exceptions import ImageReadError
from skcnn.images._sources import is_url, read_url

# Of fsspec.
LOCAL_PROTOCOLS = {"file", "local"}

__all__ = ["check_file", "folder_of", "open_text", "resolve"]


def check_file(file: Any) -> str:
    """Return `file` as str after checking its type."""
    if not isinstance(file, (str, os.PathLike)):
        raise TypeError(f"file is the path or address of a file, str or Path. Got {type(file).__name__} instead.")
    return os.path.expanduser(os.fsdecode(file))


def folder_of(file: str, root: str | os.PathLike | None) -> str:
    """Return what relative paths in `file` start from."""
    if root is not None:
        return os.path.expanduser(os.fsdecode(root))
    if not is_url(file):
        return os.path.dirname(file)
    protocol, _, rest = file.partition("://")
    path = rest.partition("?")[0]
    return f"{protocol}://{path[: path.rfind('/') + 1]}"


def resolve(path: str, root: str, *, remote: bool = False) -> str:
    """Return a path that does not depend on where the table is; addresses are left alone.

    Parameters
    ----------
    path : str
        As the table gives it.
    root : str
        Folder or address that relative paths start from.
    remote : bool, default=False
        Whether the table came from an address; then it may not name files of this machine, except below a `root` that
        is a folder of this machine.

    Raises
    ------
    ValueError
        When a remote table names a file of this machine.

    Examples
    --------
    >>> resolve("cat/1.jpg", "s3://bucket/pets"), resolve("https://example.org/1.jpg", "pets")
    ('s3://bucket/pets/cat/1.jpg', 'https://example.org/1.jpg')
    """
    if remote and names_local_file(path, root):
        msg = f"a table from an address may not name files of this machine, as {path!r} does; save the table here first"
        raise ValueError(msg)
    if is_url(path) or os.path.isabs(path):
        return path
    if is_url(root):
        return root + ("" if root.endswith("/") else "/") + path
    return os.path.join(root, path)


def names_local_file(path: str, root: str) -> bool:
    """Whether a path in a table leads to a file of this machine that is not below `root`."""
    if is_url(path):
        return is_local_address(path)
    if os.path.isabs(path) or ntpath.isabs(path) or ntpath.splitdrive(path)[0]:
        return True
    climbs = posixpath.normpath(path.replace("\\", "/")).split("/")[0] == ".."
    return climbs and (not is_url(root) or is_local_address(root))


def is_local_address(url: str) -> bool:
    """Whether fsspec would read an address, or a link of a chain of them, from this machine's disk."""
    links = url.split("::")
    return "://" not in links[-1] or any(link.partition("://")[0].lower() in LOCAL_PROTOCOLS for link in links)


@contextlib.contextmanager
def open_text(file: str, encoding: str) -> Iterator[IO[str]]:
    """Open a file or an address as text, with the ends of lines as they are.

    Raises
    ------
    OSError
        When there is no such file, it is a folder, or it cannot be fetched.
    ValueError
        When the caller reads what is not in `encoding`.
    """
    if os.path.isdir(file):
        msg = f"{file!r} is a folder; skcnn.datasets.load_image_folder reads a folder of images"
        raise IsADirectoryError(msg)
    with io.BytesIO(fetch(file)) if is_url(file) else open_local(file) as stream:
        try:
            yield io.TextIOWrapper(stream, encoding, newline="")
        except UnicodeDecodeError as error:
            msg = f"{file!r} is not in {encoding} ({error}); say which it is, for instance encoding='cp1252'"
            raise ValueError(msg) from error


def open_local(file: str) -> IO[bytes]:
    """Open a file of this machine."""
    try:
        return open(file, "rb")
    except FileNotFoundError as error:
        msg = f"there is no file {file!r} (the working directory is {os.getcwd()!r})"
        raise FileNotFoundError(msg) from error


def fetch(url: str) -> bytes:
    """Fetch an address through fsspec."""
    try:
        return read_url(url)
    except ImageReadError as error:
        raise OSError(f"{url!r}: {error}") from error
