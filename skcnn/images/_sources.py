"""Where images come from: files, addresses, encoded bytes, Pillow images, arrays. Nothing here decodes files."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from stat import S_ISREG
from typing import IO, Any, NamedTuple

import numpy as np

from skcnn._locks import Lock
from skcnn._optional import import_optional
from skcnn.cache._digests import (
    DIGEST_BYTES,
    DigestMemo,
    FileState,
    digest_bytes,
    known_contents,
    unchanged_files,
)
from skcnn.exceptions import ImageReadError, PreprocessingError
from skcnn.images._formats import failures_explained
from skcnn.images._paths import find_file, missing_file
from skcnn.images._pillow import lay_over_white, upright_rgb

CHANNELS = (1, 3, 4)
MAX_FILE_BYTES = 2 << 30
PIECE_BYTES = 2**20
NO_DIGEST = bytes(DIGEST_BYTES)

# Two threads must not load one image at a time, and a list may hold an image twice.
_pillow_loading = Lock()


class Content(NamedTuple):
    """The content of a source: encoded bytes or ready pixels, and their digest."""

    data: bytes | np.ndarray
    digest: bytes


class KnownDigests:
    """The digests that are known of images without reading them.

    Parameters
    ----------
    digests : sequence of bytes or None, or ndarray of shape (n_images, 20), uint8
        Digest of each image when it was last read.
    states : sequence of FileState or None, default=None
        State of each file at that time; None where images are no files, and cannot change.
    paths : sequence of str, default=None
        The files.

    Attributes
    ----------
    digests : ndarray of shape (n_images, 20), uint8
    known : ndarray of shape (n_images,), bool
        Which of `digests` are known.
    """

    def __init__(
        self,
        digests: Sequence[bytes | None] | np.ndarray,
        states: Sequence[FileState | None] | None = None,
        paths: Sequence[str] | None = None,
    ):
        self._states = states
        self._paths = paths
        self.known = np.ones(len(digests), bool)
        if isinstance(digests, np.ndarray):
            self.digests = digests
            return
        if None in digests:  # in a warm run all are known, and this is most of what it does
            self.known = np.array([digest is not None for digest in digests], bool)
            digests = [digest or NO_DIGEST for digest in digests]
        self.digests = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)  # type: ignore[arg-type]

    def unchanged(self, positions: np.ndarray) -> np.ndarray:
        """Return a mask (n_positions,) of the images at `positions` whose known digest is still right."""
        if self._paths is None or self._states is None:
            return self.known[positions]
        paths, states, indices = self._paths, self._states, positions.tolist()
        return unchanged_files([paths[index] for index in indices], [states[index] for index in indices])


class Sources(ABC):
    """An immutable sequence of places to read images from."""

    @property
    def channels(self) -> int:
        """Channels of the images: 3 for all that are decoded, 1 for grey arrays."""
        return 3

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) of every image, where they are known to have one size without reading any."""
        return None

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abstractmethod
    def take(self, indices: np.ndarray | slice) -> Sources:
        """Return the sources at `indices`, in that order."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Return the name of one source in messages."""

    @abstractmethod
    def read(self, index: int, memo: DigestMemo | None = None) -> Content:
        """Read one source once, and record its digest in `memo`. Raises ImageReadError."""

    def recall(self, memo: DigestMemo | None) -> KnownDigests:
        """Return the digests that are known without reading any image."""
        return KnownDigests([None] * len(self))


class _ItemSources(Sources):
    """Sources kept as a one-dimensional object array."""

    def __init__(self, items: Sequence[Any] | np.ndarray):
        if not isinstance(items, np.ndarray):
            array = np.empty(len(items), object)
            for index, item in enumerate(items):  # all at once NumPy would load Pillow images
                array[index] = item
            items = array
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def take(self, indices: np.ndarray | slice) -> Sources:
        return type(self)(self.items[indices])


class BytesSources(_ItemSources):
    """Encoded images in memory. Bytes cannot change, so they are hashed once."""

    def __init__(self, items: Sequence[Any] | np.ndarray, digests: np.ndarray | None = None):
        super().__init__(items)
        self._digests = np.full(len(self.items), None) if digests is None else digests

    def take(self, indices: np.ndarray | slice) -> Sources:
        return BytesSources(self.items[indices], self._digests[indices])

    def name(self, index: int) -> str:
        return f"<{len(self.items[index])} bytes>"

    def read(self, index: int, memo: DigestMemo | None = None) -> Content:
        data = self.items[index]
        if self._digests[index] is None:
            self._digests[index] = known_contents.digest(data)
        return Content(data, self._digests[index])

    def recall(self, memo: DigestMemo | None) -> KnownDigests:
        digests = self._digests.tolist()
        if None in digests:
            digests = [
                known_contents.recall(data) if digest is None else digest
                for data, digest in zip(self.items, digests, strict=True)
            ]
            self._digests[:] = digests
        return KnownDigests(digests)


class PathSources(_ItemSources):
    """Files, and addresses such as ``s3://...`` that fsspec can open."""

    def name(self, index: int) -> str:
        return self.items[index]

    def read(self, index: int, memo: DigestMemo | None = None) -> Content:
        path = self.items[index]
        if is_url(path):
            data = read_url(path)
            return Content(data, digest_bytes(data))
        read_ns = time.time_ns()
        data, state, found = read_file(path)
        digest = digest_bytes(data)
        if memo is not None:
            memo.record(absolute([found])[0], state, digest, read_ns=read_ns)
        return Content(data, digest)

    def recall(self, memo: DigestMemo | None) -> KnownDigests:
        if memo is None:
            return super().recall(memo)
        paths = absolute(self.items)
        entries = memo.recall(paths)
        # Those that nothing is known of may be spelt otherwise on the disk.
        unknown = [index for index, (state, _) in enumerate(entries) if state is None and not is_url(self.items[index])]
        found = {index: find_file(paths[index]) for index in unknown}
        respelt = {index: path for index, path in found.items() if path not in (None, paths[index])}
        if respelt:
            for (index, path), entry in zip(respelt.items(), memo.recall([*respelt.values()]), strict=True):
                paths[index], entries[index] = path, entry
        states, digests = zip(*entries, strict=True) if entries else ((), ())
        return KnownDigests(digests, states, paths)


class PillowSources(_ItemSources):
    """Pillow images, which come in like the files they were opened from."""

    def name(self, index: int) -> str:
        image = self.items[index]
        where = f" of {os.fsdecode(image.filename)!r}" if getattr(image, "filename", "") else ""
        return f"<Pillow image{where}, mode {image.mode}, {image.width} x {image.height}>"

    def read(self, index: int, memo: DigestMemo | None = None) -> Content:
        image = self.items[index]
        with failures_explained(image.format or "Pillow image"), _pillow_loading:
            pixels = upright_rgb(image)
        return Content(pixels, known_contents.digest(pixels))


class ArraySources(Sources):
    """Pixels in memory: one array of images of one size, or many arrays of any sizes.

    Parameters
    ----------
    arrays : ndarray of shape (n_images, height, width, channels), or object ndarray of such images
    """

    def __init__(self, arrays: np.ndarray):
        self.arrays = arrays

    @property
    def channels(self) -> int:
        shape = self.arrays[0].shape if len(self.arrays) else ()
        return 1 if len(shape) == 2 or shape[2:] == (1,) else 3

    def __len__(self) -> int:
        return len(self.arrays)

    def take(self, indices: np.ndarray | slice) -> Sources:
        return type(self)(self.arrays[indices])

    def name(self, index: int) -> str:
        return f"<array of shape {self.arrays[index].shape}>"

    def read(self, index: int, memo: DigestMemo | None = None) -> Content:
        try:
            pixels = check_pixels(self.arrays[index])
        except PreprocessingError as error:
            raise PreprocessingError(f"image [{index}] {self.name(index)}: {error}") from None
        return Content(pixels, known_contents.digest(pixels))

    def recall(self, memo: DigestMemo | None) -> KnownDigests:
        return KnownDigests([self._recall(array) for array in self.arrays])

    def _recall(self, array: Any) -> bytes | None:
        """Return the digest of an image that this process has digested before; an array may have been changed since."""
        try:
            return known_contents.recall(check_pixels(array))
        except (ImageReadError, PreprocessingError):  # to be reported when it is read
            return None


def is_url(path: str) -> bool:
    """Whether `path` names a protocol, as ``https://...`` does, and not a file of this machine."""
    return "://" in path


def absolute(paths: Iterable[str]) -> list[str]:
    """Return paths that mean the same from every working directory; much cheaper than `os.path.abspath`."""
    return [path if path[:1] == "/" or os.path.isabs(path) else os.path.join(os.getcwd(), path) for path in paths]


def read_file(path: str) -> tuple[bytes, FileState, str]:
    """Return the bytes of a file, its state when they were read, and its path as it is spelt on the disk."""
    try:
        with open(path, "rb", opener=open_at_once) as file:
            stat = os.fstat(file.fileno())
            if not S_ISREG(stat.st_mode):
                raise ImageReadError("it is no regular file, but a device, a pipe or a socket")
            return read_bounded(file, stat.st_size), FileState.of(stat), path
    except ImageReadError:
        raise
    except FileNotFoundError as error:
        found = find_file(path)
        if found in (None, path):  # a link to nowhere is found
            reason = missing_file(path) if found is None else "there is no such file where this link leads"
            raise ImageReadError(reason) from error
        return read_file(found)
    except IsADirectoryError as error:
        raise ImageReadError("it is a directory; skcnn.find_images finds the images in it") from error
    except (OSError, ValueError) as error:
        raise ImageReadError(f"it cannot be read: {error}") from error


def open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting for the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_bounded(file: IO[bytes], expected: int = 0) -> bytes:
    """Read a whole file, unless it is larger than any image; some files of the system have no end."""
    if expected <= MAX_FILE_BYTES:
        # Memory for all that is asked for is taken before anything is read.
        pieces = [file.read(expected + 1)]
        size = len(pieces[0])
        while expected < size <= MAX_FILE_BYTES and (piece := file.read(PIECE_BYTES)):
            pieces.append(piece)
            size += len(piece)
        if size <= MAX_FILE_BYTES:
            return b"".join(pieces)
    raise ImageReadError(f"it is larger than {MAX_FILE_BYTES:,} bytes, which is no image")


def read_url(url: str) -> bytes:
    """Fetch an address through fsspec."""
    fsspec = import_optional("fsspec", purpose=f"reading {url!r}", install="fsspec")
    try:
        with fsspec.open(url, "rb") as file:
            return read_bounded(file)
    except (ImportError, ImageReadError):
        raise
    except Exception as error:  # every fsspec backend brings errors of its own
        raise ImageReadError(f"it cannot be fetched: {error!r}") from error


def check_pixels(image: Any) -> np.ndarray:
    """Return an image given as pixels in the form all steps expect.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, 1 | 3 | 4)
        Numbers in [0, 255], or centred ones; bool counts as black and white.

    Returns
    -------
    ndarray of shape (height, width, 1 | 3), uint8 or float32
        Whole numbers become uint8, others float32; alpha is laid over white.

    Raises
    ------
    ImageReadError
        For another shape, no pixels, or NaN or infinite pixels.
    PreprocessingError
        For whole numbers outside [0, 255].
    """
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    if pixels.ndim != 3 or pixels.shape[2] not in CHANNELS:
        raise ImageReadError(
            f"an image has the shape (height, width) or (height, width, 1 | 3 | 4), not {pixels.shape}"
        )
    if pixels.size == 0:
        raise ImageReadError(f"the array of shape {pixels.shape} holds no pixels")
    pixels = check_numbers(pixels)
    return lay_over_white(pixels) if pixels.shape[2] == 4 else pixels


def check_numbers(pixels: np.ndarray) -> np.ndarray:
    """Turn the numbers of an image into uint8 or float32 without changing their values."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(pixels.dtype, np.integer):
        low, high = pixels.min(), pixels.max()
        if low < 0 or high > 255:
            msg = (
                f"whole-number pixels are expected in [0, 255], but these are in [{low}, {high}]; "
                "scale them, or pass floats"
            )
            raise PreprocessingError(msg)
        return pixels.astype(np.uint8)
    if np.issubdtype(pixels.dtype, np.floating):
        pixels = pixels.astype(np.float32, copy=False)
        # A sum is NaN or infinite when any pixel is, and costs no array of booleans.
        if not np.isfinite(pixels.sum(dtype=np.float64)):
            raise ImageReadError("the array holds NaN or infinite pixels; replace them, or leave the image out")
        return pixels
    raise ImageReadError(f"pixels are numbers, not {pixels.dtype}")
