"""The file that a path means, where its name is spelt otherwise on the disk."""

from __future__ import annotations

import bisect
import difflib
import functools
import os
import unicodedata

# How the reason begins where not a file is missing, but the folder of many.
NO_FOLDER = "there is no such folder"

# Names around the place a missing one would have among the sorted ones: comparing it with all would take too long.
COMPARED = 50


def find_file(path: str) -> str | None:
    r"""Return `path`, or the one existing path that differs from it only in spelling.

    Case, the Unicode form of accents, blanks around names, and ``\`` in place of ``/`` may differ.

    Parameters
    ----------
    path : str
        Of a file or folder of this machine.

    Returns
    -------
    str or None
        None when nothing of this name exists, or when several files differ from it only in spelling.
    """
    if os.path.lexists(path):
        return path
    folder, name = os.path.split(path)
    if "\\" in name:
        return find_file(os.path.join(folder, *name.split("\\")))
    found = find_file(folder) if folder and name and folder != path else folder
    if found is None or len(names := spellings(found, name)) != 1:
        return None
    return os.path.join(found, names[0])


def missing_file(path: str, missing: str = "there is no such file") -> str:
    """Return why there is no file at a path, naming likely ones; `missing` is how the reason begins."""
    folder, name = os.path.split(path.replace("\\", "/"))
    parent = find_file(folder) if folder else folder
    if parent is None and name:
        return missing_file(folder, NO_FOLDER)
    where = os.path.abspath(parent or "")
    if several := spellings(where, name):
        return f"{missing}, but {quoted(several)} in {where!r}; write the name of the one you mean"
    closest = closest_names(where, name)
    return f"{missing}: no {name!r} in {where!r}" + (f"; the closest there: {closest}" if closest else "")


def closest_names(folder: str, name: str) -> str:
    """Return the names in `folder` that are most like `name`, quoted."""
    names = names_in(folder)
    sought, folded = fold(name), list(names)
    place = bisect.bisect(folded, sought)
    near = folded[max(0, place - COMPARED // 2) : place + COMPARED // 2]
    alike = [key for key in near if key.partition(".")[0] == sought] or difflib.get_close_matches(sought, near)
    return quoted([spelt for key in alike for spelt in names[key]][:3])


def spellings(folder: str, name: str) -> list[str]:
    """Return the names in `folder` that differ from `name` least: only in their Unicode form, or else in case too."""
    alike = names_in(folder).get(fold(name), [])
    return [other for other in alike if compose(other) == compose(name)] or alike


def names_in(folder: str) -> dict[str, list[str]]:
    """Return the names in a folder by their normalised spelling, sorted; none where it is no folder."""
    folder = os.path.abspath(folder)
    try:
        return listed(folder, os.stat(folder).st_mtime_ns)
    except (OSError, ValueError):
        return {}


@functools.lru_cache(maxsize=64)
def listed(folder: str, changed_ns: int) -> dict[str, list[str]]:
    """Return `names_in` a folder as it was when it was changed last."""
    names: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder), key=fold):
        names.setdefault(fold(name), []).append(name)
    return names


def compose(name: str) -> str:
    """Return a name in the composed form of Unicode."""
    return unicodedata.normalize("NFC", name)


def fold(name: str) -> str:
    """Return the normalised spelling of a name."""
    return compose(compose(name).casefold()).strip()


def quoted(names: list[str]) -> str:
    """Return a few names, quoted and separated by commas."""
    return ", ".join(map(repr, names))
