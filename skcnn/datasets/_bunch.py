"""The result of every loader, and the check that leaves unreadable images and their labels out."""

from __future__ import annotations

import math
import numbers
import string
import unicodedata
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from skcnn._parallel import available_threads, bounded_map
from skcnn._progress import progress_bar
from skcnn.exceptions import ImageReadError
from skcnn.images import ImageSequence, as_image_sequence
from skcnn.images._failures import unreadable_error

if TYPE_CHECKING:
    from sklearn.utils import Bunch

NAMED_ITEMS = 20

# Share that is cut off of an image twice as long as wide, and the share of such images that is worth a warning.
ELONGATED, MANY = 0.5, 0.05

# Byte order mark, zero-width blank, marks of the direction of writing; and what str.split takes for blanks.
INVISIBLE = "\ufeff\u200b\u200e\u200f" + string.whitespace + "\xa0"


def make_bunch(
    images: np.ndarray | ImageSequence,
    labels: Sequence[str] | None,
    names: Sequence[str],
    *,
    verify: bool,
    verbose: int | bool | None,
) -> Bunch:
    """Join images and labels; with `verify`, leave out the images that cannot be read, and warn.

    Must be called by the loader itself: the warning points at the line that called the loader.

    Parameters
    ----------
    images : object ndarray of shape (n_images,) of paths, or ImageSequence
        The images.
    labels : sequence of n_images str, or None
        Their labels, None where there are none.
    names : sequence of n_images str
        What to call each image in the warning and in ``rejected``.
    verify : bool
        Whether to decode every image.
    verbose : int, bool or None
        As of `progress_bar`.

    Returns
    -------
    Bunch
        With ``paths``, ``labels``, ``target_names``, ``rejected``, ``cut_off`` and ``groups``.

    Raises
    ------
    ImageReadError
        When no image at all can be read.
    """
    from sklearn.utils import Bunch

    targets = None if labels is None else np.array(labels, dtype=str)
    rejected: list[tuple[str, str]] = []
    found = inspect_all(images, verbose) if verify else None
    if found is not None and found.failures:
        rejected = [(names[index], reason) for index, reason in found.failures.items()]
        keep = np.ones(len(images), bool)
        keep[list(found.failures)] = False
        lost = [] if targets is None else sorted(set(targets[~keep].tolist()) - set(targets[keep].tolist()))
        warn_rejected(rejected, len(images), lost)
        images, targets = images[keep], None if targets is None else targets[keep]
        names = [name for name, is_kept in zip(names, keep.tolist(), strict=True) if is_kept]
        found = Inspection({}, found.cut_off[keep], np.unique(found.groups[keep], return_inverse=True)[1])
    if found is not None:
        warn_elongated(found.cut_off)
        warn_copies(found.groups, targets, names)
    return Bunch(
        paths=images,
        labels=targets,
        target_names=None if targets is None else np.unique(targets),
        rejected=rejected,
        cut_off=None if found is None else found.cut_off,
        groups=None if found is None else found.groups,
    )


class Inspection(NamedTuple):
    """The result of decoding all images.

    Attributes
    ----------
    failures : dict of int to str
        Position and reason of each that cannot be read.
    cut_off : ndarray of shape (n_images,), float64
        The share of each image that is outside the largest square in its middle.
    groups : ndarray of shape (n_images,), int
        The same number for images of equal bytes.
    """

    failures: dict[int, str]
    cut_off: np.ndarray
    groups: np.ndarray


def inspect_all(images: np.ndarray | ImageSequence, verbose: int | bool | None) -> Inspection:
    """Decode every image, in threads; raise ImageReadError when none can be read."""
    sequence = as_image_sequence(images)

    def inspect(index: int) -> tuple[float, bytes] | ImageReadError:
        try:
            content = sequence.read(index)
            height, width = sequence.decode(content).shape[:2]
        except ImageReadError as error:
            return error
        return 1 - min(height, width) / max(height, width), content.digest

    failures, cut_off, digests = {}, np.zeros(len(sequence)), [b""] * len(sequence)
    threads = available_threads()
    with progress_bar(len(sequence), description="verifying", verbose=verbose) as bar:
        for index, found in enumerate(
            bounded_map(inspect, range(len(sequence)), n_threads=threads, window=4 * threads)
        ):
            if isinstance(found, ImageReadError):
                failures[index] = str(found)
            else:
                cut_off[index], digests[index] = found
            bar.update()
    if len(failures) == len(sequence):
        raise unreadable_error(sequence, failures)
    return Inspection(failures, cut_off, np.unique(np.array(digests, object), return_inverse=True)[1])


def warn_copies(groups: np.ndarray, labels: np.ndarray | None, names: Sequence[str]) -> None:
    """Warn of images that are there several times, above all of those that stand in several classes."""
    members: dict[int, list[int]] = {}
    for index, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(index)
    several = [indices for indices in members.values() if len(indices) > 1]
    if not several:
        return
    torn = [] if labels is None else [indices for indices in several if len(set(labels[indices].tolist())) > 1]
    count = len(groups) - len(members)
    text = (
        f"{count} of {len(groups)} images {'is a copy' if count == 1 else 'are copies'} of others, byte for byte. "
        "Scores are too good where a model is trained on copies of its test images: split by "
        "StratifiedGroupKFold().split(data.paths, data.labels, data.groups), or keep one of each, "
        "data.paths[np.unique(data.groups, return_index=True)[1]]"
    )
    if torn and labels is not None:
        text += "\nthese are in several classes, and at most one of their labels is right:"
        text += listing([" = ".join(f"{names[index]} ({labels[index]})" for index in indices) for indices in torn])
    else:
        text += "; they are:" + listing([" = ".join(names[index] for index in indices) for indices in several], 5)
    warnings.warn(text, UserWarning, stacklevel=4)


def warn_elongated(cut_off: np.ndarray) -> None:
    """Warn where many images lose half of themselves when a square is cut out of their middle."""
    elongated = cut_off >= ELONGATED
    if elongated.mean() >= MANY:
        msg = (
            f"{elongated.sum()} of {len(cut_off)} images are at least twice as long as wide. Networks are given the "
            f"largest square in the middle, which leaves out {np.median(cut_off[elongated]):.0%} of such an image (the "
            "result's `cut_off` has the share of each). Where what matters is at the ends, give the network their "
            "shape: input_size=(height, width), such as (160, 320)"
        )
        warnings.warn(msg, UserWarning, stacklevel=4)


def warn_rejected(rejected: list[tuple[str, str]], n_images: int, lost: list[str]) -> None:
    """Warn of the images that were left out, and of the classes that have none left."""
    lines = [f"{name}: {reason}" for name, reason in rejected]
    text = (
        f"{len(rejected)} of {n_images} images cannot be read and were left out, labels and all (the result's "
        f"`rejected` lists them):{listing(lines)}"
    )
    if lost:
        text += f"\nno image is left of these classes: {', '.join(map(repr, lost))}"
    warnings.warn(text, UserWarning, stacklevel=4)


def listing(lines: Sequence[str], limit: int = NAMED_ITEMS) -> str:
    """Return up to `limit` lines, indented one below the other, and how many more there are."""
    more = [f"... and {len(lines) - limit} more"] if len(lines) > limit else []
    return "".join(f"\n  {line}" for line in [*lines[:limit], *more])


def object_array(items: Sequence[str]) -> np.ndarray:
    """Return a one-dimensional object array: it indexes like any other, and a long path pads none of the rest."""
    array = np.empty(len(items), object)
    array[:] = items
    return array


def label_text(value: Any) -> str:
    """Return a label as text, the same for all that look the same: in NFC, with single blanks, 1 for 1.0.

    Raises
    ------
    ValueError
        When `value` is neither text nor a finite number, or is blank: each would make a class of its own unnoticed.
    """
    if isinstance(value, numbers.Real) and math.isfinite(value):
        value = str(int(value) if isinstance(value, float) and value.is_integer() else value)
    if value is None or (isinstance(value, str) and not tidy(value)):
        raise ValueError("the label is missing")
    if not isinstance(value, str):
        raise ValueError(f"a label is text or a finite number, not {type(value).__name__} {value!r:.40}")
    return tidy(value)


def tidy(text: str) -> str:
    """Return text in one Unicode form, with plain blanks and without invisible marks at both ends."""
    return " ".join(unicodedata.normalize("NFC", text).strip(INVISIBLE).split())
