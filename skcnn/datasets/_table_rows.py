"""The rows of a CSV file, and the records of a JSON file."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

from skcnn._locks import Lock
from skcnn._validation import closest

# Name of a row in messages, and its cells by column, or the reason why it cannot be used.
Row = tuple[str, "dict[str, Any] | ValueError"]

# The limit of the csv module is one for the whole process; 128 KiB of it are less than many an embedded image.
CELL_LIMIT = 2**31 - 1
_cell_limit = Lock()


def csv_rows(text: str, file: str, columns: list[str], delimiter: str) -> Iterator[Row]:
    """Yield the rows of a CSV file, numbered as a spreadsheet numbers them; `columns` are those that are needed.

    Raises
    ------
    ValueError
        When a column is unknown, or quotes are not in pairs.
    """
    header: list[str] = []
    for number, line in enumerate(csv_lines(text, file, delimiter), start=1):
        cells = [cell.replace("\ufeff", "").strip() for cell in line]  # byte order marks are left of joined files
        if not any(cells) or (number == 1 and cells[0] == "sep="):  # with which Excel names its delimiter
            continue
        if not header:
            header = cells
            check_columns(file, header, delimiter, columns)
        elif any(cells[len(header) :]):
            msg = f"it has {len(cells)} cells, the header {len(header)}; quote cells that contain the delimiter"
            yield f"row {number}", ValueError(msg)
        elif cells == header:
            yield f"row {number}", ValueError("it is the header again; were several tables joined?")
        else:
            yield f"row {number}", dict(zip(header, cells, strict=False))


def csv_lines(text: str, file: str, delimiter: str) -> Iterator[list[str]]:
    """Yield the cells of each row of a CSV file."""
    # The csv module takes blanks before a quote, but none behind it.
    end = rf"{re.escape(delimiter)}|$"
    blanks_behind_quote = re.compile(rf'"(?!{end})[^\S\n]+(?={end})')
    lines = (blanks_behind_quote.sub('"', line[0]) for line in re.finditer(r"[^\n]*\n|[^\n]+", text))
    # Not strict, a forgotten quote would swallow all rows after it without a word.
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=delimiter != " ")
    for number in itertools.count(1):
        with _cell_limit:
            usual = csv.field_size_limit(CELL_LIMIT)
            try:
                cells = next(reader, None)
            except csv.Error as error:
                msg = f"row {number} of {file!r} is no CSV: {error}; are its quotes in pairs?"
                raise ValueError(msg) from error
            finally:
                csv.field_size_limit(usual)
        if cells is None:
            return
        yield cells


def check_columns(file: str, header: list[str], delimiter: str, columns: list[str]) -> None:
    """Raise ValueError unless each column that is needed is there once."""
    for column in columns:
        count = header.count(column)
        if count > 1:
            raise ValueError(f"{file!r} has {count} columns named {column!r}; name them apart")
        if count == 0 and len(header) == 1:
            msg = (
                f"{file!r} has no column {column!r}, only {header[0][:80]!r}; if {delimiter!r} is not what separates "
                "its cells, pass another delimiter"
            )
            raise ValueError(msg)
        if count == 0:
            raise ValueError(f"{file!r} has no column {column!r}; the closest are {closest(column, header)}")


def json_rows(text: str, file: str, keys: list[str]) -> Iterator[Row]:
    """Yield the records of a JSON list, numbered from 0, or of JSON Lines; `keys` are those that are needed.

    Raises
    ------
    ValueError
        When the text is not JSON, holds no list of records, or no record has one of the keys.
    """
    records = json_records(text.lstrip("\ufeff"), file, keys[0])
    seen = {key: None for _, record in records if isinstance(record, dict) for key in record}
    for key in keys:
        if seen and key not in seen:
            raise ValueError(f"no record of {file!r} has the key {key!r}; the closest are {closest(key, seen)}")
    for name, record in records:
        if isinstance(record, (dict, ValueError)):
            yield name, record
        else:
            kind = type(record).__name__
            yield name, ValueError(f"a record is an object with keys, not {kind} {record!r:.40}")


def json_records(text: str, file: str, image_key: str) -> list[tuple[str, Any]]:
    """Return the records of a JSON list or of JSON Lines, named; a ValueError stands for a line that is no JSON."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        # Not splitlines: it also splits at separators that JSON admits within a string.
        numbered = [(f"line {number}", line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        records = [(name, json_line(line)) for name, line in numbered]
        if records and isinstance(records[0][1], ValueError):
            raise ValueError(f"{file!r} is neither JSON nor JSON Lines: {error}") from error
        return records
    if isinstance(whole, list):
        return [(f"record [{index}]", record) for index, record in enumerate(whole)]
    if isinstance(whole, dict) and image_key in whole and not isinstance(whole[image_key], dict):
        return [("line 1", whole)]
    keys = ", ".join(map(repr, itertools.islice(whole, 10))) if isinstance(whole, dict) else ""
    found = f"an object with the keys {keys}" if keys else type(whole).__name__
    msg = (
        f"{file!r} holds {found}, not a list of records [{{{image_key!r}: ...}}, ...] or one record per line; write it "
        "so, with pandas by to_json(orient='records')"
    )
    raise ValueError(msg)


def json_line(line: str) -> Any:
    """Return the value in one line of JSON Lines, or why it is none."""
    try:
        return json.loads(line.lstrip("\ufeff"))
    except (ValueError, RecursionError) as error:
        return ValueError(f"it is not JSON: {error}")
