"""Images that are kept in an HDF5 file: as rows of one dataset, or as a dataset each."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skcnn.cache._digests import DigestMemo, known_contents
from skcnn.exceptions import ImageReadError, PreprocessingError
from skcnn.images._sources import Content, KnownDigests, Sources, check_pixels

if TYPE_CHECKING:
    import h5py


class Hdf5Dataset:
    """A dataset of an HDF5 file, opened when a process reads it first; a pickle of it holds no data.

    Without compression it is read by memory map: no handle stays open, and threads and processes read it together.

    Parameters
    ----------
    path : str
        Of the file.
    name : str
        Of the dataset in it.

    Attributes
    ----------
    path, name : str
    shape : tuple of int
    dtype : dtype

    Raises
    ------
    ValueError
        When it keeps its data in other files, or the file is shorter than its data.
    """

    def __init__(self, path: str, name: str):
        self.path = path
        self.name = name
        with opened(path) as file:
            dataset = file[name]
            if dataset.external or dataset.is_virtual:
                raise ValueError(f"{path!r} keeps {name!r} in other files, which are not read")
            self.shape = dataset.shape
            self.dtype = dataset.dtype
            is_plain = dataset.chunks is None and dataset.dtype.kind in "buifS"
            self._offset = dataset.id.get_offset() if is_plain else None
        self._state = state_of(path)
        if self._offset is not None and self._state[0] < self._offset + self.nbytes:
            raise ValueError(f"{path!r} is cut short: it ends within {name!r}")
        self._map: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all rows in memory."""
        return self.dtype.itemsize * int(np.prod(self.shape))

    def read(self, key: Any) -> np.ndarray:
        """Return a copy of the rows at `key`: a slice, a mask or positions, in that order.

        Raises
        ------
        ImageReadError
            When the file was changed after it was opened, or cannot be read.
        """
        if self._offset is not None:
            rows = self._mapped()[key]
            return np.array(rows) if isinstance(key, slice) else rows  # other keys copy
        self._check_state()
        positions = np.arange(self.shape[0])[key]
        try:
            with opened(self.path) as file:
                dataset = file[self.name]
                # One by one: h5py takes many times longer for a list of positions.
                return np.stack([dataset[position] for position in positions]) if len(positions) else dataset[:0]
        except Exception as error:  # h5py raises nearly every built-in error on damaged data
            raise ImageReadError(f"{self.path!r} cannot be read: {error}") from error

    def _mapped(self) -> np.ndarray:
        if self._map is None:
            self._check_state()
            assert self._offset is not None
            self._map = np.memmap(self.path, self.dtype, "r", self._offset, self.shape).view(np.ndarray)
        return self._map

    def _check_state(self) -> None:
        try:
            state = state_of(self.path)
        except OSError as error:
            raise ImageReadError(f"{self.path!r} cannot be read: {error}") from error
        if state != self._state:
            raise ImageReadError(f"{self.path!r} was changed after it was opened; open it again")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}


class Hdf5Rows:
    """Chosen rows of a dataset, as an array that is read when it is indexed.

    Parameters
    ----------
    dataset : Hdf5Dataset
    positions : ndarray of shape (n_rows,), int, default=None
        Of the rows; None takes all.
    bgr : bool, default=False
        Whether the last axis is BGR or BGRA, which becomes RGB.

    Attributes
    ----------
    shape : tuple (n_rows, ...)
    dtype : dtype
    ndim : int
    """

    def __init__(self, dataset: Hdf5Dataset, positions: np.ndarray | None = None, *, bgr: bool = False):
        self._dataset = dataset
        self._positions = positions
        self._bgr = bgr

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_rows, ...)."""
        return (len(self), *self._dataset.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Of the rows."""
        return self._dataset.dtype

    @property
    def ndim(self) -> int:
        """Number of axes, with that of the rows."""
        return len(self._dataset.shape)

    def __len__(self) -> int:
        return self._dataset.shape[0] if self._positions is None else len(self._positions)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, (int, np.integer)):
            return self._read([range(len(self))[key]])[0]
        return self._read(key)

    def _read(self, key: Any) -> np.ndarray:
        rows = self._dataset.read(key if self._positions is None else self._positions[key])
        return to_rgb(rows) if self._bgr else rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all rows into one array."""
        if copy is False:
            raise ValueError("rows of a file are always copied")
        return np.asarray(self[:], dtype)

    def __repr__(self) -> str:
        return f"{type(self).__name__} of shape {self.shape}, {self.dtype}, of {self._dataset.path!r}"


class Hdf5Text(Hdf5Rows):
    """Chosen rows of a dataset of text: UTF-8 of one length, which comes out as str."""

    def _read(self, key: Any) -> np.ndarray:
        return np.char.decode(super()._read(key), "utf-8", "replace")


class Hdf5Sources(Sources):
    """Images that are rows of one dataset.

    Parameters
    ----------
    images : Hdf5Dataset of shape (n, height, width[, channels])
    digests : Hdf5Dataset of shape (n, 20), uint8, default=None
        The digest of each image as an array, where the file has them. Features are found by them without reading
        images; an image that is read is checked against its digest.
    names : Hdf5Dataset of shape (n,), text, default=None
        What the images were made of.
    positions : ndarray of shape (n_images,), int, default=None
        Which rows; None takes all.
    bgr : bool, default=False
        Whether images of three and four channels are BGR.
    """

    def __init__(
        self,
        images: Hdf5Dataset,
        digests: Hdf5Dataset | None = None,
        names: Hdf5Dataset | None = None,
        *,
        positions: np.ndarray | None = None,
        bgr: bool = False,
    ):
        self._images = images
        self._digests = digests
        self._names = names
        self._positions = positions
        self._bgr = bgr

    @property
    def rows(self) -> Hdf5Rows:
        """The images as an array that is read when it is indexed."""
        return Hdf5Rows(self._images, self._positions, bgr=self._bgr)

    @property
    def channels(self) -> int:
        return 1 if self._images.shape[3:] in ((), (1,)) else 3

    @property
    def image_size(self) -> tuple[int, int]:
        height, width = self._images.shape[1:3]
        return height, width

    def __len__(self) -> int:
        return self._images.shape[0] if self._positions is None else len(self._positions)

    def take(self, indices: np.ndarray | slice) -> Hdf5Sources:
        kind = np.min_scalar_type(self._images.shape[0])  # workers are sent the positions
        rows = np.arange(len(self), dtype=kind)[indices] if self._positions is None else self._positions[indices]
        settings: dict[str, Any] = {"positions": rows, "bgr": self._bgr}
        return Hdf5Sources(self._images, self._digests, self._names, **settings)

    def name(self, index: int) -> str:
        row = index if self._positions is None else self._positions[index]
        made_of = ""
        if self._names is not None:
            with contextlib.suppress(ImageReadError):  # to be reported when images are read
                made_of = f", made of {Hdf5Text(self._names)[row]}"
        return f"{self._images.path}[{row}]{made_of}"

    def read(self, index: int, memo: DigestMemo | None = None) -> Content:
        pixels = stored_pixels(self.rows[index])
        digest = known_contents.digest(pixels)
        if self._digests is not None and digest != Hdf5Rows(self._digests, self._positions)[index].tobytes():
            raise ImageReadError("its pixels are not those that were packed: the file was changed, or is damaged")
        return Content(pixels, digest)

    def recall(self, memo: DigestMemo | None) -> KnownDigests:
        if self._digests is None:
            return super().recall(memo)
        return KnownDigests(Hdf5Rows(self._digests, self._positions)[:])


class Hdf5ImageSources(Sources):
    """Images that are a dataset each, of any sizes.

    Parameters
    ----------
    path : str
        Of the file.
    names : ndarray of shape (n_images,) of str
        Of the datasets.
    bgr : bool
        Whether images of three and four channels are BGR.
    """

    def __init__(self, path: str, names: np.ndarray, *, bgr: bool):
        self._path = path
        self._names = names
        self._bgr = bgr

    def __len__(self) -> int:
        return len(self._names)

    def take(self, indices: np.ndarray | slice) -> Hdf5ImageSources:
        return Hdf5ImageSources(self._path, self._names[indices], bgr=self._bgr)

    def name(self, index: int) -> str:
        return f"{self._path}[{self._names[index]!r}]"

    def read(self, index: int, memo: DigestMemo | None = None) -> Content:
        try:
            with opened(self._path) as file:
                pixels = file[self._names[index]][...]
        except Exception as error:  # h5py raises nearly every built-in error on damaged data
            raise ImageReadError(f"it cannot be read: {error}") from error
        pixels = stored_pixels(to_rgb(pixels) if self._bgr and pixels.ndim == 3 else pixels)
        return Content(pixels, known_contents.digest(pixels))


def to_rgb(pixels: np.ndarray) -> np.ndarray:
    """Return images (..., channels) of BGR as RGB, and of BGRA as RGBA; grey ones as they are."""
    n_channels = pixels.shape[-1]
    return pixels[..., [2, 1, 0, *range(3, n_channels)]] if n_channels >= 3 else pixels


def stored_pixels(pixels: np.ndarray) -> np.ndarray:
    """Return an image as it was before it was stored in floats: uint8, if all its values are whole and in [0, 255].

    Raises
    ------
    ImageReadError
        When it is no image, or a value is NaN or infinite, or a whole number outside [0, 255].
    """
    try:
        checked = check_pixels(pixels)
    except PreprocessingError as error:
        raise ImageReadError(str(error)) from None
    if checked.dtype == np.float32 and checked.min() >= 0 and checked.max() <= 255:
        whole = checked.astype(np.uint8)
        if np.array_equal(whole, checked):
            return whole
    return checked


@contextlib.contextmanager
def opened(path: str) -> Iterator[h5py.File]:
    """Open an HDF5 file to read it, whether or not its file system has locks."""
    import h5py

    with h5py.File(path, "r", locking="best-effort") as file:
        yield file


def state_of(path: str) -> tuple[int, int]:
    """Return size and time of change (ns) of a file."""
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns


def text_of(values: Sequence[bytes | str]) -> list[str]:
    """Return text of an HDF5 file as str."""
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]
