"""`ScoreTable`: figures of classes or estimators, readable as text and as a DataFrame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np


class ScoreTable:
    """Figures in named rows and columns; printing it shows the table.

    Parameters
    ----------
    rows : iterable of n_rows labels
        Such as class labels.
    columns : mapping of str to array-like of shape (n_rows,)
        Shares between 0 and 1, counts, or labels; None where there is nothing to say.

    Attributes
    ----------
    rows : list of n_rows labels
    columns : dict of str to ndarray of shape (n_rows,)

    Examples
    --------
    >>> from skcnn.metrics import ScoreTable
    >>> table = ScoreTable(["cat", "dog"], {"images": [40, 60], "accuracy": [0.925, 0.85]})
    >>> print(table)
         images  accuracy
    cat      40    0.9250
    dog      60    0.8500
    >>> table["accuracy"].tolist()
    [0.925, 0.85]
    >>> table.row("dog")["images"]
    60
    """

    def __init__(self, rows: Iterable[Any], columns: Mapping[str, Any]):
        self.rows = [label.item() if isinstance(label, np.generic) else label for label in rows]
        self.columns = {name: np.asarray(values) for name, values in columns.items()}
        for name, values in self.columns.items():
            if values.shape != (len(self.rows),):
                raise ValueError(f"the column {name!r} has shape {values.shape}, but there are {len(self.rows)} rows")

    @classmethod
    def by_class(cls, labels: Any, columns: Mapping[str, Callable[[np.ndarray], Any]]) -> ScoreTable:
        """Make a table with a row "all", then one for each class.

        Parameters
        ----------
        labels : array-like of shape (n_samples,)
            The class of each sample.
        columns : mapping of str to callable
            Each is called with the samples of a row, a bool array of shape (n_samples,), and returns its figure.

        Returns
        -------
        ScoreTable
        """
        labels = np.asarray(labels)
        classes = np.unique(labels)
        members = [np.ones(len(labels), bool), *(labels == label for label in classes)]
        return cls(["all", *classes], {name: [figure(of) for of in members] for name, figure in columns.items()})

    def __getitem__(self, column: str) -> np.ndarray:
        return self.columns[column]

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, label: Any) -> dict[str, Any]:
        """Return the figures of one row, by the names of the columns."""
        index = self.rows.index(label)
        return {
            name: values[index].item() if isinstance(values[index], np.generic) else values[index]
            for name, values in self.columns.items()
        }

    def to_frame(self) -> Any:
        """Return a `pandas.DataFrame` with the same rows and columns."""
        import pandas

        return pandas.DataFrame(self.columns, index=self.rows)

    def __str__(self) -> str:
        blocks = [format_column("", list(map(str, self.rows)), left=True)]
        for name, values in self.columns.items():
            is_number = values.dtype.kind in "biuf"
            blocks.append(format_column(name, [format_value(value) for value in values], left=not is_number))
        return "\n".join("  ".join(cells).rstrip() for cells in zip(*blocks, strict=True))

    __repr__ = __str__


def format_value(value: Any) -> str:
    """Return a share with four decimals, nothing for None, anything else as it is."""
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, (float, np.floating)) else str(value)


def format_column(name: str, cells: list[str], *, left: bool) -> list[str]:
    """Return a heading and cells of one width."""
    lines = [name, *cells]
    width = max(map(len, lines))
    return [line.ljust(width) if left else line.rjust(width) for line in lines]
