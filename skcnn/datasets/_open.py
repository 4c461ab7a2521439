"""Tables are files or addresses, and so are the images they name."""

from __future__ import annotations

import codecs
import io
import ntpath
import os
import posixpath
import re
from typing import Any

from skcnn.exceptions import ImageReadError
from skcnn.images._paths import find_file, missing_file
from skcnn.images._sources import is_url, read_url

# Of fsspec.
LOCAL_PROTOCOLS = {"file", "local"}

# These say what they mark whatever the user says; those of UTF-32 begin like those of UTF-16.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

NO_TEXT = (
    (rb"PK\x03\x04|\xd0\xcf\x11\xe0", "an Excel workbook or an archive; save the table as a text file, CSV UTF-8"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", "compressed; unpack it first"),
    (rb"PAR1|ARROW1|\x89HDF", "a table in a binary format; read it with pandas and pass its columns to the estimators"),
)


def table_path(file: Any) -> str:
    """Return `file` as str after checking its type."""
    if not isinstance(file, (str, os.PathLike)):
        raise TypeError(f"file is the path or address of a file, str or Path. Got {type(file).__name__} instead.")
    name = os.path.expanduser(os.fsdecode(file))
    return name if is_url(name) else find_file(name) or name


def folder_of(file: str, root: str | os.PathLike | None) -> str:
    """Return the folder that relative paths in `file` start from."""
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
        As the table gives it; of a file of this machine, its name may be spelt as `find_file` allows.
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
    path = os.path.expanduser(path)
    if remote and names_local_file(path, root):
        msg = f"a table from an address may not name files of this machine, as {path!r} does; save the table here first"
        raise ValueError(msg)
    if is_url(path):
        return path
    if is_url(root) and not os.path.isabs(path):
        return root + ("" if root.endswith("/") else "/") + path
    path = os.path.join(root, path)
    return find_file(path) or path


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


def read_text(file: str, encoding: str) -> str:
    """Read a file or an address as text; lines end in a newline.

    Raises
    ------
    OSError
        When there is no such file, it is a folder, or it cannot be fetched.
    ValueError
        When it is no text, or not in `encoding`.
    """
    data = read_bytes(file)
    for signature, what in NO_TEXT:
        if re.match(signature, data):
            raise ValueError(f"{file!r} is {what}")
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if data.startswith(mark)), encoding)
    try:
        text = io.TextIOWrapper(io.BytesIO(data), encoding).read()
    except UnicodeError as error:
        msg = f"{file!r} is not in {encoding} ({error}); say which it is, for instance encoding='cp1252'"
        raise ValueError(msg) from error
    if "\0" in text:
        likely = "utf-16-le" if data[1::2].count(0) > data[::2].count(0) else "utf-16-be"
        raise ValueError(f"{file!r} is not in {encoding}: it holds zero bytes; try encoding={likely!r}")
    return text


def read_bytes(file: str) -> bytes:
    """Read a file or fetch an address."""
    if os.path.isdir(file):
        raise IsADirectoryError(f"{file!r} is a folder; skcnn.datasets.load_image_folder reads a folder of images")
    try:
        if is_url(file):
            return read_url(file)
        with open(file, "rb") as stream:
            return stream.read()
    except ImageReadError as error:
        raise OSError(f"{file!r}: {error}") from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{file!r}: {missing_file(file)}") from error
