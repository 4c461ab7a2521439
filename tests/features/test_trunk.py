"""Raw pixels as a trunk; what becomes of them is in test_extract.py."""

import numpy as np
import pytest

from skcnn.backbones import FrozenNetwork, resolve_backbone
from skcnn.features import RawPixels, Trunk

TRUNKS = [RawPixels((16, 16, 3)), FrozenNetwork(resolve_backbone("efficientnet_lite0", None), input_size=(32, 32))]


@pytest.mark.parametrize("trunk", TRUNKS, ids=["pixels", "network"])
def test_every_trunk_has_what_extraction_asks_for(trunk):
    names = [name for name in vars(Trunk) if not name.startswith("_")]
    assert sorted(names) == ["description", "dtype", "input_shape", "load", "name", "normalises"]
    assert all(hasattr(trunk, name) for name in names)
    batch = np.zeros((2, *trunk.input_shape), np.uint8)
    runner = trunk.load("keras")
    assert runner.run(batch).shape == (2, *runner.output_shape)


def test_pixels_come_back_as_they_are():
    batch = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(RawPixels((16, 16, 3)).load().run(batch), batch, strict=True)


def test_sizes_are_described():
    assert RawPixels((16, 20, 1)).description != RawPixels((16, 20, 3)).description
    assert repr(RawPixels((16, 20, 1))) == "RawPixels((16, 20, 1))"


@pytest.mark.parametrize("shape", [(16, 16, 4), (16, 16), (0, 16, 3)], ids=str)
def test_the_shape_of_pixels_is_checked(shape):
    with pytest.raises(ValueError, match="'input_shape'"):
        RawPixels(shape)
