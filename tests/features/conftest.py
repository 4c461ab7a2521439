"""A tiny network and small images, so that the real machinery runs in milliseconds."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def tiny_model():
    """A seeded Keras model of 16 x 16 RGB pixels with a residual block; 8 channels at its last image layer."""
    import keras

    def conv(filters, seed, name):
        initializer = keras.initializers.HeNormal(seed=seed)
        return keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer=initializer, name=name)

    inputs = keras.Input((16, 16, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 255, name="scale")(inputs)
    x = shortcut = keras.layers.ReLU(name="first_activation")(conv(8, 0, "first")(x))
    x = keras.layers.ReLU(name="second_activation")(conv(8, 1, "second")(x))
    x = keras.layers.Add(name="sum")([shortcut, x])
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    outputs = keras.layers.Dense(3, kernel_initializer=keras.initializers.GlorotUniform(seed=2), name="scores")(x)
    return keras.Model(inputs, outputs, name="tiny")


@pytest.fixture
def pixels():
    """Twelve different 16 x 16 RGB images."""
    return np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def files(pixels, tmp_path):
    """The same images as PNG files, whose pixels survive exactly."""
    import cv2

    folder = tmp_path / "images"
    folder.mkdir()
    paths = [folder / f"{index:02d}.png" for index in range(len(pixels))]
    for path, image in zip(paths, pixels, strict=True):
        assert cv2.imwrite(str(path), image[..., ::-1])
    return [str(path) for path in paths]


@pytest.fixture
def run_sizes(monkeypatch):
    """The number of images in each batch that any network was run on."""
    from skcnn.backbones import KerasRunner

    sizes = []
    run = KerasRunner.run

    def counting(self, batch):
        sizes.append(len(batch))
        return run(self, batch)

    monkeypatch.setattr(KerasRunner, "run", counting)
    return sizes
