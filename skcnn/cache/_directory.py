"""Where skcnn keeps what it has computed."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["default_cache_dir"]


def default_cache_dir() -> Path:
    """Return the directory that ``cache=True`` stands for.

    ``SKCNN_CACHE_DIR`` when that is set, else the user's cache directory of this operating system. It need not exist.
    """
    chosen = os.environ.get("SKCNN_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("skcnn", appauthor=False))
