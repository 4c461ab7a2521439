"""One progress bar for all long work."""

from __future__ import annotations

from typing import Any

__all__ = ["progress_bar"]


def progress_bar(total: int, *, description: str, unit: str = "image", verbose: int | bool = 0) -> Any:
    """Return a tqdm bar, silent unless `verbose`.

    Parameters
    ----------
    total : int
        How many units the work has.
    description : str
        What is being done.
    unit : str, default="image"
        The name of one unit.
    verbose : int or bool, default=0
        0 shows nothing.
    """
    from tqdm.auto import tqdm

    return tqdm(total=total, desc=description, unit=f" {unit}", disable=not verbose, dynamic_ncols=True)
