"""One progress bar for all long work: a bar on a terminal or in a notebook, a line now and then in a log."""

from __future__ import annotations

import functools
import sys
from typing import Any

__all__ = ["progress_bar"]

SECONDS_BETWEEN_LINES = 10.0


def progress_bar(total: int, *, description: str, unit: str = "image", verbose: int | bool = 0) -> Any:
    """Return a bar of tqdm, silent unless `verbose`; where the error stream is no terminal, it writes lines.

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

    settings = {"total": total, "desc": description, "unit": f" {unit}", "disable": not verbose}
    if not verbose or sys.stderr.isatty() or is_notebook():
        return tqdm(**settings, dynamic_ncols=True)
    return log_lines()(**settings, mininterval=SECONDS_BETWEEN_LINES, maxinterval=SECONDS_BETWEEN_LINES)


def is_notebook() -> bool:
    """Whether this runs in a notebook, where tqdm draws a bar of its own."""
    from tqdm.autonotebook import tqdm
    from tqdm.std import tqdm as plain_bar

    return tqdm is not plain_bar


@functools.cache
def log_lines() -> type:
    """Return the bar for where nothing can be drawn over, such as a file; tqdm is imported for it."""
    from tqdm.std import tqdm

    class LogLines(tqdm):
        """Whole lines, one every few seconds and one at the end."""

        disable: bool

        def __init__(self, **settings: Any):
            self._shown = 0
            form = "{desc}: {n_fmt} of {total_fmt} ({percentage:.0f} %), {elapsed}<{remaining}, {rate_fmt}{postfix}"
            # With a delay nothing is said before the work has begun.
            super().__init__(bar_format=form, delay=1e-9, **settings)

        def display(self, msg: str | None = None, pos: int | None = None) -> bool:
            """Write a line, unless nothing has happened since the last one."""
            if self.n == self._shown:
                return False
            self._shown = self.n
            self.fp.write(f"{self}\n")
            self.fp.flush()
            return True

        def close(self) -> None:
            """Write the last line."""
            if not self.disable:
                self.display()
                self.sp = None  # nothing more is drawn
            super().close()

    return LogLines
