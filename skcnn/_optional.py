"""Import heavy or optional libraries at the moment they are needed."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType
from typing import Any


def is_installed(module: str) -> bool:
    """Whether `module` can be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def import_optional(module: str, *, purpose: str, install: str) -> ModuleType:
    """Import `module`, or raise an error that says its purpose and how to install it.

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


def check_matplotlib(display: str) -> None:
    """Raise ImportError when matplotlib is not installed, which `display`, the name of a class, draws with."""
    import_optional("matplotlib", purpose=display, install="skcnn[plots]")


def new_axes(n_axes: int, *, size: tuple[float, float]) -> list[Any]:
    """Return the axes of a new matplotlib figure, side by side; `size` is its width and height in inches."""
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, n_axes, figsize=size, layout="constrained", squeeze=False)
    return list(axes[0])
