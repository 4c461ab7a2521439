"""Import heavy or optional libraries at the moment they are needed."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType
from typing import Any

__all__ = ["import_optional", "is_installed", "new_axes"]


def is_installed(module: str) -> bool:
    """Whether `module` can be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def import_optional(module: str, *, purpose: str, install: str) -> ModuleType:
    """Import `module`, or say what it is for and how to install it.

    Parameters
    ----------
    module : str
        Name of the module to import.
    purpose : str
        What needs it, as the beginning of a sentence: "reading 's3://...'".
    install : str
        What to hand to ``pip install``.

    Raises
    ------
    ImportError
        When the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        msg = f"{purpose} needs {module}, which is not installed; run: pip install '{install}'"
        raise ImportError(msg) from error


def new_axes(n_axes: int, *, purpose: str, size: tuple[float, float]) -> list[Any]:
    """Return the axes of a new matplotlib figure, side by side.

    Parameters
    ----------
    n_axes : int
    purpose : str
        What draws, as for `import_optional`.
    size : tuple of two floats
        Width and height of the figure, in inches.

    Raises
    ------
    ImportError
        When matplotlib is not installed.
    """
    import_optional("matplotlib", purpose=purpose, install="skcnn[plots]")
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, n_axes, figsize=size, layout="constrained", squeeze=False)
    return list(axes[0])
