"""Errors that name every image of a call that failed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from skcnn.exceptions import ImageReadError
from skcnn.images._paths import NO_FOLDER

if TYPE_CHECKING:
    from skcnn.images._sequence import ImageSequence

# Beyond this many the message would bury what it says; `failures` of the error always holds all.
NAMED_FAILURES = 100


@contextlib.contextmanager
def memory_errors_explained() -> Iterator[None]:
    """Turn a MemoryError into an ImageReadError, so that the image is named and `on_error` decides."""
    try:
        yield
    except MemoryError as error:
        raise ImageReadError("memory ran out while it was read; make it smaller, or give the process more") from error


def unreadable_error(images: ImageSequence, failures: dict[int, str]) -> ImageReadError:
    """Return the error that names every unreadable image of a call.

    Parameters
    ----------
    images : ImageSequence
        The images of the call.
    failures : dict of int to str
        Position and reason of each unreadable one.
    """
    return ImageReadError(describe_failures(images, failures, "cannot be read"), failures)


def reasons_of_no_row(images: ImageSequence, indices: Iterable[int]) -> dict[int, str]:
    """Return why images have rows of NaN, by their position; each is read again for it."""
    chosen = [*map(int, indices)]
    reasons = (
        str(image) if isinstance(image, ImageReadError) else "it can be read, but what is computed of it is NaN"
        for image in images[chosen].stream()
    )
    return dict(zip(chosen, reasons, strict=True))


def refuse_rows_of_nan(probabilities: np.ndarray, images: ImageSequence) -> None:
    """Raise ImageReadError, naming the images that have no probabilities, and so no label."""
    without = np.flatnonzero(np.isnan(probabilities).any(axis=1))
    if len(without):
        failures = reasons_of_no_row(images, without)
        msg = describe_failures(images, failures, "cannot be classified")
        remedy = "predict_proba gives rows of NaN for them, and skcnn.prediction_table a row with the reason"
        raise ImageReadError(f"{msg}\n{remedy}", failures)


def describe_failures(images: ImageSequence, failures: dict[int, str], what: str) -> str:
    """Return the message that names every failed image of a call, `what` being the verb, such as "cannot be read"."""
    # Where a whole folder is missing, once for all its files.
    groups: dict[int | str, list[int]] = {}
    for index, reason in sorted(failures.items()):
        groups.setdefault(reason if reason.startswith(NO_FOLDER) else index, []).append(index)
    lines = []
    for first, *others in groups.values():
        more = f" (and {len(others)} more images there)" if others else ""
        lines.append(f"  [{first}] {images.name(first)}: {failures[first]}{more}")
    if len(lines) > NAMED_FAILURES:
        lines[NAMED_FAILURES:] = [f"  ... and {len(lines) - NAMED_FAILURES} more (all in the error's `failures`)"]
    count = f"{len(failures)} of {len(images)} image" + "s" * (len(images) != 1)
    return f"{count} {what}:\n" + "\n".join(lines)
