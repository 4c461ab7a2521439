"""`load_image_csv` and `load_image_json`: one row or record per image."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from skcnn.datasets._bunch import label_text, listing, make_bunch, object_array
from skcnn.datasets._cells import check_pixel_shape, read_cell
from skcnn.datasets._open import folder_of, read_text, table_path
from skcnn.datasets._table_rows import Row, csv_rows, json_rows
from skcnn.images import ImageSequence, as_image_sequence
from skcnn.images._sources import is_url

if TYPE_CHECKING:
    from sklearn.utils import Bunch

# Beyond this many the message would bury what it says.
NAMED_ROWS = 100
KINDS = {str: "paths", bytes: "encoded images", np.ndarray: "pixels"}


def load_image_csv(
    file: str | os.PathLike,
    *,
    image_column: str,
    label_column: str | None,
    root: str | os.PathLike | None = None,
    delimiter: str = ",",
    encoding: str = "utf-8-sig",
    pixel_shape: tuple[int, ...] | None = None,
    verify: bool = False,
    verbose: int | bool | None = None,
) -> Bunch:
    r"""Load images and labels from a CSV file whose first row names the columns.

    A cell of the image column holds the path of an image, an address such as ``s3://...`` that fsspec can open, an
    encoded image as ``data:image/png;base64,...``, or, when `pixel_shape` is given, its pixels: whole numbers from 0
    to 255 separated by blanks or commas, row by row, in brackets or not. All cells hold the same kind. Blanks around a
    cell and empty rows do not count. Unless `verify`, no image is read.

    Parameters
    ----------
    file : str or Path
        The file, or its address for fsspec.
    image_column : str
        Name of the column of images.
    label_column : str or None
        Name of the column of labels; None when there are none, as in a test set.
    root : str or Path, default=None
        Folder (or address) that relative paths start from. None takes the one that holds `file`.
    delimiter : str, default=","
        What separates cells.
    encoding : str, default="utf-8-sig"
        Encoding of the file; the default reads UTF-8 with or without a byte order mark. The mark of UTF-16 or UTF-32
        goes before it.
    pixel_shape : (height, width) or (height, width, 1 | 3), default=None
        Shape of images that are given as pixels.
    verify : bool, default=False
        Decode every image now and leave out those that cannot be read, together with their labels, with a warning.
    verbose : int or bool, default=None
        Progress while images are verified: None shows it where that takes more than a few seconds, 0 never, 1 always.

    Returns
    -------
    Bunch
        - ``paths`` : object ndarray of shape (n_images,) of str: paths and addresses, in the order of the file. A path
          that exists only in another case, Unicode form or with ``/`` for ``\`` is given as it exists. For pixels
          (uint8) and encoded images it is an `ImageSequence`, which slices as an array does;
        - ``labels`` : ndarray of shape (n_images,) of str, in Unicode's composed form (NFC) and with single blanks, or
          None without `label_column`;
        - ``target_names`` : ndarray of shape (n_classes,) of str, the sorted distinct labels, or None;
        - ``rejected`` : list of (path, reason), or of ("row 5", reason) for embedded images: what `verify` left out;
        - ``cut_off``, ``groups`` : as `load_image_folder` has them.

    Raises
    ------
    OSError
        When `file` is missing, a folder, or cannot be fetched.
    ValueError
        When a column is unknown, when the file is not in `encoding`, or naming every row (as a spreadsheet numbers
        them: the header is row 1) whose image or label is missing or not valid.
    ImageReadError
        When `verify` finds no image that can be read.

    Warns
    -----
    UserWarning
        Naming up to 20 images that `verify` left out, and the classes that have none left. When `verify` finds many
        images that are at least twice as long as wide, or copies of images, perhaps in several classes.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skcnn.datasets import load_image_csv
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "faces.csv")
    ...     _ = file.write_text("emotion,pixels\nhappy,0 50 100 150\nsad,9 8 7 6\n")
    ...     data = load_image_csv(file, image_column="pixels", label_column="emotion", pixel_shape=(2, 2))
    >>> data.paths[0][..., 0].tolist(), data.labels.tolist()
    ([[0, 50], [100, 150]], ['happy', 'sad'])
    """
    name = table_path(file)
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        raise ValueError(f"The 'delimiter' parameter must be one character. Got {delimiter!r} instead.")
    columns = [column for column in (image_column, label_column) if column is not None]
    rows = csv_rows(read_text(name, encoding), name, columns, delimiter)
    return make_bunch(*read_rows(rows, name, columns, root, pixel_shape), verify=verify, verbose=verbose)


def load_image_json(
    file: str | os.PathLike,
    *,
    image_key: str,
    label_key: str | None,
    root: str | os.PathLike | None = None,
    encoding: str = "utf-8-sig",
    pixel_shape: tuple[int, ...] | None = None,
    verify: bool = False,
    verbose: int | bool | None = None,
) -> Bunch:
    """Load images and labels from a JSON list of records, or from JSON Lines (one record per line).

    The image of a record is what a cell of `load_image_csv` may be, or pixels as nested lists of shape (height, width)
    or (height, width, 1 | 3 | 4), whole numbers from 0 to 255. A label is text or a number.

    Parameters
    ----------
    file, root, encoding, pixel_shape, verify, verbose
        As in `load_image_csv`; `pixel_shape` is also that of one flat list of pixels.
    image_key : str
        Key of the image in each record.
    label_key : str or None
        Key of the label; None when there are none, as in a test set.

    Returns
    -------
    Bunch
        As `load_image_csv` returns it. Records are named "record [4]", counted from 0 as in Python, and in JSON Lines
        "line 5".

    Raises
    ------
    OSError, ImageReadError
        As `load_image_csv`.
    ValueError
        When the file is not JSON, holds no list of records, or naming every record whose image or label is missing or
        not valid.

    Warns
    -----
    UserWarning
        Naming up to 20 images that `verify` left out, and the classes that have none left. When `verify` finds many
        images that are at least twice as long as wide, or copies of images, perhaps in several classes.

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> from skcnn.datasets import load_image_json
    >>> records = [{"image": "https://example.org/1.jpg", "label": "cat"}, {"image": "/data/2.jpg", "label": "dog"}]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "labels.json")
    ...     _ = file.write_text(json.dumps(records))
    ...     data = load_image_json(file, image_key="image", label_key="label")
    >>> data.paths.tolist(), data.labels.tolist()
    (['https://example.org/1.jpg', '/data/2.jpg'], ['cat', 'dog'])
    """
    name = table_path(file)
    keys = [key for key in (image_key, label_key) if key is not None]
    rows = json_rows(read_text(name, encoding), name, keys)
    return make_bunch(*read_rows(rows, name, keys, root, pixel_shape), verify=verify, verbose=verbose)


def read_rows(
    rows: Iterable[Row], file: str, columns: list[str], root: Any, pixel_shape: Any
) -> tuple[np.ndarray | ImageSequence, list[str] | None, list[str]]:
    """Return the images of a table, their labels where `columns` are two, and the name of each image.

    Raises
    ------
    ValueError
        When there are no rows, or naming every row that cannot be used.
    """
    root, pixel_shape, remote = folder_of(file, root), check_pixel_shape(pixel_shape), is_url(file)
    images: list[Any] = []
    labels, names, problems = [], [], []
    for name, row in rows:
        try:
            if isinstance(row, ValueError):
                raise row
            image = read_cell(row.get(columns[0]), root, pixel_shape, remote=remote)
            labels += [label_text(row.get(column)) for column in columns[1:]]
        except ValueError as error:
            problems.append(f"{name}: {error}")
        else:
            images.append(image)
            names.append(name)
    total = len(images) + len(problems)
    if not total:
        raise ValueError(f"{file!r} has no rows; at least one image is required")
    if problems := problems or mixed_kinds(names, images):
        msg = f"{len(problems)} of {total} rows of {file!r} cannot be used; correct them or take them out:"
        raise ValueError(msg + listing(problems, NAMED_ROWS))
    if isinstance(images[0], str):
        return object_array(images), labels or None, images
    return as_image_sequence(images), labels or None, names


def mixed_kinds(names: list[str], images: list[Any]) -> list[str]:
    """Return the problem of each row that holds another kind of image than most."""
    kinds = [KINDS[type(image)] for image in images]
    usual = max(sorted(set(kinds)), key=kinds.count)
    return [
        f"{name}: it holds {kind}, most rows hold {usual}; one table holds one kind of image"
        for name, kind in zip(names, kinds, strict=True)
        if kind != usual
    ]
