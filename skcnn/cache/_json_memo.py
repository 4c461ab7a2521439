"""Short answers that take long to compute, each in a JSON file named by the digest of its question."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from skcnn.cache._shards import temporary_beside
from skcnn.cache._store import fingerprint_of

__all__ = ["JsonMemo"]


class JsonMemo:
    """Question -> answer, in memory and in a directory shared by processes.

    An answer that cannot be read counts as unknown, and one that cannot be written is remembered in memory only.

    Parameters
    ----------
    directory : Path
        Made when the first answer is written.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self._known: dict[str, Any] = {}

    def get(self, question: dict[str, Any]) -> Any:
        """Return the answer to a question of JSON types, None where it is not known."""
        name = fingerprint_of(question)
        if name not in self._known:
            try:
                self._known[name] = json.loads(self._file(name).read_text(encoding="utf-8"))["answer"]
            except (OSError, ValueError, KeyError, TypeError):
                return None
        return self._known[name]

    def put(self, question: dict[str, Any], answer: Any) -> None:
        """Remember an answer of JSON types."""
        name = fingerprint_of(question)
        self._known[name] = answer
        text = json.dumps({"question": question, "answer": answer}, indent=2, sort_keys=True)
        with contextlib.suppress(OSError):
            self.directory.mkdir(parents=True, exist_ok=True)
            with temporary_beside(self._file(name)) as partial:
                partial.write_text(text, encoding="utf-8")
                os.replace(partial, self._file(name))

    def _file(self, name: str) -> Path:
        return self.directory / f"{name}.json"
