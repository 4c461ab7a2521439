import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from skcnn.backbones import FrozenNetwork, _archive, _hdf5_trial, layers, resolve_backbone, unload_networks
from skcnn.backbones._model_files import FileBackbone
from skcnn.exceptions import BackboneError


@pytest.fixture(scope="module", autouse=True)
def nothing_left():
    yield
    unload_networks()


@pytest.mark.parametrize("layer", [None, "pooled", "scores"])
def test_a_file_gives_the_features_of_its_model(model, path, pixels, layer):
    from_file = FrozenNetwork(resolve_backbone(path), layer).load("keras").run(pixels)
    np.testing.assert_array_equal(from_file, FrozenNetwork(resolve_backbone(model), layer).load("keras").run(pixels))


def test_who_a_file_is_depends_on_its_content(path, tmp_path, make_model):
    copied, other = tmp_path / "copied.keras", tmp_path / "other.keras"
    shutil.copy(path, copied)
    make_model(seed=1).save(other)
    assert FileBackbone(path).identity() == FileBackbone(copied).identity() != FileBackbone(other).identity()
    json.dumps(FileBackbone(path).identity())


def test_the_same_network_saved_again_is_the_same(path, model, pixels, tmp_path):
    import keras

    before = FileBackbone(path).identity()
    copy = keras.saving.load_model(path)
    copy.trainable = False
    copy.compile(keras.optimizers.Adam(), "mse")
    copy.optimizer.build([])
    copy.save(tmp_path / "again.keras")
    again = FileBackbone(tmp_path / "again.keras")
    assert Path(path).read_bytes() != Path(again.path).read_bytes()
    assert again.identity() == before
    copy.layers[1].name = "renamed"  # layers of a file are found by their names
    copy.save(tmp_path / "again.keras")
    assert again.identity() != before
    copy.layers[1].name = "conv"
    copy.layers[1].bias.assign([0.0, 0.0, 0.0, 1e-3])
    copy.save(tmp_path / "again.keras")
    assert again.identity() != before


def test_an_overwritten_file_is_another(path, make_model):
    before = FileBackbone(path).identity()
    make_model(seed=1).save(path)
    os.utime(path, ns=(1, 10**18))
    assert FileBackbone(path).identity() != before


DESCRIBE = """
import json, sys
from skcnn.backbones import FrozenNetwork, resolve_backbone
from skcnn.backbones._models import is_keras_model
network = FrozenNetwork(resolve_backbone({path!r}), layer="pooled")
assert network.input_shape == (8, 8, 3)
json.dumps(network.backbone.identity())
assert not is_keras_model({path!r})
assert not {{"keras", "tensorflow"}} & set(sys.modules)
"""


def test_a_file_is_described_without_keras(path):
    subprocess.run([sys.executable, "-c", DESCRIBE.format(path=path)], check=True)


def test_the_input_shape_of_every_kind_of_model(tmp_path, make_model):
    import keras

    inner = make_model(name="inner")
    inputs = keras.Input((8, 8, 3))
    models = {
        "sequential": keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)]),
        "nested": keras.Model(inputs, inner(inputs)),
        "nested sequential": keras.Sequential([keras.Input((8, 8, 3)), inner]),
    }
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
        assert FileBackbone(tmp_path / f"{name}.keras").input_shape() == (8, 8, 3)


def damaged(path, change):
    Path(path).write_bytes(change(bytearray(Path(path).read_bytes())))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: b"no archive",
        lambda data: data[: len(data) // 2],
        lambda data: data[len(data) // 2 :],
    ],
    ids=["empty", "text", "end missing", "beginning missing"],
)
def test_a_damaged_file(path, change):
    damaged(path, change)
    with pytest.raises(BackboneError, match=r"mine\.keras' is no \.keras file"):
        FrozenNetwork(resolve_backbone(path)).load("keras")


def test_a_file_whose_weights_are_damaged(path, model):
    kernel = model.get_layer("scores").kernel.numpy().tobytes()
    damaged(path, lambda data: data.replace(kernel, bytes(len(kernel))))
    assert FileBackbone(path).input_shape() == (8, 8, 3)
    with pytest.raises(BackboneError, match=r"mine\.keras' is no .keras file: .*CRC"):
        FileBackbone(path).build()


def test_flipped_bits_lead_to_no_other_error_and_to_no_other_network(path, model):
    intact = Path(path).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(30):
        data = bytearray(intact)
        # Most of them in the directory of the archive, at its end, where they lead to the strangest errors.
        for position in (rng.integers(len(data)), -rng.integers(1, 200), -rng.integers(1, 200)):
            data[position] ^= 1 << rng.integers(8)
        Path(path).write_bytes(data)
        try:
            assert FileBackbone(path).input_shape() == (8, 8, 3)
            built = FileBackbone(path).build()
        except BackboneError:
            continue
        for one, other in zip(built.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "config",
    [
        None,
        "{}",
        "[]",
        "null",
        "not json",
        '{"config": {"layers": []}}',
        '{"config": {"layers": [{"class_name": "InputLayer", "config": {}}]}}',
        '{"config": {"layers": [{"class_name": "InputLayer", "config": {"batch_shape": [null, 8]}}]}}',
    ],
)
def test_an_archive_of_something_else(tmp_path, config):
    path = tmp_path / "x.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json" if config is not None else "other.json", config or "{}")
    with pytest.raises(
        BackboneError,
        match=r"x\.keras' (is no \.keras file|cannot be loaded by Keras|has inputs of shape \[\(None, 8\)\])",
    ):
        FileBackbone(path).input_shape()


@pytest.mark.parametrize("nested", [False, True])
def test_a_lambda_in_a_file_is_not_run(tmp_path, nested, one_layer):
    import keras

    path, marker = tmp_path / "trap.keras", str(tmp_path / "marker")

    def model(function):
        trap = one_layer(keras.layers.Lambda(function, output_shape=(4, 4, 3), name="trap"))
        return one_layer(trap) if nested else trap

    model(lambda x: (Path(marker).touch(), x)[1]).save(path)
    if os.path.exists(marker):
        os.remove(marker)
    with pytest.raises(
        BackboneError,
        match=r"trap\.keras' holds code, in a Lambda layer, .* load it and pass the model: keras",
    ):
        FrozenNetwork(resolve_backbone(path)).load("keras")
    assert not os.path.exists(marker)


def test_a_file_of_a_layer_that_is_not_defined_here(custom, tmp_path, one_layer):
    import keras

    path = tmp_path / "custom.keras"
    one_layer(custom("one")(name="layer")).save(path)
    registered = keras.saving.get_custom_objects()
    known = dict(registered)
    registered.clear()
    sys.modules.pop("custom_layers")
    try:
        with pytest.raises(BackboneError, match=r"custom\.keras' cannot be loaded by Keras: (.|\n)*Scaled"):
            FileBackbone(path).build()
    finally:
        registered.update(known)


def test_loading_a_file_leaves_the_names_of_new_layers_alone(path):
    import keras

    keras.layers.Dropout(0.1)
    _, number = keras.layers.Dropout(0.1).name.rsplit("_", 1)
    FileBackbone(path).build()
    assert keras.layers.Dropout(0.1).name == f"dropout_{int(number) + 1}"


def test_a_custom_layer_in_a_file_counts_by_its_code(tmp_path):
    import keras

    @keras.saving.register_keras_serializable(package="skcnn_tests", name="Scaled")
    class Scaled(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    inputs = keras.Input((8, 8, 3))
    path = tmp_path / "own.keras"
    keras.Model(inputs, Scaled()(inputs)).save(path)
    before = FileBackbone(path).identity()

    @keras.saving.register_keras_serializable(package="skcnn_tests", name="Scaled")
    class Scaled(keras.layers.Layer):
        def call(self, x):
            return 3 * x

    assert FileBackbone(path).identity() != before
    keras.saving.get_custom_objects().pop("skcnn_tests>Scaled")
    with pytest.raises(BackboneError, match=r"own\.keras' uses \['skcnn_tests>Scaled'\], which are not registered"):
        FileBackbone(path).identity()


def test_a_file_of_a_model_that_is_no_backbone(tmp_path):
    import keras

    keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]).save(tmp_path / "vector.keras")
    backbone = FileBackbone(tmp_path / "vector.keras")
    for method in (backbone.input_shape, backbone.parts):
        with pytest.raises(
            BackboneError, match=r"vector\.keras' has inputs of shape \[\(None, 8\)\]; a backbone takes"
        ):
            method()
    dense = keras.layers.Dense(2)
    dense.build((8,))
    config = json.dumps(keras.saving.serialize_keras_object(dense))
    layer = rewritten(tmp_path / "vector.keras", tmp_path / "layer.keras", config_json=config)
    with pytest.raises(BackboneError, match=r"layer\.keras' is no \.keras file of a network"):
        FileBackbone(layer).input_shape()


# Classes of models ----------------------------------------------------------------------------------------------------


BACKBONE_CLASS = """
import keras

@keras.saving.register_keras_serializable("tests")
class Scaled(keras.Model):
    def __init__(self, filters=4, **kwargs):
        image = keras.Input((8, 8, 3), name="image")
        scaled = keras.layers.Rescaling(1 / 255, name="scaled")(image)
        super().__init__(image, keras.layers.Conv2D(filters, 3, name="conv")(scaled), **kwargs)
        self.filters = filters

    def get_config(self):
        return {"filters": self.filters, "name": self.name}
"""


@pytest.mark.parametrize("nested", [False, True], ids=["alone", "nested"])
def test_a_class_of_models_that_writes_its_arguments_only(custom, pixels, tmp_path, nested):
    import keras

    model = custom("one", source=BACKBONE_CLASS)(filters=5, name="own")
    if nested:
        inputs = keras.Input((8, 8, 3), name="outside")
        model = keras.Model(inputs, model(inputs), name="outer")
    model.save(tmp_path / "own.keras")
    in_memory, in_file = resolve_backbone(model), resolve_backbone(tmp_path / "own.keras")
    assert in_file.input_shape() == (8, 8, 3)
    assert in_file.range_is_known
    assert list(in_file.parts()) == list(in_memory.parts())
    expected = FrozenNetwork(in_memory).load("keras").run(pixels)
    np.testing.assert_array_equal(FrozenNetwork(in_file).load("keras").run(pixels), expected)
    assert repr(layers(model)) == repr(layers(tmp_path / "own.keras"))


def test_a_class_of_models_in_a_file_counts_by_its_code(custom, tmp_path):
    model = custom("one", source=BACKBONE_CLASS)(name="own")
    model.save(tmp_path / "own.keras")
    backbone = FileBackbone(tmp_path / "own.keras")
    before = backbone.identity()
    custom("two", source=BACKBONE_CLASS.replace("1 / 255", "1 / 127"))
    assert backbone.identity() != before


# Files of older versions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["h5", "hdf5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_model_in_hdf5_is_the_model(model, pixels, tmp_path, suffix):
    file = tmp_path / f"net.{suffix}"
    model.save(file)
    in_memory, in_file = resolve_backbone(model), resolve_backbone(str(file))
    assert in_file.identity() == in_memory.identity()
    assert in_file.input_shape() == (8, 8, 3)
    for layer in (None, "pooled", "scores"):
        one, other = (FrozenNetwork(backbone, layer) for backbone in (in_memory, in_file))
        assert one.description == other.description
        np.testing.assert_array_equal(one.load("keras").run(pixels), other.load("keras").run(pixels))
    assert len(layers(file)) == len(model.layers)
    before = in_file.state()
    model.layers[1].kernel.assign(model.layers[1].kernel + 1)
    model.save(file)
    os.utime(file, ns=(1, 10**18))
    assert in_file.identity() == resolve_backbone(model).identity()
    assert in_file.state() != before
    with pytest.raises(BackboneError, match="takes images of 8 x 8 only"):
        in_file.build((9, 9))


@pytest.mark.parametrize("with_input_layer", [False, True])
def test_a_model_of_keras_2(tmp_path, pixels, with_input_layer):
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype(np.float32)
    shape = {"batch_input_shape": [None, 8, 8, 3], "dtype": "float32"}
    given = [{"class_name": "InputLayer", "config": shape | {"name": "input_1"}}] if with_input_layer else []
    conv = {"name": "conv", "filters": 4, "kernel_size": [3, 3], "activation": "relu", "use_bias": False} | shape
    config = {"name": "old", "layers": [*given, {"class_name": "Conv2D", "config": conv}]}
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs.update(
            keras_version="2.4.0",
            backend="tensorflow",
            model_config=json.dumps({"class_name": "Sequential", "config": config}),
        )
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [b"conv"]
        weights.create_group("conv").attrs["weight_names"] = [b"conv/kernel:0"]
        weights["conv"]["conv/kernel:0"] = kernel
    backbone = resolve_backbone(tmp_path / "old.h5")
    if not with_input_layer:  # Keras 3 does not load it
        with pytest.raises(BackboneError, match=r"Build the network anew .* model\.load_weights\("):
            backbone.input_shape()
        return
    network = FrozenNetwork(backbone, "conv", pooling=None, preprocess=None)
    import keras

    expected = np.maximum(keras.ops.conv(pixels, kernel), 0)
    np.testing.assert_allclose(network.load("keras").run(pixels), expected, rtol=1e-4, atol=1e-3)


def test_a_keras_file_of_keras_2(path, tmp_path):
    remedy = r"Keras 2 wrote it: save the model there with model\.save\('network\.h5'\)"
    config = {"module": "tf_keras.src.engine.functional", "class_name": "Functional", "config": {"layers": []}}
    file = rewritten(path, tmp_path / "old.keras", config_json=json.dumps(config))
    with pytest.raises(BackboneError, match=rf"old\.keras' cannot be loaded by Keras 3\. {remedy}"):
        FileBackbone(file).input_shape()
    old = {"config_json": json.dumps({"class_name": "Sequential", "config": {"layers": [{}]}})}
    old["metadata_json"] = json.dumps({"keras_version": "2.15.0"})
    file = rewritten(path, tmp_path / "older.keras", **old)
    with pytest.raises(BackboneError, match=rf"older\.keras' cannot be loaded by Keras: (.|\n)*{remedy}"):
        FileBackbone(file).input_shape()


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_lambda_in_hdf5_is_not_run(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Lambda(lambda x: 2 * x, output_shape=(8, 8, 3))])
    model.save(tmp_path / "trap.h5")
    with pytest.raises(BackboneError, match=r"trap\.h5' holds code, in a Lambda layer"):
        resolve_backbone(tmp_path / "trap.h5").identity()


def test_hdf5_of_something_else(model, tmp_path):
    model.save_weights(tmp_path / "net.weights.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(
        BackboneError, match=r"weights without their network.* model\.load_weights\('.*net\.weights\.h5'\)"
    ):
        resolve_backbone(tmp_path / "net.weights.h5").input_shape()
    with pytest.raises(BackboneError, match=r"text\.h5' is no HDF5 file"):
        resolve_backbone(tmp_path / "text.h5").input_shape()
    with pytest.raises(BackboneError, match=r"missing\.h5': there is no such file"):
        resolve_backbone(tmp_path / "missing.h5")
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file.attrs["model_config"] = "{}"
        file["weights"] = h5py.ExternalLink("other.h5", "/")
    with pytest.raises(BackboneError, match=r"link\.h5' point to other files"):
        resolve_backbone(tmp_path / "link.h5").input_shape()


def test_a_saved_model_as_the_message_says(model, pixels, tmp_path):
    import keras

    model.export(tmp_path / "saved", verbose=False)
    with pytest.raises(BackboneError, match="is a SavedModel, .*TFSMLayer") as caught:
        resolve_backbone(tmp_path / "saved")
    inputs = keras.Input((8, 8, 3))
    layer = keras.layers.TFSMLayer(str(tmp_path / "saved"), call_endpoint="serve")
    assert f"keras.layers.TFSMLayer({str(tmp_path / 'saved')!r}, call_endpoint='serve')" in str(caught.value)
    assert "keras.Model(inputs, layer(inputs)) with layer=-1" in str(caught.value)
    network = FrozenNetwork(resolve_backbone(keras.Model(inputs, layer(inputs))), layer=-1, preprocess=None)
    np.testing.assert_allclose(network.load("keras").run(pixels), model(pixels), rtol=1e-4, atol=1e-4)
    json.dumps(network.backbone.identity())


@pytest.mark.parametrize(
    ("name", "message"),
    [("net.pth", "is a PyTorch network"), ("net.onnx", "is an ONNX network"), ("net.zip", "is no .keras file")],
)
def test_files_of_other_programs(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(BackboneError, match=rf"{name}' {message}.*; skcnn takes what Keras wrote with model.save"):
        resolve_backbone(tmp_path / name)


def test_a_folder_is_called_one(tmp_path):
    with pytest.raises(BackboneError, match="is a folder"):
        resolve_backbone(tmp_path)


def test_a_path_in_the_home_folder(path, monkeypatch):
    monkeypatch.setenv("HOME", os.path.dirname(path))
    monkeypatch.setenv("USERPROFILE", os.path.dirname(path))
    assert resolve_backbone("~/mine.keras").identity() == FileBackbone(path).identity()


# Files that would do harm ---------------------------------------------------------------------------------------------


def rewritten(path, target, **members):
    """Copy a .keras file with some members replaced, compressed."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            archive.writestr(name, members.pop(name.replace(".", "_"), source.read(name)))
        for name, data in members.items():
            archive.writestr(name, data)
    return target


def test_an_archive_that_expands_to_many_times_its_size_is_refused(path, tmp_path):
    bomb = rewritten(path, tmp_path / "bomb.keras", padding=bytes(200 << 20))
    assert os.path.getsize(bomb) < 1 << 20
    with pytest.raises(BackboneError, match=r"bomb.keras' has .* bytes and would expand to 209,.*; it is not loaded"):
        FileBackbone(bomb).identity()


@pytest.mark.parametrize("member", ["config.json", "model.weights.h5", "assets/vocabulary"])
def test_an_archive_that_lies_about_its_sizes_is_refused_without_expanding_it(path, tmp_path, member):
    liar = tmp_path / "liar.keras"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(liar, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            if name != member:
                archive.writestr(name, source.read(name))
        honest = source.read(member) if member in source.namelist() else b"a few words"
        archive.writestr(member, honest + bytes(100 << 20))
        # Even the checksum is that of as much as is announced.
        entry = archive.getinfo(member)
        entry.file_size, entry.CRC = len(honest), zlib.crc32(honest)
    tracemalloc.start()
    try:
        with pytest.raises(BackboneError, match=r"not as large as announced; it is not loaded|Bad CRC"):
            FileBackbone(liar).build()
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_an_archive_that_cannot_be_read_piece_by_piece_is_refused(path, tmp_path):
    packed = tmp_path / "packed.keras"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_BZIP2) as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name))
    with pytest.raises(BackboneError, match=r"is compressed in a way that Keras does not use; it is not loaded"):
        FileBackbone(packed).input_shape()


def test_a_configuration_of_many_megabytes_is_refused_unread(path, tmp_path, monkeypatch):
    monkeypatch.setattr(_archive, "MAX_CONFIG_BYTES", 1000)
    with pytest.raises(BackboneError, match=r"its config\.json to .*it is not loaded"):
        FileBackbone(path).input_shape()


def weights_with(path, change):
    """Return the weights of a .keras file after a change to them."""
    with zipfile.ZipFile(path) as archive:
        buffer = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(buffer, "r+") as file:
        change(file)
    return buffer.getvalue()


def test_weights_that_expand_to_many_times_their_size_are_refused(path, tmp_path):
    weights = weights_with(path, lambda file: file.create_dataset("large", shape=(1 << 28,), dtype="f4", chunks=True))
    bomb = rewritten(path, tmp_path / "bomb.keras", model_weights_h5=weights)
    with pytest.raises(BackboneError, match=r"its weights would take 1,07.*, which no network does; it is not loaded"):
        FileBackbone(bomb).build()


def link(file):
    file["stolen"] = h5py.ExternalLink("/etc/secret.h5", "/data")


def external(file):
    file.create_dataset("stolen", shape=(4,), dtype="u1", external=[("/etc/passwd", 0, 4)])


@pytest.mark.parametrize("change", [link, external])
def test_weights_that_point_to_other_files_are_refused(path, tmp_path, change):
    spy = rewritten(path, tmp_path / "spy.keras", model_weights_h5=weights_with(path, change))
    with pytest.raises(BackboneError, match=r"the weights of .* point to other files \('stolen' does\)"):
        FileBackbone(spy).build()


def test_a_file_that_was_only_compressed_is_loaded(path, tmp_path):
    FileBackbone(rewritten(path, tmp_path / "compressed.keras")).build()


def test_a_flipped_bit_in_an_h5_file_is_a_backbone_error_or_harmless(model, tmp_path, monkeypatch):
    monkeypatch.setattr(
        _hdf5_trial, "trial", lambda path, digest: ""
    )  # tested by itself; a process for each bit is long
    model.save(tmp_path / "net.h5")
    data = (tmp_path / "net.h5").read_bytes()
    damaged = tmp_path / "damaged.h5"
    # Bits of the superblock, the first group and the attributes; none of the heap, where HDF5 itself may hang.
    end = data.index(b"GCOL")
    for bit in np.random.default_rng(0).integers(0, 8 * min(end, 3000), 25):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << int(bit % 8)
        damaged.write_bytes(changed)
        with contextlib.suppress(BackboneError):
            resolve_backbone(damaged).identity()
