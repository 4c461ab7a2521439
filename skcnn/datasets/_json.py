"""Records of a JSON list or of JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from skcnn._validation import closest
from skcnn.datasets._cells import Rows

__all__ = ["read_json"]


def read_json(text: str, rows: Rows, image_key: str, label_key: str | None) -> None:
    """Add every record of a JSON list, or of JSON Lines, to `rows`.

    Raises
    ------
    ValueError
        When the text is not JSON, holds no records, or none of them has a key that is asked for.
    """
    records = read_whole(text, rows, image_key)
    wanted = [key for key in (image_key, label_key) if key is not None]
    seen = {key: None for _, record in records if isinstance(record, dict) for key in record}
    for key in wanted:
        if seen and key not in seen:
            raise ValueError(f"no record of {rows.file!r} has the key {key!r}; the closest are {closest(key, seen)}")
    for name, record in records:
        if not isinstance(record, dict):
            rows.refuse(name, f"a record is an object with keys, not {type(record).__name__} {record!r:.40}")
        elif missing := [key for key in wanted if key not in record]:
            rows.refuse(name, f"it has no key {listed(missing)}, only {listed(record)}")
        else:
            rows.add(name, record[image_key], None if label_key is None else record[label_key])


def read_whole(text: str, rows: Rows, image_key: str) -> list[tuple[str, Any]]:
    """Return the records of a JSON list or of JSON Lines, each with what to call it."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        return read_lines(text, rows, error)
    if isinstance(data, list):
        return [(f"record [{index}]", record) for index, record in enumerate(data)]
    if isinstance(data, dict) and image_key in data and not isinstance(data[image_key], dict):
        return [("line 1", data)]
    found = f"an object with the keys {listed(data)}" if isinstance(data, dict) else type(data).__name__
    msg = (
        f"{rows.file!r} holds {found}, not a list of records [{{{image_key!r}: ...}}, ...] or one record per line; "
        "write it so, with pandas by to_json(orient='records')"
    )
    raise ValueError(msg)


def read_lines(text: str, rows: Rows, whole: Exception) -> list[tuple[str, Any]]:
    """Return the records of JSON Lines; `whole` is why the text is not one JSON value."""
    records: list[tuple[str, Any]] = []
    # Not splitlines: it also splits at separators that JSON admits within a string.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            records.append((f"line {number}", json.loads(line)))
        except (ValueError, RecursionError) as error:
            if not records:
                raise ValueError(f"{rows.file!r} is neither JSON nor JSON Lines: {whole}") from whole
            rows.refuse(f"line {number}", f"it is not JSON: {error}")
    return records


def listed(keys: Iterable[str]) -> str:
    """Return a few keys, quoted and separated by commas."""
    keys = [repr(key) for key in keys]
    return (", ".join(keys[:10]) or "none") + (f" and {len(keys) - 10} more" if len(keys) > 10 else "")
