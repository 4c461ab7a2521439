"""Progress of long work: a bar on a terminal or in a notebook, a line now and then in a log; and messages."""

from __future__ import annotations

import functools
import sys
import time
from typing import Any

SECONDS_BETWEEN_LINES = 10.0
# By default nothing is shown of what is done by then.
SECONDS_OF_SILENCE = 5.0


def progress_bar(total: int, *, description: str, unit: str = "image", verbose: int | bool | None = None) -> Any:
    """Return a bar of tqdm; where the error stream is no terminal, it writes lines.

    Parameters
    ----------
    total : int
        How many units the work has.
    description : str
        What is being done.
    unit : str, default="image"
        The name of one unit.
    verbose : int, bool or None, default=None
        None shows nothing of work that is done within a few seconds; 0 shows nothing at all, 1 everything.
    """
    from tqdm.auto import tqdm

    is_silent = verbose is not None and not verbose
    settings = {"total": total, "desc": description, "unit": f" {unit}", "disable": is_silent}
    settings["delay"] = SECONDS_OF_SILENCE if verbose is None else 0
    if is_silent or sys.stderr.isatty() or is_notebook():
        return tqdm(**settings, dynamic_ncols=True, miniters=0)
    return log_lines()(**settings, mininterval=SECONDS_BETWEEN_LINES, maxinterval=SECONDS_BETWEEN_LINES)


def say(text: str, verbose: int | bool | None = None) -> None:
    """Write a line to the error stream, above a bar that is shown there; nothing with ``verbose=0``."""
    if verbose is None or verbose:
        from tqdm.auto import tqdm

        tqdm.write(text, file=sys.stderr)


def without_verbosity(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of an estimator for a pickle: who loads it did not ask for progress from the beginning."""
    return {**state, "verbose": None if state.get("verbose") else state.get("verbose")}


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
        start_t: float

        def __init__(self, *, delay: float = 0, **settings: Any):
            self._shown = 0
            self._silence = delay
            form = "{desc}: {n_fmt} of {total_fmt} ({percentage:.0f} %), {elapsed}<{remaining}, {rate_fmt}{postfix}"
            # With a delay nothing is said before the work has begun.
            super().__init__(bar_format=form, delay=delay or 1e-9, **settings)

        def display(self, msg: str | None = None, pos: int | None = None) -> bool:
            """Write a line, unless nothing has happened since the last one."""
            if self.n == self._shown or time.time() < self.start_t + self._silence:
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
