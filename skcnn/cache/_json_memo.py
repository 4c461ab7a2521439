"""Short answers that take long to compute, each in a JSON file with a digest of question and answer."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from skcnn._aside import aside
from skcnn.cache._manifest import fingerprint_of, is_fingerprint


class JsonMemo:
    """Question -> answer, in memory and in a directory shared by processes.

    An answer that cannot be read or does not match its digest counts as unknown, and one that cannot be written is
    remembered in memory only.

    Parameters
    ----------
    directory : Path or None
        Made when the first answer is written; None keeps answers in memory only.
    name : str, default="memo"
        What its files begin with, to tell them from those of other memos.
    """

    def __init__(self, directory: Path | None, name: str = "memo"):
        self.directory = directory
        self.name = name
        self._known: dict[str, Any] = {}

    def get(self, question: dict[str, Any]) -> Any:
        """Return the answer to a question of JSON types, None where it is not known."""
        name = fingerprint_of(question)
        if name not in self._known:
            known = self._read(name)
            if known is None or fingerprint_of(known["question"]) != name:
                return None
            self._known[name] = known["answer"]
        return self._known[name]

    def _read(self, name: str) -> dict[str, Any] | None:
        """Return question and answer of a file that is as it was written."""
        if self.directory is None:
            return None
        try:
            known = json.loads(self._file(self.directory, name).read_text(encoding="utf-8"))
            digest = known.pop("digest")
            return known if digest == fingerprint_of(known) else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def put(self, question: dict[str, Any], answer: Any) -> None:
        """Remember an answer of JSON types."""
        name = fingerprint_of(question)
        self._known[name] = answer
        if self.directory is None:
            return
        known = {"question": question, "answer": answer}
        text = json.dumps({**known, "digest": fingerprint_of(known)}, indent=2, sort_keys=True)
        final = self._file(self.directory, name)
        with contextlib.suppress(OSError):
            self.directory.mkdir(parents=True, exist_ok=True)
            with aside(final) as partial:
                partial.write_text(text, encoding="utf-8")
                os.replace(partial, final)

    def clear(self) -> None:
        """Forget all answers, here and on disk."""
        self._known.clear()
        if self.directory is None:
            return
        with contextlib.suppress(OSError):
            for file in self.directory.glob(f"{self.name}-*.json"):
                if is_fingerprint(file.stem.removeprefix(f"{self.name}-")):
                    file.unlink(missing_ok=True)

    def _file(self, directory: Path, question: str) -> Path:
        """Return the file of the answer to the question of this fingerprint."""
        return directory / f"{self.name}-{question}.json"
