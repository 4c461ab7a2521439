"""Read legacy torch checkpoints without torch, and without trusting them."""

from __future__ import annotations

import enum
import io
import math
import os
import pickletools
from pathlib import Path
from reprlib import repr as brief
from typing import Any, NamedTuple

import numpy as np

from skcnn.exceptions import CheckpointError

# torch's magic number as a protocol-2 pickle: comparing bytes refuses a foreign file before any of it is interpreted.
_SIGNATURE = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_ZIP_SIGNATURE = b"PK\x03\x04"
_PROTOCOL_VERSION = 1001
_MAX_DIMENSIONS = 32
# Tied weights legitimately read a storage more than once; a hostile file could do so without end.
_MAX_EXPANSION = 8
_REMEDY = (
    "Get the file again, or write the state dict of the model with "
    "torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)."
)


class _Callable(enum.Enum):
    # The two functions that a checkpoint may call.
    ORDERED_DICT = "collections.OrderedDict"
    REBUILD_TENSOR = "torch._utils._rebuild_tensor_v2"


_ADMITTED: dict[str, _Callable | np.dtype[Any]] = {
    **{function.value: function for function in _Callable},
    "torch.DoubleStorage": np.dtype("<f8"),
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.HalfStorage": np.dtype("<f2"),
    "torch.LongStorage": np.dtype("<i8"),
    "torch.IntStorage": np.dtype("<i4"),
    "torch.ShortStorage": np.dtype("<i2"),
    "torch.CharStorage": np.dtype("i1"),
    "torch.ByteStorage": np.dtype("u1"),
    "torch.BoolStorage": np.dtype("?"),
    "torch.ComplexFloatStorage": np.dtype("<c8"),
    "torch.ComplexDoubleStorage": np.dtype("<c16"),
}


# Named tuples on purpose: whatever the pickle does to them, they stay as they were made.
class _Storage(NamedTuple):
    key: str
    dtype: np.dtype[Any]
    n_elements: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read_torch_checkpoint(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the tensors of a legacy (non-zip) torch checkpoint that holds one state dict.

    The file is treated as hostile: no name in it is imported, nothing in it is called, and no tensor reaches outside
    the data of its own storage.

    Parameters
    ----------
    path : str or path-like
        A local file written by torch before 1.6, or with ``_use_new_zipfile_serialization=False``.

    Returns
    -------
    tensors : dict of str to ndarray
        In the order of the file. Each array is C-contiguous, owns its data, has the byte order of this machine, and
        has the shape that torch shows (convolution kernels are ``(out, in, height, width)``).

    Raises
    ------
    CheckpointError
        If the file is damaged, hostile, of the zip format, or holds anything but tensors. bfloat16 and quantised
        tensors are refused too, as NumPy has no such types.
    OSError
        If the file cannot be opened.
    """
    with Path(path).open("rb") as file:
        head = file.read(len(_SIGNATURE))
        data = head + file.read() if head == _SIGNATURE else head
    try:
        return _read_tensors(data)
    except CheckpointError as error:
        reason, cause = str(error), error.__cause__ or error
    # Any exception at all: the bytes decide what fails, and the caller has one failure to expect.
    except Exception as error:
        reason, cause = f"it is damaged ({type(error).__name__}: {brief(str(error))})", error
    raise CheckpointError(f"{os.fspath(path)!r} was not read as a torch checkpoint: {reason}. {_REMEDY}") from cause


def _read_tensors(data: bytes) -> dict[str, np.ndarray]:
    if data.startswith(_ZIP_SIGNATURE):
        raise CheckpointError("it has the zip format of torch 1.6 and later, and only the legacy format is read")
    if not data.startswith(_SIGNATURE):
        raise CheckpointError(f"it does not begin with torch's magic number but with {data!r}")
    unpickler = _Unpickler(data, position=len(_SIGNATURE))
    protocol = unpickler.load()
    if protocol != _PROTOCOL_VERSION:
        raise CheckpointError(f"its protocol is {brief(protocol)}; {_PROTOCOL_VERSION} is the only one known")
    if unpickler.load().get("little_endian") is not True:
        raise CheckpointError("its system information does not say that the data are little-endian")
    tensors = _check_state_dict(unpickler.load(), n_bytes=len(data))
    keys = unpickler.load()
    positions = _locate_storages(data, unpickler.stream.tell(), unpickler.storages, keys)
    return {name: _materialise(data, positions, tensor) for name, tensor in tensors.items()}


def _check_state_dict(state: Any, n_bytes: int) -> dict[str, _Tensor]:
    if not isinstance(state, dict):
        raise CheckpointError(f"it holds a {type(state).__name__} and not a state dict")
    budget = n_bytes * _MAX_EXPANSION
    for name, tensor in state.items():
        if not isinstance(tensor, _Tensor):
            raise CheckpointError(f"entry {brief(name)} is a {type(tensor).__name__} and not a tensor")
        _check_within_storage(name, tensor)
        budget -= math.prod(tensor.size) * tensor.storage.dtype.itemsize
        if budget < 0:
            raise CheckpointError(f"its tensors up to {brief(name)} expand to over {_MAX_EXPANSION} times the file")
    return state


def _check_within_storage(name: str, tensor: _Tensor) -> None:
    """Refuse a tensor of which any element lies outside its storage."""
    storage, offset, size, stride = tensor
    layout = f"size {brief(size)}, stride {brief(stride)} and offset {brief(offset)}"
    lengths = (*size, *stride, offset) if isinstance(size, tuple) and isinstance(stride, tuple) else (None,)
    if not all(_is_count(length) for length in lengths) or len(size) != len(stride) or len(size) > _MAX_DIMENSIONS:
        raise CheckpointError(f"tensor {brief(name)} has an impossible layout: {layout}")
    end = offset + (0 if 0 in size else 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True)))
    if end > storage.n_elements:
        raise CheckpointError(
            f"tensor {brief(name)} reaches outside its storage of {storage.n_elements} elements: {layout}"
        )


def _locate_storages(data: bytes, position: int, storages: dict[str, _Storage], keys: Any) -> dict[str, int]:
    """Return the position in the file of the data of each storage."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
        raise CheckpointError("its list of storages is not a list of distinct keys")
    if unmatched := sorted(storages.keys() ^ set(keys)):
        what = "never delivered" if unmatched[0] in storages else "delivered but never used"
        raise CheckpointError(f"storage {brief(unmatched[0])} is {what}")
    positions = {}
    for key in keys:
        storage, header = storages[key], data[position : position + 8]
        if len(header) == 8 and int.from_bytes(header, "little", signed=True) != storage.n_elements:
            raise CheckpointError(
                f"the element count of storage {brief(key)} is not the {storage.n_elements} of its tensors"
            )
        positions[key] = position + 8
        position = positions[key] + storage.n_elements * storage.dtype.itemsize
        if position > len(data):
            raise CheckpointError(f"it is truncated within storage {brief(key)}")
    if position < len(data):
        raise CheckpointError(f"{len(data) - position} bytes follow its last storage")
    return positions


def _materialise(data: bytes, positions: dict[str, int], tensor: _Tensor) -> np.ndarray:
    storage, offset, size, stride = tensor
    native = storage.dtype.newbyteorder("=")
    if 0 in size:
        return np.empty(size, native)
    # Any byte but zero is true in torch, whereas the byte of a NumPy boolean must be 0 or 1.
    stored = np.dtype("u1") if storage.dtype.kind == "b" else storage.dtype
    flat = np.frombuffer(data, stored, storage.n_elements, positions[storage.key])
    # The stride of a dimension of one element is never walked, and may be any number.
    steps = [step * stored.itemsize if n > 1 else 0 for n, step in zip(size, stride, strict=True)]
    view = np.lib.stride_tricks.as_strided(flat[offset:], size, steps, writeable=False)
    return view.astype(native, order="C", copy=True)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


class _Unpickler:
    """Interpret pickles made of the few opcodes that torch writes, one after another, and refuse every other opcode.

    The unpickler of the standard library cannot be restricted this far. It resolves extension codes without asking
    ``find_class``, lets BUILD reach into any object, hashes tuples nested deeply enough to crash the interpreter, and
    reserves memory for whatever memo index the file mentions.
    """

    def __init__(self, data: bytes, position: int) -> None:
        self.stream = io.BytesIO(data)
        self.stream.seek(position)
        self._n_bytes = len(data)
        self._memo: dict[int, Any] = {}
        # One list of pending values for each open MARK, and the outermost one.
        self._frames: list[list[Any]] = []
        # Every storage that the pickles have referred to so far, by its key.
        self.storages: dict[str, _Storage] = {}

    def load(self) -> Any:
        """Return the object that the next pickle describes."""
        self._memo, self._frames = {}, [[]]
        for opcode, argument, _ in pickletools.genops(self.stream):
            self._execute(opcode.name, argument)
        ((result,),) = self._frames
        return result

    def _execute(self, name: str, argument: Any) -> None:
        frames = self._frames
        match name:
            case "NONE" | "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE":
                frames[-1].append(argument)
            case "NEWTRUE" | "NEWFALSE":
                frames[-1].append(name == "NEWTRUE")
            case "EMPTY_LIST" | "EMPTY_DICT":
                frames[-1].append([] if name == "EMPTY_LIST" else {})
            case "EMPTY_TUPLE":
                frames[-1].append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self._combine("TUPLE", self._pop(int(name[-1])))
            case "TUPLE" | "APPENDS" | "SETITEMS":
                self._combine(name, frames.pop())
            case "APPEND" | "BINPERSID":
                self._combine(name, self._pop(1))
            case "SETITEM" | "REDUCE" | "BUILD":
                self._combine(name, self._pop(2))
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = frames[-1][-1]
            case "BINGET" | "LONG_BINGET":
                frames[-1].append(self._memo[argument])
            case "GLOBAL":
                frames[-1].append(self._find_class(argument.replace(" ", ".", 1)))
            case "MARK":
                frames.append([])
            case "STOP" | "PROTO" if argument in (None, 2):
                pass
            case _:
                raise CheckpointError(f"it contains the refused pickle opcode {name} {brief(argument)}")

    def _pop(self, n: int) -> list[Any]:
        return [self._frames[-1].pop() for _ in range(n)][::-1]

    def _combine(self, name: str, operands: list[Any]) -> None:
        values = self._frames[-1]
        match name:
            case "TUPLE":
                values.append(tuple(operands))
            case "REDUCE":
                values.append(self._reduce(*operands))
            case "BINPERSID":
                values.append(self._persistent_load(*operands))
            case "BUILD":
                values.append(self._build(*operands))
            case "APPEND" | "APPENDS" if type(values[-1]) is list:
                values[-1].extend(operands)
            case "SETITEM" | "SETITEMS" if type(values[-1]) is dict and all(type(key) is str for key in operands[::2]):
                values[-1].update(zip(operands[::2], operands[1::2], strict=True))
            case _:
                raise CheckpointError(f"it applies {name} to a {type(values[-1]).__name__} in a way that is refused")

    def _find_class(self, name: str) -> _Callable | np.dtype[Any]:
        if name not in _ADMITTED:
            raise CheckpointError(f"it refers to {brief(name)}, which is refused as no part of a state dict")
        return _ADMITTED[name]

    def _reduce(self, function: Any, arguments: Any) -> dict[str, Any] | _Tensor:
        if function is _Callable.ORDERED_DICT and arguments == ():
            return {}
        if function is _Callable.REBUILD_TENSOR and len(arguments) in (6, 7) and isinstance(arguments[0], _Storage):
            return _Tensor(*arguments[:4])
        name = function.value if isinstance(function, _Callable) else f"a {type(function).__name__}"
        raise CheckpointError(f"it calls {name} in a way that is refused")

    def _build(self, target: Any, state: Any) -> dict[str, Any]:
        # torch hangs the versions of the layers on a state dict; no array depends on them.
        if type(target) is not dict or type(state) is not dict or state.keys() != {"_metadata"}:
            raise CheckpointError(f"it sets attributes of a {type(target).__name__}, which is refused")
        return target

    def _persistent_load(self, identifier: Any) -> _Storage:
        match identifier:
            case ("storage", np.dtype() as dtype, str(key), str(), int(count), None) if _is_count(count):
                storage = _Storage(key, dtype, count)
            case _:
                raise CheckpointError("it refers to a storage in a way that is not understood")
        if count * dtype.itemsize > self._n_bytes:
            raise CheckpointError(f"storage {brief(key)} of {count} elements is larger than the whole file")
        if self.storages.setdefault(key, storage) != storage:
            raise CheckpointError(f"its tensors disagree on the type or the count of storage {brief(key)}")
        return storage
