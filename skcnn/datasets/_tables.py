"""`load_image_csv` and `load_image_json`: one row or record per image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from skcnn.datasets._bunch import make_bunch
from skcnn.datasets._cells import Rows, check_pixel_shape
from skcnn.datasets._csv import read_csv
from skcnn.datasets._json import read_json
from skcnn.datasets._open import check_file, folder_of, open_text

if TYPE_CHECKING:
    from sklearn.utils import Bunch

__all__ = ["load_image_csv", "load_image_json"]


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
    verbose: int | bool = 0,
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
        Encoding of the file; the default reads UTF-8 with or without a byte order mark.
    pixel_shape : (height, width) or (height, width, 1 | 3), default=None
        Shape of images that are given as pixels.
    verify : bool, default=False
        Decode every image now and leave out those that cannot be read, together with their labels, with a warning.
    verbose : int or bool, default=0
        1 shows a progress bar while images are verified.

    Returns
    -------
    Bunch
        - ``paths`` : object ndarray of shape (n_images,) of str: paths and addresses, in the order of the file. For
          pixels (uint8) and encoded images it is an `ImageSequence`, which slices as an array does;
        - ``labels`` : ndarray of shape (n_images,) of str, or None without `label_column`;
        - ``target_names`` : ndarray of shape (n_classes,) of str, the sorted distinct labels, or None;
        - ``rejected`` : list of (path, reason), or of ("row 5", reason) for embedded images: what `verify` left out.

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
        Naming up to 20 images that `verify` left out, and the classes that have none left.

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
    name = check_file(file)
    rows = Rows(name, folder_of(name, root), check_pixel_shape(pixel_shape), labelled=label_column is not None)
    with open_text(name, encoding) as text:
        read_csv(text, rows, image_column, label_column, delimiter)
    images, labels, names = rows.finish()
    return make_bunch(images, labels, names, verify=verify, verbose=verbose)


def load_image_json(
    file: str | os.PathLike,
    *,
    image_key: str,
    label_key: str | None,
    root: str | os.PathLike | None = None,
    encoding: str = "utf-8-sig",
    pixel_shape: tuple[int, ...] | None = None,
    verify: bool = False,
    verbose: int | bool = 0,
) -> Bunch:
    """Load images and labels from a JSON list of records, or from JSON Lines (one record per line).

    The image of a record is what a cell of `load_image_csv` may be, or pixels as nested lists of shape (height, width)
    or (height, width, 1 | 3 | 4), whole numbers from 0 to 255. A label is text or a number.

    Parameters
    ----------
    file : str or Path
        The file, or its address for fsspec.
    image_key : str
        Key of the image in each record.
    label_key : str or None
        Key of the label; None when there are none, as in a test set.
    root : str or Path, default=None
        Folder (or address) that relative paths start from. None takes the one that holds `file`.
    encoding : str, default="utf-8-sig"
        Encoding of the file; the default reads UTF-8 with or without a byte order mark.
    pixel_shape : (height, width) or (height, width, 1 | 3), default=None
        Shape of images that are given as flat pixels, in text or in one list.
    verify : bool, default=False
        Decode every image now and leave out those that cannot be read, together with their labels, with a warning.
    verbose : int or bool, default=0
        1 shows a progress bar while images are verified.

    Returns
    -------
    Bunch
        As `load_image_csv` returns it. Records are named "record [4]", counted from 0 as in Python, and in JSON Lines
        "line 5".

    Raises
    ------
    OSError
        When `file` is missing, a folder, or cannot be fetched.
    ValueError
        When the file is not JSON, holds no list of records, or naming every record whose image or label is missing or
        not valid.
    ImageReadError
        When `verify` finds no image that can be read.

    Warns
    -----
    UserWarning
        Naming up to 20 images that `verify` left out, and the classes that have none left.

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
    name = check_file(file)
    rows = Rows(name, folder_of(name, root), check_pixel_shape(pixel_shape), labelled=label_key is not None)
    with open_text(name, encoding) as text:
        read_json(text.read(), rows, image_key, label_key)
    images, labels, names = rows.finish()
    return make_bunch(images, labels, names, verify=verify, verbose=verbose)
