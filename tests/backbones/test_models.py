import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from skcnn._source_code import UnknownCodeError
from skcnn.backbones import FrozenNetwork, _models, resolve_backbone, unload_networks
from skcnn.backbones._models import FileBackbone, ModelBackbone, is_keras_model, model_digest
from skcnn.exceptions import BackboneError


@pytest.fixture(scope="module", autouse=True)
def nothing_left():
    yield
    unload_networks()


def make_model(seed=0, *, filters=4, strides=1, activation="relu", epsilon=1e-3, name="mine", conv="conv"):
    """Return a model whose every setting, and whose every weight, changes what it computes."""
    import keras

    inputs = keras.Input((8, 8, 3), name="pixels")
    initializer = keras.initializers.HeNormal(seed)
    conv = keras.layers.Conv2D(
        filters, 3, strides=strides, activation=activation, kernel_initializer=initializer, name=conv
    )
    x = keras.layers.BatchNormalization(epsilon=epsilon, name="norm")(conv(inputs))
    x = keras.layers.Dropout(0.5, name="drop")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    return keras.Model(inputs, keras.layers.Dense(2, kernel_initializer=initializer, name="scores")(x), name=name)


@pytest.fixture
def model():
    return make_model()


@pytest.fixture
def path(model, tmp_path):
    file = tmp_path / "mine.keras"
    model.save(file)
    return str(file)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.float32)


def one_layer(*layers):
    """Return a model of these layers on top of each other; the same names in each."""
    import keras

    return keras.Sequential([keras.Input((4, 4, 3), name="pixels"), *layers], name="custom")


def test_what_is_a_model(model):
    assert is_keras_model(model)
    assert not any(map(is_keras_model, ("VGG16", None, model.layers[0], type(model))))


# Who a model is -------------------------------------------------------------------------------------------------------


def test_the_same_model_made_again_is_the_same():
    assert model_digest(make_model()) == model_digest(make_model())
    assert len(model_digest(make_model())) == 40


def test_any_weight_makes_another_model(model):
    before = model_digest(model)
    assert len(model.weights) == 8
    for weight in model.weights:
        values = np.array(weight)
        changed = values.copy()
        changed.flat[-1] += 1e-3
        weight.assign(changed)
        assert model_digest(model) != before, weight.path
        weight.assign(values)
    assert model_digest(model) == before


@pytest.mark.parametrize(
    "settings",
    [{"strides": 2}, {"activation": "tanh"}, {"epsilon": 1e-2}, {"filters": 5}, {"conv": "renamed"}, {"seed": 1}],
)
def test_any_setting_makes_another_model(model, settings):
    other = make_model(**settings)
    if settings.keys() <= {"strides", "activation", "epsilon", "conv"}:
        other.set_weights(model.get_weights())
    assert model_digest(other) != model_digest(model)


def test_running_and_compiling_a_model_leaves_it_who_it_is(model, pixels):
    before = model_digest(model)
    model.compile("adam", "mse")
    model.predict(pixels, verbose=0)
    model.evaluate(pixels, np.zeros((3, 2)), verbose=0)
    assert model_digest(model) == before
    model.fit(pixels, np.zeros((3, 2)), verbose=0)
    assert model_digest(model) != before


CUSTOM = """
import keras

{helper}

@keras.saving.register_keras_serializable("tests")
class Scaled({base}):
    def call(self, x):
        return {result}
"""


def custom_layer(tmp_path, version, *, helper="", base="keras.layers.Layer", result="2 * x", name="Scaled"):
    """Import one of several modules of the same name, each with its own version of a layer or function."""
    file = tmp_path / version / "custom_layers.py"
    file.parent.mkdir()
    file.write_text(CUSTOM.format(helper=helper, base=base, result=result))
    spec = importlib.util.spec_from_file_location("custom_layers", file)
    module = importlib.util.module_from_spec(spec)
    # As after a reload: inspect looks a class up in the module that bears its name.
    sys.modules["custom_layers"] = module
    spec.loader.exec_module(module)
    return getattr(module, name)


@pytest.fixture
def custom(tmp_path):
    yield lambda version, **parts: custom_layer(tmp_path, version, **parts)
    sys.modules.pop("custom_layers", None)


def test_the_source_of_a_custom_layer_counts(custom):
    digests = [
        model_digest(one_layer(custom(version, result=result)(name="layer")))
        for version, result in (("one", "2 * x"), ("copy", "2 * x"), ("other", "3 * x"))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_the_source_of_its_base_class_counts(custom):
    base = "class Base(keras.layers.Layer):\n    def scaled(self, x):\n        return {} * x"
    digests = [
        model_digest(
            one_layer(custom(version, helper=base.format(factor), base="Base", result="self.scaled(x)")(name="layer"))
        )
        for version, factor in (("one", 2), ("copy", 2), ("other", 3))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_the_source_of_a_custom_function_counts(custom):
    import keras

    digests = [
        model_digest(
            one_layer(
                keras.layers.Activation(
                    custom(version, helper=f"def act(x):\n    return {factor} * x", name="act"), name="a"
                )
            )
        )
        for version, factor in (("one", 2), ("copy", 2), ("other", 3))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_custom_layer_inside_a_model_inside_counts(custom):
    digests = [
        model_digest(one_layer(one_layer(custom(version, result=result)(name="layer"))))
        for version, result in (("one", "2 * x"), ("other", "3 * x"))
    ]
    assert digests[0] != digests[1]


def test_what_a_lambda_does_counts():
    import keras

    def scaling(factor):
        return one_layer(keras.layers.Lambda(lambda x: factor * x, name="scale"))

    twice = one_layer(keras.layers.Lambda(lambda x: x + x, name="scale"))
    assert model_digest(scaling(2)) == model_digest(scaling(2)) != model_digest(scaling(3))
    assert model_digest(twice) != model_digest(scaling(2))


def test_a_layer_without_source_counts_by_its_byte_code():
    def typed(factor):
        namespace = {"__name__": "__main__"}
        exec(f"import keras\nclass Hidden(keras.layers.Layer):\n    def call(self, x): return {factor} * x", namespace)
        return namespace["Hidden"](name="layer")

    assert model_digest(one_layer(typed(2))) == model_digest(one_layer(typed(2))) != model_digest(one_layer(typed(3)))


def test_a_model_is_digested_once_for_each_state(model, monkeypatch):
    digested = []
    monkeypatch.setattr(_models, "model_digest", lambda model: digested.append(model) or model_digest(model))
    first = ModelBackbone(model).identity()
    assert [ModelBackbone(model).identity() for _ in range(5)] == [first] * 5
    assert len(digested) == 1
    weights = model.get_weights()
    weights[0] = weights[0] + 1
    model.set_weights(weights)
    second = ModelBackbone(model).identity()
    assert second != first
    layer = model.layers[-1]
    layer.extra = 3  # of a layer of Keras's own it changes nothing, but is looked at anew
    assert ModelBackbone(model).identity() == second
    assert len(digested) == 3


def test_a_layer_without_configuration_is_refused():
    import keras

    class Opaque(keras.layers.Layer):
        def __init__(self, thing):
            super().__init__()
            self.thing = thing

        def call(self, x):
            return x

    with pytest.raises(UnknownCodeError, match=r"'custom' cannot be told from another: (.|\n)*get_config"):
        ModelBackbone(one_layer(Opaque(object()))).identity()


def test_models_of_equal_weights_are_equal_but_two(model):
    one, other = ModelBackbone(model), ModelBackbone(make_model())
    assert one.identity() == other.identity()
    assert one.state() != other.state()
    assert one.state() == ModelBackbone(model).state()
    json.dumps(one.identity())


# What is a backbone, and what is not ----------------------------------------------------------------------------------


def test_a_model_is_built_as_it_is(model):
    backbone = ModelBackbone(model)
    assert backbone.build() is model
    assert backbone.build((8, 8)) is model
    assert backbone.input_shape() == (8, 8, 3)
    assert backbone.normalisation is None


def test_another_size_is_refused(model, path):
    for backbone, name in ((ModelBackbone(model), "mine"), (FileBackbone(path), path)):
        with pytest.raises(BackboneError, match=rf"'{name}' takes images of 8 x 8 only, not input_size=\(8, 9\)"):
            backbone.build((8, 9))


def test_a_model_of_images_of_any_size(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((None, 6, 3)), keras.layers.Conv2D(2, 3)])
    model.save(tmp_path / "any.keras")
    for backbone in (ModelBackbone(model), FileBackbone(tmp_path / "any.keras")):
        assert backbone.input_shape() == (None, 6, 3)
        assert backbone.build((9, 6)).input_shape == (None, None, 6, 3)
        with pytest.raises(BackboneError, match="takes images of None x 6 only"):
            backbone.build((9, 7))


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_one_input_in_a_container_is_one_input(kind, pixels):
    import keras

    inputs = keras.Input((8, 8, 3), name="pixels")
    outputs = keras.layers.Conv2D(2, 3)(inputs)
    model = keras.Model([inputs] if kind == "list" else {"pixels": inputs}, outputs)
    assert ModelBackbone(model).input_shape() == (8, 8, 3)
    features = FrozenNetwork(ModelBackbone(model), pooling=None).load("keras").run(pixels)
    np.testing.assert_allclose(features, keras.Model(inputs, outputs)(pixels), rtol=1e-5)


def models_that_will_not_do():
    import keras

    class Subclassed(keras.Model):
        def call(self, x):
            return x

    first, second = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    vector = keras.Input((8,))
    called = Subclassed(name="called")
    called(np.zeros((1, 8, 8, 3)))
    no_graph = r"has no graph of layers to cut: build it as a functional or Sequential model with a keras\.Input"
    return {
        "subclassed": (Subclassed(name="own"), f"'own' {no_graph}"),
        "subclassed and called": (called, f"'called' {no_graph}"),
        "unbuilt": (keras.Sequential([keras.layers.Conv2D(2, 3)], name="later"), f"'later' {no_graph}"),
        "empty": (keras.Sequential(name="empty"), f"'empty' {no_graph}"),
        "two inputs": (
            keras.Model([first, second], keras.layers.Add()([first, second]), name="pair"),
            r"'pair' has inputs of shape \[\(None, 8, 8, 3\), \(None, 8, 8, 3\)\] and 1 output\(s\); .*one batch of images",
        ),
        "two outputs": (
            keras.Model(first, [keras.layers.ReLU()(first), first], name="fork"),
            r"'fork' has inputs of shape .* and 2 output\(s\)",
        ),
        "no images": (
            keras.Model(vector, keras.layers.Dense(2)(vector), name="table"),
            r"'table' has inputs of shape \[\(None, 8\)\]",
        ),
    }


@pytest.mark.parametrize(
    "kind", ["subclassed", "subclassed and called", "unbuilt", "empty", "two inputs", "two outputs", "no images"]
)
def test_models_that_are_no_backbones(kind):
    model, message = models_that_will_not_do()[kind]
    backbone = resolve_backbone(model)
    for method in (backbone.identity, backbone.input_shape, backbone.build):
        with pytest.raises(BackboneError, match=message):
            method()


def test_a_file_of_a_model_that_is_no_backbone(tmp_path):
    import keras

    first, second = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    models = {
        "pair": keras.Model([first, second], keras.layers.Add()([first, second])),
        "vector": keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]),
    }
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
        backbone = FileBackbone(tmp_path / f"{name}.keras")
        for method in (backbone.input_shape, backbone.parts):
            with pytest.raises(BackboneError, match=rf"{name}\.keras' is no \.keras file of a network that takes one"):
                method()
    fork = keras.Model(first, [keras.layers.ReLU()(first), first])
    fork.save(tmp_path / "fork.keras")
    with pytest.raises(BackboneError, match=r"and 2 output\(s\)"):
        FileBackbone(tmp_path / "fork.keras").build()


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [None, "pooled", "scores"])
def test_a_file_gives_the_features_of_its_model(model, path, pixels, layer):
    from_file = FrozenNetwork(resolve_backbone(path), layer).load("keras").run(pixels)
    np.testing.assert_array_equal(from_file, FrozenNetwork(resolve_backbone(model), layer).load("keras").run(pixels))


def test_who_a_file_is_depends_on_its_content(path, tmp_path):
    copied, other = tmp_path / "copied.keras", tmp_path / "other.keras"
    shutil.copy(path, copied)
    make_model(seed=1).save(other)
    assert FileBackbone(path).identity() == FileBackbone(copied).identity() != FileBackbone(other).identity()
    json.dumps(FileBackbone(path).identity())


def test_an_overwritten_file_is_another(path):
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
json.dumps(network.identity)
assert not is_keras_model({path!r})
assert not {{"keras", "tensorflow", "h5py"}} & set(sys.modules)
"""


def test_a_file_is_described_without_keras(path):
    subprocess.run([sys.executable, "-c", DESCRIBE.format(path=path)], check=True)


def test_the_input_shape_of_every_kind_of_model(tmp_path):
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
        BackboneError, match=r"x\.keras' is no \.keras file( of a network that takes one batch of images|: )"
    ):
        FileBackbone(path).input_shape()


@pytest.mark.parametrize("nested", [False, True])
def test_a_lambda_in_a_file_is_not_run(tmp_path, nested):
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


def test_a_file_of_a_layer_that_is_not_defined_here(custom, tmp_path):
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


def test_a_configuration_of_many_megabytes_is_refused_unread(path, tmp_path, monkeypatch):
    monkeypatch.setattr(_models, "MAX_CONFIG_BYTES", 1000)
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
