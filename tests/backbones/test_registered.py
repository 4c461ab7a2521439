import pytest

from skcnn.backbones._model_files import FileBackbone
from skcnn.backbones._registered import custom_objects, registered_code, required_code
from skcnn.exceptions import BackboneError


def test_a_layer_of_a_script_in_a_file_counts_by_its_code(tmp_path):
    import keras

    def layer(factor):
        code = f"""
import keras
@keras.saving.register_keras_serializable("of_a_script")
class Times(keras.layers.Layer):
    def call(self, x): return {factor} * x
"""
        namespace = {"__name__": "__main__"}
        exec(code, namespace)
        return namespace["Times"]

    try:
        keras.Sequential([keras.Input((8, 8, 3)), layer(2)(name="times")]).save(tmp_path / "net.keras")
        backbone = FileBackbone(tmp_path / "net.keras")
        before = backbone.identity()
        assert "code" in before
        layer(3)
        assert backbone.identity() != before
    finally:
        keras.saving.get_custom_objects().pop("of_a_script>Times")


def test_what_is_of_keras_is_not_asked_for():
    keras = {"module": "keras.layers", "class_name": "Dense", "registered_name": None, "config": {"units": 2}}
    legacy = {"class_name": "Dense", "config": {"units": 2}}
    assert custom_objects([keras, legacy]) == {}
    assert registered_code({"config": {"layers": [keras, legacy]}}) == {}


def test_names_are_found_at_any_depth_with_their_modules():
    own = {"module": "mine.layers", "class_name": "Scaled", "registered_name": "mine>Scaled", "config": {}}
    function = {"module": "builtins", "class_name": "function", "config": "mine>double", "registered_name": "function"}
    script = {"module": None, "class_name": "Times", "registered_name": "script>Times", "config": {"inner": own}}
    config = {"config": {"layers": [script, {"config": {"activation": function}}]}}
    assert custom_objects(config) == {"script>Times": "", "mine>Scaled": "mine.layers", "mine>double": "builtins"}
    assert registered_code(config) == {"mine>Scaled": None, "mine>double": None, "script>Times": None}


@pytest.mark.parametrize(
    ("module", "advice"),
    [("mine.layers", "import mine first"), (None, "import the module that registers them first")],
)
def test_what_is_not_registered_is_named_with_its_module(module, advice):
    own = {"module": module, "class_name": "Scaled", "registered_name": "mine>Scaled", "config": {}}
    with pytest.raises(BackboneError, match=rf"'net\.keras' uses \['mine>Scaled'\], .* not registered; {advice}$"):
        required_code({"config": {"layers": [own]}}, "net.keras")


def test_keras_hub_is_imported_where_a_file_names_it(monkeypatch):
    from skcnn.backbones import _registered

    imported = []
    monkeypatch.setattr(_registered.importlib, "import_module", imported.append)
    config = {"module": "keras_hub.src.models.resnet", "class_name": "ResNetBackbone", "config": {}}
    config["registered_name"] = "keras_hub>ResNetBackbone"
    with pytest.raises(BackboneError, match=r"uses \['keras_hub>ResNetBackbone'\], .* import keras_hub first$"):
        required_code(config, "hub.keras")
    assert imported == ["keras_hub"]
