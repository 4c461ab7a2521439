import importlib.util
import sys

import numpy as np
import pytest

# Tests that build one of these take as long as hundreds of others; `make test-all` runs them.
LARGE = {"ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetB1", "EfficientNetV2B0", "InceptionResNetV2",
         "InceptionV3", "MobileNet", "MobileNetV2", "NASNetMobile", "ResNet50", "ResNet50V2", "VGG19",
         "Xception"}  # fmt: skip
BUILDERS = {"test_applications", "test_head", "test_layers", "test_nested", "test_openvino", "test_pixel_range"}


def pytest_collection_modifyitems(items):
    for item in items:
        values = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if item.path.stem in BUILDERS and LARGE & set(map(str, values)):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def make_model():
    """A function that returns a model whose every setting, and whose every weight, changes what it computes."""
    return new_model


def new_model(seed=0, *, filters=4, strides=1, activation="relu", epsilon=1e-3, name="mine", conv="conv"):
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
    return new_model()


@pytest.fixture
def path(model, tmp_path):
    file = tmp_path / "mine.keras"
    model.save(file)
    return str(file)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.float32)


@pytest.fixture
def one_layer():
    """A function that returns a model of some layers on top of each other; the same names in each."""
    return on_top_of_each_other


def on_top_of_each_other(*layers):
    import keras

    return keras.Sequential([keras.Input((4, 4, 3), name="pixels"), *layers], name="custom")


CUSTOM = """
import keras

{helper}

@keras.saving.register_keras_serializable("tests")
class Scaled({base}):
    def call(self, x):
        return {result}
"""


def custom_layer(
    tmp_path, version, *, helper="", base="keras.layers.Layer", result="2 * x", name="Scaled", source=CUSTOM
):
    """Import one of several modules of the same name, each with its own version of a layer or function."""
    file = tmp_path / version / "custom_layers.py"
    file.parent.mkdir()
    parts = {"helper": helper, "base": base, "result": result}
    file.write_text(source.format(**parts) if source is CUSTOM else source)
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
