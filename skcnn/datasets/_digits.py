"""`load_digits_images`: scikit-learn's digits as image files, to try things out without a download."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from skcnn._aside import aside
from skcnn.cache._directory import default_cache_dir
from skcnn.datasets._bunch import listing
from skcnn.datasets._folder import list_files, load_image_folder

if TYPE_CHECKING:
    from sklearn.utils import Bunch

# scikit-learn counts the dark dots of a 4 x 4 block.
BRIGHTEST = 16


def load_digits_images(directory: str | os.PathLike | None = None) -> Bunch:
    """Load scikit-learn's 1,797 handwritten digits as image files, written on the first call.

    Each is an 8-bit grey PNG of 8 x 8 pixels named ``<digit>/<index>.png``; the index, four figures long, is the row of
    `sklearn.datasets.load_digits`. Its pixels, 0 to 16, are scaled to 0 to 255 and rounded. Nothing is downloaded.

    Parameters
    ----------
    directory : str or Path, default=None
        Where the files are or will be. None takes ``datasets/digits`` in skcnn's cache directory
        (``SKCNN_CACHE_DIR``, else the user's cache directory of the operating system).

    Returns
    -------
    Bunch
        As `load_image_folder` returns it: ``paths``, object ndarray of shape (1797,) of str; ``labels``, ndarray of
        shape (1797,) of str, "0" to "9"; ``target_names``; ``rejected``, an empty list.

    Raises
    ------
    FileExistsError
        When `directory` holds anything else; it is left as it is.
    NotADirectoryError
        When `directory` is a file.

    Notes
    -----
    The files are written aside and moved into place at once, so a call that is killed leaves no half of them, and
    any number of processes may make the first call together.

    Examples
    --------
    >>> import tempfile
    >>> from skcnn.datasets import load_digits_images
    >>> from skcnn.images import as_image_sequence
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     digits = load_digits_images(f"{folder}/digits")
    ...     first = as_image_sequence(digits.paths)[0]
    >>> digits.labels
    array(['0', '0', '0', ..., '9', '9', '9'], shape=(1797,), dtype='<U1')
    >>> first.shape, first.dtype
    ((8, 8, 3), dtype('uint8'))
    """
    from sklearn.datasets import load_digits

    chosen = default_cache_dir() / "datasets" / "digits" if directory is None else Path(directory).expanduser()
    # Moving a folder onto a link would fail, or replace the link.
    final = Path(os.path.realpath(chosen))
    digits = load_digits()
    names = [f"{digit}/{index:04d}.png" for index, digit in enumerate(digits.target)]
    if not holds_files(final, names):
        write_aside(final, names, np.rint(digits.images * (255 / BRIGHTEST)).astype(np.uint8))
    return load_image_folder(chosen)


def holds_files(directory: Path, names: list[str]) -> bool:
    """Whether `directory` holds these files, True, or nothing at all, False.

    Raises
    ------
    FileExistsError, NotADirectoryError
        When it holds anything else, or is a file.
    """
    try:
        entries = os.listdir(directory)
    except FileNotFoundError:
        return False
    except NotADirectoryError as error:
        msg = f"{str(directory)!r} is a file; load_digits_images needs the name of a folder"
        raise NotADirectoryError(msg) from error
    if not entries:
        return False
    # In this order: another process may put all files in place between the two looks.
    found = set(list_files(str(directory)))
    if found == set(names):
        return True
    missing, foreign = sorted(set(names) - found), sorted((found or set(entries)) - set(names))
    msg = (
        f"{str(directory)!r} holds something other than the {len(names)} digits ({len(missing)} of them are missing, "
        f"{len(foreign)} other files are there) and was left as it is; name another directory, or empty this one first"
    )
    raise FileExistsError(msg + listing(foreign, 5))


def write_aside(final: Path, names: list[str], images: np.ndarray) -> None:
    """Write `images`, uint8 of shape (n_images, height, width), beside `final`, then move them there in one go."""
    final.parent.mkdir(parents=True, exist_ok=True)
    with aside(final) as partial:  # hidden, so that a load of the parent folder passes it by
        for name, image in zip(names, images, strict=True):
            write_png(partial / name, image)
        move(partial, final, names)


def write_png(path: Path, image: np.ndarray) -> None:
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    # cv2.imwrite takes no path beyond ASCII on Windows.
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())


def move(partial: Path, final: Path, names: list[str]) -> None:
    """Give the folder `partial` the name `final`, unless another process was first."""
    try:
        with contextlib.suppress(FileNotFoundError):
            final.rmdir()  # Windows does not move onto a folder, not even an empty one
        partial.rename(final)
    except OSError:
        if not holds_files(final, names):
            raise
