"""`TrainingMonitor`: files that show how a training goes while it runs."""

from __future__ import annotations

import json
import math
import os
import warnings
from pathlib import Path
from typing import Any

from skcnn._aside import aside
from skcnn._optional import is_installed
from skcnn._pace import Pace
from skcnn.exceptions import StoreWarning
from skcnn.inspection._history_display import HistoryDisplay

SECONDS_BETWEEN_PICTURES = 3.0


class TrainingMonitor:
    """Rewrites ``history.json``, and ``history.png`` where matplotlib is installed, after each epoch.

    Each file is replaced as a whole, so a program that reads it never sees half of one. Where they cannot be written,
    training goes on, with one warning.

    Parameters
    ----------
    directory : path
        Made if it does not exist.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skcnn.inspection import TrainingMonitor
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     TrainingMonitor(folder).update([{"phase": "fine-tune", "epoch": 1, "loss": 0.9, "accuracy": 0.7}])
    ...     print(Path(folder, "history.json").read_text())
    [
      {
        "phase": "fine-tune",
        "epoch": 1,
        "loss": 0.9,
        "accuracy": 0.7
      }
    ]
    """

    def __init__(self, directory: str | os.PathLike):
        self.directory = Path(directory).expanduser()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._draws = is_installed("matplotlib")
        self._pace = Pace(least=SECONDS_BETWEEN_PICTURES)
        self._has_failed = False

    def update(self, history: list[dict[str, Any]], *, is_last: bool = True) -> None:
        """Write the files anew.

        Parameters
        ----------
        history : list of dict
            All records so far, as in `FineTunedCNNClassifier.history_`. What is not finite is null in JSON.
        is_last : bool, default=True
            Whether the picture is drawn in any case. False draws it every few seconds at most: it takes longer than
            many an epoch.
        """
        plain = [{name: finite(value) for name, value in record.items()} for record in history]
        try:
            with aside(self.directory / "history.json") as partial:
                partial.write_text(json.dumps(plain, indent=2))
                os.replace(partial, self.directory / "history.json")
            if self._draws and (is_last or self._pace.is_due()):
                with self._pace.timed():
                    self._draw(history)
        except OSError as error:
            if not self._has_failed:
                msg = f"{self.directory} cannot be written to: {error}; training goes on without pictures of it"
                warnings.warn(msg, StoreWarning, stacklevel=2)
            self._has_failed = True

    def _draw(self, history: list[dict[str, Any]]) -> None:
        from matplotlib.figure import Figure

        # No figure of pyplot: it would be one of the user's, and open a window.
        figure = Figure(figsize=(6.5, 2.8), layout="constrained")
        HistoryDisplay(history).plot(axes=figure.subplots(1, 2))
        with aside(self.directory / "history.png") as partial:
            figure.savefig(partial, format="png", dpi=300)
            os.replace(partial, self.directory / "history.png")


def finite(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
