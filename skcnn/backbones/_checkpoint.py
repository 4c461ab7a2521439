"""Read legacy torch checkpoints without torch, and without trusting them."""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from skcnn._private import PythonUnpickler
from skcnn.exceptions import CheckpointError

# torch's magic number as a protocol-2 pickle.
SIGNATURE = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
PROTOCOL_VERSION = 1001
REMEDY = (
    "Get the file again, or write the weights in float32 and in the format before torch 1.6: "
    "torch.save(model.float().state_dict(), path, _use_new_zipfile_serialization=False)."
)


class Storage(NamedTuple):
    """A flat array of the file: it follows the pickles that refer to it."""

    key: str
    dtype: str
    n_elements: int


class Tensor(NamedTuple):
    """A view of a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class StateDictUnpickler(PythonUnpickler):
    """Make plain descriptions of tensors out of a state dict; every name but four is refused, and none is imported."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name of torch."""
        match f"{module}.{name}":
            case "collections.OrderedDict":
                return OrderedDict
            case "torch._utils._rebuild_tensor_v2":
                return lambda *arguments: Tensor(*arguments[:4])
            case "torch.FloatStorage":
                return "<f4"
            case "torch.LongStorage":
                return "<i8"
            case refused:
                raise ValueError(f"it refers to {refused!r}, which is no part of a state dict of float32 and int64")

    def persistent_load(self, pid: Any) -> Storage:
        """Return the description of a storage."""
        _, dtype, key, _, n_elements, _ = pid
        return Storage(key, dtype, n_elements)


def read_torch_checkpoint(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the tensors of a legacy (non-zip) torch checkpoint that holds one state dict.

    Nothing that the file names is imported or called, and no tensor reaches outside the data of its own storage.

    Parameters
    ----------
    path : str or path-like
        A local file written by torch before 1.6, or with ``_use_new_zipfile_serialization=False``.

    Returns
    -------
    tensors : dict of str to ndarray
        float32 and int64 arrays in the order of the file. Each is C-contiguous, owns its data, and has the shape that
        torch shows (convolution kernels are ``(out, in, height, width)``).

    Raises
    ------
    CheckpointError
        If the file is damaged, of the zip format, or holds anything but tensors of float32 and int64.
    OSError
        If the file cannot be opened.
    """
    with Path(path).open("rb") as file:
        try:
            return read_tensors(file)
        # Any exception at all: the bytes of the file decide what fails.
        except Exception as error:
            msg = f"{os.fspath(path)!r} was not read as a torch checkpoint: {error} ({type(error).__name__}). {REMEDY}"
            raise CheckpointError(msg) from error


def read_tensors(file: IO[bytes]) -> dict[str, np.ndarray]:
    if (head := file.read(len(SIGNATURE))) != SIGNATURE:
        raise ValueError(f"it begins with {head!r} and not with the number of this format")
    version, system, state, keys = (StateDictUnpickler(file).load() for _ in range(4))
    if version != PROTOCOL_VERSION or system["little_endian"] is not True:
        raise ValueError(f"it is of version {version}, written by {system}")
    if not isinstance(state, dict):
        raise TypeError(f"it holds a {type(state).__name__} and not a state dict")
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"entry {name!r} is a {type(tensor).__name__} and not a tensor")
    storages = {tensor.storage.key: tensor.storage for tensor in state.values()}
    arrays = {storages[key]: read_storage(file, storages[key]) for key in keys}
    if file.read(1):
        raise ValueError("something follows its last storage")
    return {name: materialise(arrays[tensor.storage], tensor) for name, tensor in state.items()}


def read_storage(file: IO[bytes], storage: Storage) -> np.ndarray:
    (n_elements,) = np.frombuffer(file.read(8), "<i8", 1).tolist()
    if n_elements != storage.n_elements:
        raise ValueError(f"storage {storage.key!r} has {n_elements} elements and not {storage.n_elements}")
    data = file.read(n_elements * np.dtype(storage.dtype).itemsize)
    return np.frombuffer(data, storage.dtype, n_elements)


def materialise(flat: np.ndarray, tensor: Tensor) -> np.ndarray:
    _, offset, size, stride = tensor
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if min(offset, *size, *stride, 0) < 0 or last >= flat.size + (0 in size) or math.prod(size) > flat.size:
        raise ValueError(f"a tensor reaches outside its storage of {flat.size} elements: {tensor}")
    steps = [step * flat.itemsize for step in stride]
    view = np.lib.stride_tricks.as_strided(flat[offset:], size, steps, writeable=False)
    return view.astype(flat.dtype.newbyteorder("="), order="C", copy=True)
