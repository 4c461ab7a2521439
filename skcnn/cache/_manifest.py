"""The manifest of a store: the description behind its fingerprint, for people and `python -m skcnn.cache`."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from skcnn._aside import aside, sync_to_disk
from skcnn._plain import plain

MANIFEST = "manifest.json"
FINGERPRINT_BYTES = 16


class Label(NamedTuple):
    """How the features of a store are listed in a table; no part of the fingerprint."""

    what: str = ""
    layer: str = ""
    image_size: str = ""


def fingerprint_of(description: dict[str, Any]) -> str:
    """Return the hex digest of a description; the order of its keys does not matter."""
    text = json.dumps(plain(description), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=FINGERPRINT_BYTES).hexdigest()


def is_fingerprint(name: str) -> bool:
    """Whether the name of a directory is a fingerprint by its form."""
    return len(name) == 2 * FINGERPRINT_BYTES and not set(name) - set("0123456789abcdef")


def write_manifest(directory: Path, identity: dict[str, Any], row_shape: tuple[int, ...] | None, label: Label) -> None:
    """Write the description behind a fingerprint, unless it is there. No result depends on it.

    Parameters
    ----------
    directory : Path
        Named by the fingerprint of `identity`.
    identity : dict
        Description and dtype, as JSON types.
    row_shape : tuple of int or None
    label : Label
    """
    if read_identity(directory) == identity and (any(read_label(directory)) or not any(label)):
        return
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    manifest = {**identity, "row_shape": row_shape, "label": label._asdict(), "created": now}
    final = directory / MANIFEST
    with aside(final) as partial:
        partial.write_text(json.dumps(manifest, indent=2, sort_keys=True), encoding="utf-8")
        sync_to_disk(partial)
        os.replace(partial, final)


def read_identity(directory: Path) -> dict[str, Any] | None:
    """Return the description and dtype that a manifest names; None where they do not match the directory's name."""
    try:
        manifest = read_manifest(directory)
        identity = {name: manifest[name] for name in ("description", "dtype")}
    except KeyError:
        return None
    return identity if fingerprint_of(identity) == directory.name else None


def read_label(directory: Path) -> Label:
    """Return the label in a manifest; an empty one where it has none."""
    label = read_manifest(directory).get("label")
    if not isinstance(label, dict):
        return Label()
    return Label(*(str(label.get(name, "")) for name in Label._fields))


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the content of a manifest; an empty dict where there is none that can be read."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return manifest if isinstance(manifest, dict) else {}
