"""`pack_hdf5`: resized images and their labels in one HDF5 file."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from skcnn._aside import aside, remove, sync_to_disk
from skcnn._parallel import available_threads, bounded_map
from skcnn._progress import progress_bar
from skcnn._source_code import UnknownCodeError
from skcnn._validation import check_choice, check_size
from skcnn.cache._digests import DIGEST_BYTES, digest_array
from skcnn.cache._lock import lock_if_free
from skcnn.cache._units import format_bytes
from skcnn.datasets._bunch import label_text, listing
from skcnn.datasets._open_hdf5 import open_hdf5
from skcnn.exceptions import ImageReadError
from skcnn.images import ImageSequence, ResizeCrop, ToGrey, as_image_sequence
from skcnn.images._failures import unreadable_error

if TYPE_CHECKING:
    from sklearn.utils import Bunch

COMPRESSIONS = (None, "lzf", "gzip")
# A compressed row is read with its whole chunk.
CHUNK_BYTES = 2**16
COPIED_BYTES = 2**24
SYNCED_BYTES = 2**25
# As many uint8 add up to a uint16 at most.
MOST_RECENT = 257
NO_DIGEST = np.zeros(DIGEST_BYTES, np.uint8)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def pack_hdf5(
    images: Any,
    labels: Any,
    file: str | os.PathLike,
    size: int | tuple[int, int] | None = (256, 256),
    *,
    compression: str | None = None,
    on_error: str = "raise",
    overwrite: bool = False,
    verbose: int | bool | None = None,
) -> Bunch:
    """Decode and resize images once, and keep them with their labels in one HDF5 file to train from.

    The file has ``images`` (n, height, width, 3), uint8 RGB; ``labels`` (n,), int, and ``label_names``; ``names``, what
    each image was made of; ``digests`` of the images and ``source_digests`` of what they were made of; and
    ``channel_means`` (3,) and ``pixel_means`` (height, width, 3), float64, over all images of the file: pack training
    images apart from those to test on.

    It is written aside and renamed when it is whole. A call that was killed or failed goes on where it ended when it is
    made again with the same images.

    Parameters
    ----------
    images : images
        Anything `skcnn.images.as_image_sequence` takes.
    labels : array-like of shape (n_images,), or None
        Text or whole numbers.
    file : str or Path
        The file to write; its folder must exist.
    size : int, (int, int) or None, default=(256, 256)
        Height and width in pixels. Images are resized along the shorter side and cut to the centre. None keeps the
        size that they have, which must be one.
    compression : {None, "lzf", "gzip"}, default=None
        Photographs hardly shrink, and compressed ones are read without a memory map, several times more slowly.
    on_error : {"raise", "skip"}, default="raise"
        What happens when images cannot be read: an error that names all of them, and no file; or they are left out
        with a warning, and are listed as ``rejected`` in the result.
    overwrite : bool, default=False
        Whether a file of this name may be replaced.
    verbose : int, default=None
        Progress: None shows it where packing takes more than a few seconds, 0 never, 1 always.

    Returns
    -------
    Bunch
        As `open_hdf5` returns it, and ``rejected``, a list of (name, reason) of the images that were left out.

    Raises
    ------
    FileExistsError
        When there is a file of this name.
    BlockingIOError
        When another process is packing into this file.
    ImageReadError
        Naming every image that cannot be read. The others are kept in a hidden file beside `file`, and are not decoded
        again when those are mended and the call is made again.
    OSError
        When the disk has not enough room for the whole file: it is reserved before images are decoded.
    ValueError
        When there are not as many labels as images, pixels are not uint8, or images have several sizes with
        ``size=None``.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skcnn.datasets import pack_hdf5
    >>> images = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), dtype=np.uint8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data = pack_hdf5(images, ["cat", "dog", "cat", "dog"], f"{folder}/pets.hdf5", size=32)
    ...     pixels = np.asarray(data.images)
    >>> pixels.shape, data.target_names.tolist()
    ((4, 32, 32, 3), ['cat', 'dog'])
    """
    check_choice("compression", compression, COMPRESSIONS)
    check_choice("on_error", on_error, ("raise", "skip"))
    final = Path(os.path.realpath(os.path.expanduser(os.fsdecode(file))))
    if not final.parent.is_dir():
        raise FileNotFoundError(f"the folder of {str(final)!r} does not exist; make it first")
    content = Content.of(images, labels, size)
    with only_packer(final):
        if final.exists() and not overwrite:
            raise FileExistsError(f"{str(final)!r} exists; pass overwrite=True to replace it, or open_hdf5 to read it")
        rejected = Packing(content, final).run(compression, on_error, verbose)
    if rejected:
        lines = [f"{name}: {reason}" for name, reason in rejected]
        msg = f"{len(rejected)} of {len(content.images)} images cannot be read and were left out, labels and all"
        warnings.warn(f"{msg} (the result's `rejected` lists them):{listing(lines)}", UserWarning, stacklevel=2)
    data = open_hdf5(final)
    data.rejected = rejected
    return data


@contextlib.contextmanager
def only_packer(final: Path) -> Iterator[None]:
    """Keep other processes from packing into the same file."""
    name = f".{final.name}.lock"
    with lock_if_free(final.parent, name) as is_held:
        if is_held is False:
            raise BlockingIOError(f"another process is packing into {str(final)!r}")
        try:
            yield
        finally:
            remove(final.parent / name)


class Content(NamedTuple):
    """The images to pack, of one size, and their labels."""

    images: ImageSequence
    codes: np.ndarray | None
    label_names: np.ndarray | None
    row_shape: tuple[int, int, int]

    @classmethod
    def of(cls, images: Any, labels: Any, size: int | tuple[int, int] | None) -> Content:
        """Check images and labels; no image is read."""
        images = as_image_sequence(images)
        if images.n_views > 1 and images.picks is None:
            raise ValueError(
                f"each image has {images.n_views} views; pack one of them (images.with_view(0)), or all of them apart "
                "(images.with_views_apart(), with a label for each)"
            )
        if size is not None and images.image_size != (wanted := check_size("size", size)):
            images = images.with_step(ResizeCrop(*wanted))
        height, width = images.image_size or images[0].shape[-3:-1]
        channels = 1 if ToGrey() in images.steps else images.sources.channels
        if labels is None:
            return cls(images, None, None, (height, width, channels))
        labels = np.asarray(labels)
        if labels.ndim != 1:
            msg = f"labels come as (n_images,), one for each image. Got the shape {labels.shape}"
            raise ValueError(f"{msg}; of one-hot rows, labels.argmax(axis=1) gives it" if labels.ndim == 2 else msg)
        if len(labels) != len(images):
            raise ValueError(f"got {len(labels)} labels for {len(images)} images")
        if labels.dtype.kind not in "iu":
            labels = np.array([text_at(index, label) for index, label in enumerate(labels.tolist())])
        names, codes = np.unique(labels, return_inverse=True)
        return cls(images, codes, names, (height, width, channels))

    def names(self) -> np.ndarray:
        """Return what each image is made of, as UTF-8 of one length."""
        encoded = [self.images.name(index).encode("utf-8", "surrogateescape") for index in range(len(self.images))]
        return np.array(encoded, dtype="S")

    def plan(self) -> str | None:
        """Return what decides the content of the file besides the bytes of the images; None where it is unknown."""
        try:
            steps = self.images.describe()
        except UnknownCodeError:
            return None
        digest = hashlib.blake2b(self.names().tobytes(), digest_size=DIGEST_BYTES)
        for array in (self.codes, self.label_names, None if self.images.picks is None else self.images.picks.views):
            digest.update(b"" if array is None else f"{array.dtype}{array.tolist()}".encode())
        return json.dumps({"images": digest.hexdigest(), "shape": self.row_shape, **steps}, sort_keys=True)


def text_at(index: int, label: Any) -> str:
    """Return a label as text; the error for one that is missing says where it is."""
    try:
        return label_text(label)
    except ValueError as error:
        raise ValueError(f"labels[{index}]: {error}") from None


class Packing:
    """Fills the hidden file beside the final one, in the order of the images, and renames it.

    Parameters
    ----------
    content : Content
    final : Path
    """

    def __init__(self, content: Content, final: Path):
        self._content = content
        self._final = final
        self._partial = final.with_name(f".{final.name}.packing")
        self._failures: dict[int, str] = {}
        # Whole numbers, so that the means do not depend on where a call was killed.
        self._sums = np.zeros(content.row_shape, np.uint64)
        self._recent = np.zeros(content.row_shape, np.uint16)
        self._n_recent = 0
        self._n_bytes = len(content.images) * int(np.prod(content.row_shape))

    def run(self, compression: str | None, on_error: str, verbose: int | bool | None) -> list[tuple[str, str]]:
        """Write the file; return name and reason of each image that was left out."""
        images = self._content.images
        try:
            offsets = self._begin()
            with open(self._partial, "r+b", buffering=0) as file:
                self._fill(file, offsets, verbose)
                if len(self._failures) == len(images) or (self._failures and on_error == "raise"):
                    raise self._unreadable_error()
                self._write_means(file, offsets)
            if self._failures or compression is not None:
                self._copy(compression)
                remove(self._partial)
            else:
                sync_to_disk(self._partial)
                os.replace(self._partial, self._final)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            remove(self._partial)
            msg = f"there is no room for {str(self._final)!r}, which needs {format_bytes(self._n_bytes)}"
            raise OSError(error.errno, f"{msg}: {error.strerror}; nothing is left of it") from error
        sync_to_disk(self._final.parent)
        return [(images.name(index), reason) for index, reason in sorted(self._failures.items())]

    def _begin(self) -> dict[str, int]:
        """Return the offsets of the data sets in the hidden file, which is made unless one is there to go on with."""
        plan = self._content.plan()
        if plan is not None and (offsets := offsets_of(self._partial, plan)):
            return offsets
        remove(self._partial)
        with aside(self._partial) as unfinished:
            reserve(unfinished, self._n_bytes)  # HDF5 may crash where it finds the disk full
            self._write_structure(unfinished, plan or "")
            reserve(unfinished, unfinished.stat().st_size)
            os.replace(unfinished, self._partial)
        offsets = offsets_of(self._partial, plan or "")
        assert offsets is not None
        return offsets

    def _write_structure(self, path: Path, plan: str) -> None:
        """Write a file with everything but what is learned from the images."""
        import h5py

        images, codes, label_names, row_shape = self._content
        count = len(images)
        with h5py.File(path, "w", locking="best-effort") as file:
            file.attrs["plan"] = plan
            if codes is not None and label_names is not None:
                file["labels"] = codes
                file.create_dataset(
                    "label_names", data=label_names.astype(str).astype(object), dtype=h5py.string_dtype()
                )
                file["label_names"].attrs["dtype"] = label_names.dtype.name if label_names.dtype.kind in "iu" else "str"
            file["names"] = self._content.names()
            allocate(file, "digests", (count, DIGEST_BYTES), np.uint8)
            allocate(file, "source_digests", (count, DIGEST_BYTES), np.uint8)
            allocate(file, "channel_means", row_shape[2:], np.float64)
            allocate(file, "pixel_means", row_shape, np.float64)
            allocate(file, "images", (count, *row_shape), np.uint8)

    def _fill(self, file: IO[bytes], offsets: dict[str, int], verbose: int | bool | None) -> None:
        """Write all images in order; those that an earlier call wrote are checked and kept."""
        images, row_bytes = self._content.images, int(np.prod(self._content.row_shape))
        done = {
            name: np.memmap(self._partial, np.uint8, "r", offsets[name], (len(images), DIGEST_BYTES)).copy()
            for name in ("digests", "source_digests")
        }
        written = np.memmap(self._partial, np.uint8, "r", offsets["images"], (len(images), *self._content.row_shape))

        def make(index: int) -> tuple[np.ndarray, bytes, bytes] | ImageReadError:
            """Return an image with its digests, or why it cannot be read."""
            try:
                content = images.read(index)
                if content.digest == done["source_digests"][index].tobytes():
                    kept = written[index]
                    if (digest := digest_array(kept)) == done["digests"][index].tobytes():
                        return kept, digest, content.digest
                view = None if images.picks is None else int(images.picks.views[index])
                pixels = images.decode(content, view)
                self._check(pixels, index)
                return pixels, digest_array(pixels), content.digest
            except ImageReadError as error:
                return error

        threads, unsynced = available_threads(), 0
        with (
            progress_bar(len(images), description="packing", verbose=verbose) as bar,
            ThreadPoolExecutor(1) as syncing,
        ):
            made = bounded_map(make, range(len(images)), n_threads=threads, window=4 * threads)
            for index, result in enumerate(made):
                bar.update()
                if isinstance(result, ImageReadError):
                    self._failures[index] = str(result)
                    # What an earlier call wrote of it is not kept.
                    write_at(file, offsets["digests"] + index * DIGEST_BYTES, NO_DIGEST)
                    continue
                pixels, *digests = result
                self._add(pixels)
                if not np.shares_memory(pixels, written):
                    write_at(file, offsets["images"] + index * row_bytes, pixels)
                    for name, digest in zip(done, digests, strict=True):
                        write_at(file, offsets[name] + index * DIGEST_BYTES, np.frombuffer(digest, np.uint8))
                    unsynced += row_bytes
                    if unsynced > SYNCED_BYTES:  # else all of it has to be waited for in the end
                        syncing.submit(sync_to_disk, self._partial)
                        unsynced = 0

    def _check(self, pixels: np.ndarray, index: int) -> None:
        if pixels.dtype != np.uint8 or pixels.shape != self._content.row_shape:
            msg = f"the pixels of {self._content.images.name(index)} are {pixels.dtype} of shape {pixels.shape}"
            raise ValueError(
                f"{msg}; a packed file holds images of one size, here uint8 of shape {self._content.row_shape}. Pass "
                "the size they are to have, as size=(256, 256), and subtract means or scale after packing"
            )

    def _add(self, pixels: np.ndarray) -> None:
        """Add an image to the sums: to 16 bits, which takes a third of the time, as long as these cannot overflow."""
        self._recent += pixels
        self._n_recent += 1
        if self._n_recent == MOST_RECENT:
            self._flush()

    def _flush(self) -> None:
        self._sums += self._recent
        self._recent[:] = self._n_recent = 0

    def _write_means(self, file: IO[bytes], offsets: dict[str, int]) -> None:
        self._flush()
        count = len(self._content.images) - len(self._failures)
        write_at(file, offsets["pixel_means"], self._sums / count)
        height, width, _ = self._content.row_shape
        write_at(file, offsets["channel_means"], self._sums.sum(axis=(0, 1)) / (count * height * width))

    def _copy(self, compression: str | None) -> None:
        """Write the final file from the hidden one: compressed, or without the images that cannot be read."""
        import h5py

        keep = np.ones(len(self._content.images), bool)
        keep[list(self._failures)] = False
        with aside(self._final) as whole:
            reserve(whole, self._n_bytes)
            with h5py.File(self._partial, "r", locking="best-effort") as source, h5py.File(whole, "w") as target:
                target.attrs["plan"] = source.attrs["plan"]
                for name, dataset in source.items():
                    if name == "images":
                        copy_images(dataset, target, keep, compression)
                    elif len(dataset) == len(keep) and name not in ("label_names", "channel_means", "pixel_means"):
                        target[name] = dataset[...][keep]
                    else:
                        source.copy(dataset, target)
            sync_to_disk(whole)
            os.replace(whole, self._final)

    def _unreadable_error(self) -> ImageReadError:
        error = unreadable_error(self._content.images.with_views_together(), self._failures)
        msg = (
            f"{error}\nno file was written. Mend them and call again: the other images are kept in "
            f"{str(self._partial)!r} and are not decoded again. Or leave them out with on_error='skip'"
        )
        return ImageReadError(msg, self._failures)


def allocate(file: Any, name: str, shape: tuple[int, ...], dtype: Any) -> None:
    """Add a data set whose place in the file is fixed at once, and which is filled with zeros."""
    import h5py

    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_layout(h5py.h5d.CONTIGUOUS)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    kind, space = h5py.h5t.py_create(np.dtype(dtype)), h5py.h5s.create_simple(shape)
    h5py.h5d.create(file.id, name.encode(), kind, space, settings)


def offsets_of(path: Path, plan: str) -> dict[str, int] | None:
    """Return where the data sets of a file begin, if it is there and was made for the same plan."""
    import h5py

    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            if file.attrs["plan"] != plan:
                return None
            names = ("images", "digests", "source_digests", "channel_means", "pixel_means")
            return {name: file[name].id.get_offset() for name in names}
    except Exception:  # h5py raises nearly every built-in error on damaged files
        return None


def reserve(path: Path, n_bytes: int) -> None:
    """Have the file system set room aside for a file; raise OSError where there is not enough."""
    if hasattr(os, "posix_fallocate"):
        with open(path, "ab") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, n_bytes)
            except OSError as error:  # not every file system can
                if error.errno in NO_SPACE:
                    raise


def write_at(file: IO[bytes], offset: int, array: np.ndarray) -> None:
    """Write an array at a place of a file without a buffer of its own."""
    file.seek(offset)
    left = np.ascontiguousarray(array).data.cast("B")
    while left:
        left = left[file.write(left) or 0 :]


def copy_images(source: Any, target: Any, keep: np.ndarray, compression: str | None) -> None:
    """Copy the images to keep, a few at a time."""
    _, *row_shape = source.shape
    row_bytes = int(np.prod(row_shape))
    chunks = None if compression is None else (max(1, min(keep.sum(), CHUNK_BYTES // row_bytes)), *row_shape)
    copied = target.create_dataset(
        "images", (int(keep.sum()), *row_shape), np.uint8, chunks=chunks, compression=compression
    )
    step, filled = max(1, COPIED_BYTES // row_bytes), 0
    for start in range(0, len(keep), step):
        rows = source[start : start + step][keep[start : start + step]]
        copied[filled : filled + len(rows)] = rows
        filled += len(rows)
