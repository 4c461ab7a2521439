"""The directory that skcnn stores features in."""

from __future__ import annotations

import os
import warnings
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from skcnn._plain import plain
from skcnn.exceptions import StoreError, StoreWarning

# What was warned of: each pipeline of a search would say the same.
_warned: set[Hashable] = set()


def cache_directory(cache: Any) -> Path | None:
    """Return the directory that a `cache` parameter means; None for no cache.

    Raises
    ------
    ValueError
        When it is neither True, nor a directory, nor None. Where True finds no home directory, nothing is kept, and a
        warning says so.
    """
    cache = plain(cache)
    if not isinstance(cache, (bool, str, os.PathLike, type(None))) or cache == "":
        raise ValueError(f"The 'cache' parameter must be True, a directory or None. Got {cache!r} instead.")
    if cache is None or cache is False:
        return None
    if cache is not True:
        return expanded(cache)
    try:
        return default_cache_dir()
    except StoreError as error:
        warn_not_kept(str(error), cause=None)
        return None


def default_cache_dir() -> Path:
    """Return the directory that ``cache=True`` means.

    ``SKCNN_CACHE_DIR`` when that is set, else the user's cache directory of this operating system. It need not exist.

    Raises
    ------
    StoreError
        When this process has no home directory.
    """
    chosen = os.environ.get("SKCNN_CACHE_DIR")
    if chosen:
        return expanded(chosen)
    import platformdirs

    msg = "this process has no home directory to keep anything in"
    try:
        directory = Path(platformdirs.user_cache_dir("skcnn", appauthor=False))
    except (RuntimeError, KeyError) as error:
        raise StoreError(f"{msg} ({error}); SKCNN_CACHE_DIR names another directory") from error
    if not directory.is_absolute():  # "~" that nobody could replace would become a folder of that name
        raise StoreError(f"{msg} ({str(directory)!r}); SKCNN_CACHE_DIR names another directory")
    return directory


def expanded(directory: str | os.PathLike) -> Path:
    """Return a directory whose name may begin with ``~``."""
    try:
        return Path(directory).expanduser()
    except RuntimeError as error:
        raise StoreError(f"there is no home directory for {os.fspath(directory)!r} ({error})") from error


def warn_not_kept(problem: str, cause: Hashable) -> None:
    """Warn that features are not kept, and say how to change that; once for each cause in a process."""
    if cause in _warned:
        return
    _warned.add(cause)
    msg = (
        f"{problem}; features are computed and returned, but not kept. Name a directory that can be written by "
        "cache=... or SKCNN_CACHE_DIR, or say cache=None"
    )
    warnings.warn(msg, StoreWarning, stacklevel=2)
