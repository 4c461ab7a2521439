"""``.keras`` and ``.h5`` files: read their configuration without Keras, and refuse damaged files."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from skcnn.backbones._backbone import DIGEST_BYTES
from skcnn.backbones._identity import canonical_json
from skcnn.exceptions import BackboneError

# Weights hardly compress; a network that was just built, of zeros in part, stays far below this.
MAX_EXPANSION = 20
HARMLESS_BYTES = 64 << 20
MAX_CONFIG_BYTES = 32 << 20
PIECE = 1 << 20

# What files hold besides layers and their weights.
FOR_TRAINING = {"optimizer", "seed_generator"}

KERAS_2 = "Keras 2 wrote it: save the model there with model.save('network.h5'), and give the path of that"


def read_config(path: str) -> Any:
    """Read the architecture of the network in a ``.keras`` file, without Keras."""
    try:
        with zipfile.ZipFile(path) as archive:
            check_archive(archive, os.path.getsize(path))
            config = json.loads(read_member(archive, "config.json"))
    except BackboneError:
        raise
    except Exception as error:  # a damaged archive leads to any
        raise BackboneError(f"{path!r} is no .keras file: {error!r}") from error
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise no_network(path)
    if str(config.get("module")).startswith("tf_keras."):
        raise BackboneError(f"{path!r} cannot be loaded by Keras 3. {KERAS_2}")
    # How it was trained does not matter, and may name functions that are not there.
    config.pop("compile_config", None)
    return config


def no_network(path: str) -> BackboneError:
    """Return the error for a ``.keras`` file of something else."""
    return BackboneError(f"{path!r} is no .keras file of a network that takes one batch of images")


def remedy_for_keras_2(path: str) -> str:
    """Return the remedy for a ``.keras`` file that Keras 2 wrote, an empty text for others."""
    try:
        with zipfile.ZipFile(path) as archive:
            version = str(json.loads(read_member(archive, "metadata.json"))["keras_version"])
    except Exception:  # no such file in it, or no archive
        return ""
    return f". {KERAS_2}" if version.startswith("2.") else ""


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return a file of an archive, which must have the size that the archive announces and match its checksum."""
    entry = archive.getinfo(name)
    with opened_member(archive, entry) as file:
        data = file.read(entry.file_size + 1)
    if len(data) != entry.file_size:
        raise wrong_size(archive, entry)
    return data


def check_members(path: str) -> None:
    """Read all of a ``.keras`` file once, piece by piece, before Keras reads it: it may lie about its sizes.

    Raises
    ------
    BackboneError
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_archive(archive, os.path.getsize(path))
            for entry in archive.infolist():
                with opened_member(archive, entry) as file:
                    if sum(len(piece) for piece in iter(lambda: file.read(PIECE), b"")) != entry.file_size:
                        raise wrong_size(archive, entry)
    except BackboneError:
        raise
    except Exception as error:  # a damaged archive leads to any
        raise BackboneError(f"{path!r} is no .keras file: {error!r}") from error


def opened_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> IO[bytes]:
    """Open a file of an archive, so that one byte more than is announced can be read where there is more.

    Read it with a size only: all at once, it would be expanded whole before it is cut to what was announced.
    """
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BackboneError(f"{archive.filename!r} is compressed in a way that Keras does not use; it is not loaded")
    entry = copy.copy(entry)
    entry.file_size += 1
    return archive.open(entry)


def wrong_size(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> BackboneError:
    """Return the error for a file whose size differs from the one in its archive."""
    return BackboneError(f"{entry.filename!r} in {archive.filename!r} is not as large as announced; it is not loaded")


def check_archive(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse an archive that expands to far more than the weights of a network would.

    Raises
    ------
    BackboneError
    """
    config = archive.getinfo("config.json").file_size
    expanded = sum(entry.file_size for entry in archive.infolist())
    if config > MAX_CONFIG_BYTES or expanded > max(HARMLESS_BYTES, MAX_EXPANSION * size):
        msg = (
            f"{archive.filename!r} has {size:,} bytes and would expand to {expanded:,} (its config.json to "
            f"{config:,}), which no network does; it is not loaded"
        )
        raise BackboneError(msg)


@functools.lru_cache(maxsize=64)
def network_digest(path: str, digest: str) -> str:
    """Return the hex digest of the layers and weights in a ``.keras`` file of this content.

    The same network may be saved at another time, or compiled and trained with another optimizer.
    """
    import h5py

    digested = hashlib.blake2b(canonical_json(read_config(path), names=True), digest_size=DIGEST_BYTES)

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and FOR_TRAINING.isdisjoint(name.split("/")):
            digested.update(f"{name} {item.dtype} {item.shape}".encode())
            digested.update(np.ascontiguousarray(item[()]).tobytes())

    with opened_weights(path) as file:
        file.visititems(add)
    return digested.hexdigest()


@contextlib.contextmanager
def opened_weights(path: str) -> Iterator[Any]:
    """Open the weights in a ``.keras`` file, unless they expand to far more than it holds, or point to other files.

    Raises
    ------
    BackboneError
    """
    import h5py

    try:
        with zipfile.ZipFile(path) as archive:
            weights = io.BytesIO(read_member(archive, "model.weights.h5"))
        with h5py.File(weights, "r") as file:
            check_items(file, path, os.path.getsize(path))
            yield file
    except BackboneError:
        raise
    except Exception as error:  # a damaged archive leads to any
        raise BackboneError(f"{path!r} is no .keras file: {error!r}") from error


def check_items(file: Any, path: str, size: int) -> None:
    """Refuse HDF5 weights that expand to far more than `size`, in bytes, or point to other files."""
    import h5py

    expanded = 0
    foreign: list[str] = []

    def count(name: str, item: Any) -> None:
        nonlocal expanded
        if isinstance(item, h5py.Dataset):
            expanded += item.nbytes
            if item.external or item.is_virtual:
                foreign.append(name)

    def note_external_link(name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            foreign.append(name)

    file.visititems(count)
    file.visititems_links(note_external_link)
    if foreign:
        raise BackboneError(f"the weights of {path!r} point to other files ({foreign[0]!r} does); it is not loaded")
    if expanded > max(HARMLESS_BYTES, MAX_EXPANSION * size):
        msg = f"{path!r} has {size:,} bytes and its weights would take {expanded:,}, which no network does; "
        raise BackboneError(f"{msg}it is not loaded")
