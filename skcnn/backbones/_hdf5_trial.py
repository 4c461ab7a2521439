"""Read an HDF5 file in a process of its own first: on a damaged file the library may hang or crash."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys

from skcnn.exceptions import BackboneError

SECONDS = 30.0
BYTES_PER_SECOND = 20_000_000
# Arrays of up to this size, or twice the file's, are read; larger ones would be refused as too large.
SMALL_BYTES = 64 << 20

# Reads everything in the file. Errors are ignored here: the code that reads the file afterwards reports them.
TRIAL = """
import contextlib, json, sys
path, sys.path[:], limit = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
import h5py

def read(name, item):
    for attribute in item.attrs:
        with contextlib.suppress(Exception):
            item.attrs[attribute]
    if isinstance(item, h5py.Dataset) and item.nbytes <= limit and not (item.external or item.is_virtual):
        with contextlib.suppress(Exception):
            item[()]

with contextlib.suppress(Exception), h5py.File(path, "r") as file:
    read("/", file)
    file.visititems(read)
"""


def check_hdf5(path: str, digest: str) -> None:
    """Refuse a file that cannot be read without a crash, or not in any reasonable time.

    Parameters
    ----------
    path : str
    digest : str
        Of its content, for which the answer is remembered.

    Raises
    ------
    BackboneError
    """
    if failure := trial(path, digest):
        raise BackboneError(f"{path!r} is damaged: HDF5 {failure} when it reads it. Save or download it again")


@functools.lru_cache(maxsize=64)
def trial(path: str, digest: str) -> str:
    """Return how the process that read a file of this content failed; an empty string where it did not."""
    size = os.path.getsize(path)
    limit = max(SMALL_BYTES, 2 * size)
    command = [sys.executable, "-c", TRIAL, path, json.dumps([os.fspath(each) for each in sys.path]), str(limit)]
    timeout = SECONDS + size / BYTES_PER_SECOND
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return "does not come to an end"
    except OSError:  # no process can be started here
        return ""
    # 1 is an error in Python. Windows reports a crash as a large number, other systems as a negative one.
    return "" if ended.returncode in (0, 1) else f"crashes (exit code {ended.returncode})"
