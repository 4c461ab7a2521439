"""``python -m skcnn.cache``: list the cache, verify it, and make it smaller."""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from skcnn.cache._contents import CacheEntry
from skcnn.cache._directory import default_cache_dir, expanded
from skcnn.cache._feature_cache import FeatureCache
from skcnn.cache._units import format_age, format_bytes, parse_age
from skcnn.exceptions import StoreError

COLUMNS = ("what", "layer", "image size", "dtype", "images", "bytes", "last used")
UNREADABLE = "stored by another version of skcnn"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0 when all is well, 1 when something is damaged or could not be removed, 2 on misuse."""
    options = parser().parse_args(arguments)
    warnings.simplefilter("ignore")  # what is wrong is in the report
    try:
        directory = default_cache_dir() if options.directory is None else expanded(options.directory)
        return options.command(FeatureCache(directory), options)
    except BrokenPipeError:  # as in: ... | head
        sys.stdout = None
        return 0
    except (StoreError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    root = argparse.ArgumentParser(prog="python -m skcnn.cache", description="Look after the cache of skcnn.")
    commands = root.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[FeatureCache, Any], int], summary: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        added.set_defaults(command=command)
        added.add_argument("--directory", metavar="DIR", help="the cache; by default the one that cache=True means")
        added.add_argument("--json", action="store_true", help="print JSON")
        return added

    add("info", info, "show what is stored, what was used last at the end")
    add("verify", verify, "compare all features with their checksums; damaged files are set aside")
    add("compact", compact, "put small files together, and remove damaged ones that were set aside")
    cleaner = add("clear", clear, "remove what is stored, but for what is in use")
    cleaner.add_argument("--older-than", metavar="AGE", type=age, help="only what was not used since: 12h, 30d, 4w")
    cleaner.add_argument("--backbone", metavar="NAME", help="only what this backbone made")
    cleaner.add_argument("--unreadable", action="store_true", help="only what this version of skcnn does not read")
    cleaner.add_argument("--dry-run", action="store_true", help="show what would be removed, and remove nothing")
    return root


def age(text: str) -> Any:
    """Return a span of time from the command line."""
    try:
        return parse_age(text, "it")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def info(cache: FeatureCache, options: argparse.Namespace) -> int:
    """List the stores."""
    entries, limit, size = cache.entries(), cache.limit_in_effect, cache.size
    summaries = [entry.summary() for entry in entries]
    if options.json:
        print_json(
            directory=str(cache.directory),
            bytes=size,
            limit=None if math.isinf(limit) else round(limit),
            entries=summaries,
        )
        return 0
    bound = "no limit" if math.isinf(limit) else f"at most {format_bytes(limit)}"
    print(f"{cache.directory}: {format_bytes(size)}, {bound}\n")
    if entries:
        print_table(entries, summaries)
    else:
        print("nothing is stored")
    return 0


def verify(cache: FeatureCache, options: argparse.Namespace) -> int:
    """Compare all features with their checksums."""
    problems = cache.verify()
    if options.json:
        print_json(damaged={directory.name: names for directory, names in problems.items()})
    elif not problems:
        print(f"{cache.directory}: all features are as they were written")
    for directory, names in {} if options.json else problems.items():
        print(f"{directory}: damaged or not readable: {', '.join(names)}")
    return 1 if problems else 0


def compact(cache: FeatureCache, options: argparse.Namespace) -> int:
    """Put small files together."""
    saved = cache.compact()
    if options.json:
        print_json(bytes_saved=saved, bytes=cache.size)
    else:
        print(f"{cache.directory}: {format_bytes(cache.size)}, {format_bytes(max(0, saved))} less than before")
    return 0


def clear(cache: FeatureCache, options: argparse.Namespace) -> int:
    """Remove stores."""
    removed, in_use = cache.clear(
        older_than=options.older_than,
        backbone=options.backbone,
        unreadable=options.unreadable,
        dry_run=options.dry_run,
    )
    size = sum(entry.bytes for entry in removed)
    if options.json:
        names = {"removed": removed, "in_use": in_use}
        print_json(bytes=size, **{name: [entry.directory.name for entry in each] for name, each in names.items()})
    else:
        verb = "would remove" if options.dry_run else "removed"
        print(f"{cache.directory}: {verb} {len(removed)} of {len(removed) + len(in_use)} entries, {format_bytes(size)}")
        for entry in in_use:
            print(f"in use, or not to be removed: {entry.what} {entry.layer} in {entry.directory}", file=sys.stderr)
    return 1 if in_use else 0


def print_json(**values: Any) -> None:
    """Print an object of JSON."""
    print(json.dumps(values, indent=2))


def print_table(entries: Sequence[CacheEntry], summaries: Sequence[dict[str, Any]]) -> None:
    """Print one line for each entry, in columns."""
    table = [COLUMNS]
    for entry, summary in zip(entries, summaries, strict=True):
        last = format_age(entry.age())
        size = format_bytes(entry.bytes)
        if not entry.is_readable:
            table.append((UNREADABLE, "", "", "", "", size, last))
            continue
        dtype = "x".join(map(str, summary["row_shape"] or [])) + f" {summary['dtype']}"
        table.append((entry.what, entry.layer, entry.image_size, dtype.strip(), f"{summary['images']:,}", size, last))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = [cell.rjust(width) if name in ("images", "bytes") else cell.ljust(width)
                 for name, cell, width in zip(COLUMNS, row, widths, strict=True)]  # fmt: skip
        print("  ".join(cells).rstrip())


if __name__ == "__main__":
    sys.exit(main())
