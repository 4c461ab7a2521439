import numpy as np
import pytest

from skcnn.backbones import FrozenNetwork, resolve_backbone, unload_networks
from skcnn.backbones._efficientnet_lite import packaged_checkpoint
from skcnn.backbones._lite import LiteBackbone
from skcnn.exceptions import CheckpointError


@pytest.fixture(scope="module", autouse=True)
def nothing_left():
    yield
    unload_networks()


def test_who_it_is_depends_on_the_weights_alone(tmp_path):
    packaged = packaged_checkpoint("efficientnet_lite0")
    copied = tmp_path / "renamed.bin"
    copied.write_bytes(packaged.read_bytes())
    identity = LiteBackbone("efficientnet_lite0", "imagenet").identity()
    assert identity == LiteBackbone("efficientnet_lite0", str(packaged)).identity()
    assert identity == LiteBackbone("efficientnet_lite0", copied).identity()
    assert identity != LiteBackbone("efficientnet_lite0", None).identity()
    assert len(identity["weights"]) == 40


def test_other_variants_are_others():
    names = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
    assert len({str(LiteBackbone(name, None).identity()) for name in names}) == 3


@pytest.mark.parametrize(
    ("name", "side"), [("efficientnet_lite0", 224), ("efficientnet_lite1", 240), ("efficientnet_lite2", 260)]
)
def test_input_shape(name, side):
    assert LiteBackbone(name, None).input_shape() == (side, side, 3)


def test_the_packaged_weights_are_loaded():
    model = LiteBackbone("efficientnet_lite0", "imagenet").build((32, 32))
    twin = LiteBackbone("efficientnet_lite0", packaged_checkpoint("efficientnet_lite0")).build((32, 32))
    random = LiteBackbone("efficientnet_lite0", None).build((32, 32))
    kernels = [each.get_layer("stem_conv").kernel.numpy() for each in (model, twin, random)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (kernels[0] != kernels[2]).any()


def test_without_weights_the_graph_is_there_and_zero():
    model = LiteBackbone("efficientnet_lite0", "imagenet").build((32, 32), load_weights=False)
    assert not model.get_layer("stem_conv").kernel.numpy().any()
    assert model.get_layer("top_activation").output.shape == (None, 1, 1, 1280)


def test_weights_of_another_kind(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"these are no weights")
    with pytest.raises(CheckpointError, match=r"weights\.pth' was not read as a torch checkpoint"):
        LiteBackbone("efficientnet_lite0", path).build((32, 32))


@pytest.mark.slow
def test_pixels_are_normalised_inside():
    network = FrozenNetwork(resolve_backbone("efficientnet_lite0", None), input_size=(32, 32))
    bare = FrozenNetwork(resolve_backbone("efficientnet_lite0", None), input_size=(32, 32), preprocess=None)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    expected = bare.load("keras").run((pixels.astype(np.float32) - 127) / 128)
    np.testing.assert_allclose(network.load("keras").run(pixels), expected, rtol=1e-5, atol=1e-6)


def test_features_come_from_the_last_activation():
    network = FrozenNetwork(resolve_backbone("efficientnet_lite0", None), input_size=(32, 32))
    named = FrozenNetwork(network.backbone, "top_activation", input_size=(32, 32))
    assert network.load("keras").output_shape == (1280,)
    assert network.description == named.description
    assert network.load("keras") is named.load("keras")
