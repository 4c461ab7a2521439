import subprocess
import sys
from pathlib import Path

import pytest

from skcnn.backbones import backbone_names, resolve_backbone
from skcnn.backbones._applications import APPLICATIONS, ApplicationBackbone
from skcnn.backbones._efficientnet_lite import VARIANTS
from skcnn.backbones._lite import LiteBackbone
from skcnn.backbones._model_files import FileBackbone
from skcnn.backbones._models import ModelBackbone
from skcnn.exceptions import BackboneError


def test_names():
    names = backbone_names()
    assert len(set(names)) == len(names) == len(VARIANTS) + len(APPLICATIONS)
    assert {"efficientnet_lite0", "VGG16", "ResNet50"} <= set(names)


@pytest.mark.parametrize("name", [*APPLICATIONS, "efficientnet_lite0"])
def test_every_name_is_resolved(name):
    backbone = resolve_backbone(name)
    assert backbone.name == name
    assert isinstance(backbone, LiteBackbone if name in VARIANTS else ApplicationBackbone)
    height, width, channels = backbone.input_shape()
    assert height == width >= 224
    assert channels == 3


def test_names_differ_by_identity():
    identities = [
        str(resolve_backbone(name, weights).identity()) for name in APPLICATIONS for weights in ("imagenet", None)
    ]
    assert len(set(identities)) == 2 * len(APPLICATIONS)


def test_a_file_and_a_model(tmp_path):
    import keras

    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.ReLU()(inputs), name="mine")
    path = tmp_path / "mine.keras"
    model.save(path)
    assert isinstance(resolve_backbone(path), FileBackbone)
    assert isinstance(resolve_backbone(str(path), weights="ignored"), FileBackbone)
    assert isinstance(resolve_backbone(model, weights="ignored"), ModelBackbone)
    assert resolve_backbone(model).name == "mine"


@pytest.mark.parametrize(
    ("name", "closest"),
    [
        ("vgg16", "'VGG16'"),
        ("resnet50", "'ResNet50'"),
        ("efficientnet_lite", "'efficientnet_lite0'"),
        ("mobilenet", "'MobileNet'"),
        ("", "'efficientnet_lite0'"),
        (Path("VGG61"), "'VGG16'"),
    ],
)
def test_an_unknown_name(name, closest):
    with pytest.raises(
        BackboneError, match=rf"no backbone '.*'; the closest are .*{closest}.*backbone_names\(\) lists"
    ):
        resolve_backbone(name)


@pytest.mark.parametrize("backbone", [None, 3, ["VGG16"], object, ("VGG16", "VGG19")])
def test_what_is_no_backbone(backbone):
    with pytest.raises(BackboneError, match=r"a name, the path of a \.keras file or a Keras model\. Got "):
        resolve_backbone(backbone)


def test_a_missing_file():
    with pytest.raises(BackboneError, match=r"'gone\.keras': there is no such file"):
        resolve_backbone("gone.keras")


NAMES = """
import json, sys
from skcnn.backbones import FrozenNetwork, backbone_names, resolve_backbone
for name in backbone_names():
    if name not in ("efficientnet_lite1", "efficientnet_lite2"):
        network = FrozenNetwork(resolve_backbone(name))
        json.dumps(network.backbone.identity())
        network.input_shape, network.normalises
assert not {"keras", "tensorflow"} & set(sys.modules)
"""


def test_names_are_resolved_and_described_without_keras():
    subprocess.run([sys.executable, "-c", NAMES], check=True)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("tf_keras.src.engine.functional", r"is a model of Keras 2 \(.*Save it with model\.save\('network\.h5'\)"),
        ("torch.nn.modules.container", "Got Functional, of PyTorch$"),
        ("elsewhere", r"Got Functional\.$"),
    ],
)
def test_models_of_other_libraries(module, message):
    with pytest.raises(BackboneError, match=message):
        resolve_backbone(type("Functional", (), {"__module__": module})())
