"""Rows of a CSV file."""

from __future__ import annotations

import contextlib
import csv
import threading
from collections.abc import Iterator
from typing import IO

from skcnn._validation import closest
from skcnn.datasets._cells import Rows

__all__ = ["read_csv"]

# The limit of the csv module is one for the whole process; 128 KiB of it are less than many an embedded image.
FIELD_LIMIT = 2**31 - 1
FIELD_LIMIT_LOCK = threading.Lock()


def read_csv(text: IO[str], rows: Rows, image_column: str, label_column: str | None, delimiter: str) -> None:
    """Add every row of a CSV file to `rows`.

    Raises
    ------
    ValueError
        When the delimiter is no character, a column is unknown, or quotes are not in pairs.
    """
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        raise ValueError(f"The 'delimiter' parameter must be one character. Got {delimiter!r} instead.")
    # Not strict, a forgotten quote would swallow all rows after it without a word.
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    header: list[str] = []
    number = 0
    try:
        with unlimited_fields():
            for number, line in enumerate(reader, start=1):
                cells = [cell.strip() for cell in line]
                if not any(cells):
                    continue
                if header:
                    add_cells(rows, f"row {number}", cells, header, image_column, label_column)
                else:
                    header = [cell.lstrip("\ufeff") for cell in cells]
                    wanted = [image_column] if label_column is None else [image_column, label_column]
                    check_columns(rows.file, header, delimiter, wanted)
    except csv.Error as error:
        raise ValueError(f"row {number + 1} of {rows.file!r} is no CSV: {error}; are its quotes in pairs?") from error


def check_columns(file: str, header: list[str], delimiter: str, wanted: list[str]) -> None:
    """Raise ValueError unless each column that is wanted is there once."""
    for column in wanted:
        count = header.count(column)
        if count == 1:
            continue
        if count > 1:
            raise ValueError(f"{file!r} has {count} columns named {column!r}; name them apart")
        msg = f"{file!r} has no column {column!r}; the closest are {closest(column, header)}"
        if len(header) == 1:
            msg = (
                f"{file!r} has no column {column!r}, only {header[0][:80]!r}; if {delimiter!r} is not what separates "
                "its cells, pass another delimiter"
            )
        raise ValueError(msg)


def add_cells(
    rows: Rows, name: str, cells: list[str], header: list[str], image_column: str, label_column: str | None
) -> None:
    """Add one row of a CSV file to `rows`; cells that are missing at its end are empty ones."""
    if any(cells[len(header) :]):
        rows.refuse(
            name, f"it has {len(cells)} cells, the header {len(header)}; quote cells that contain the delimiter"
        )
        return
    row = dict(zip(header, cells, strict=False))
    rows.add(name, row.get(image_column), row.get(label_column) if label_column is not None else None)


@contextlib.contextmanager
def unlimited_fields() -> Iterator[None]:
    """Let cells of a CSV file be of any length for a while."""
    with FIELD_LIMIT_LOCK:
        usual = csv.field_size_limit(FIELD_LIMIT)
        try:
            yield
        finally:
            csv.field_size_limit(usual)
