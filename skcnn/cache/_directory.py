"""Where skcnn keeps what it has computed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

__all__ = ["cache_directory", "default_cache_dir"]


def cache_directory(cache: Any) -> Path | None:
    """Return the directory that a `cache` parameter means; None for no cache.

    Raises
    ------
    ValueError
        When it is neither True, nor a directory, nor None.
    """
    if not isinstance(cache, (bool, str, os.PathLike, type(None))) or cache == "":
        raise ValueError(f"The 'cache' parameter must be True, a directory or None. Got {cache!r} instead.")
    if cache is None or cache is False:
        return None
    return default_cache_dir() if cache is True else Path(cache).expanduser()


def default_cache_dir() -> Path:
    """Return the directory that ``cache=True`` means.

    ``SKCNN_CACHE_DIR`` when that is set, else the user's cache directory of this operating system. It need not exist.
    """
    chosen = os.environ.get("SKCNN_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("skcnn", appauthor=False))
