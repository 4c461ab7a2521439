"""Fixtures shared by all tests: a cache of their own, small real image files, a tiny network."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

# As where skcnn loads TensorFlow; most tests import Keras before it does.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# The same examples in every run, and no folder of them beside the code.
settings.register_profile("skcnn", database=None, derandomize=True, deadline=None, max_examples=60)
# `make test` tries fewer.
settings.register_profile("quick", settings.get_profile("skcnn"), max_examples=15)
settings.load_profile("skcnn")

# Three classes that a colour histogram tells apart.
CLASS_TINTS = {"apple": (1.0, 0.3, 0.3), "leaf": (0.3, 1.0, 0.3), "sea": (0.3, 0.3, 1.0)}


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory, monkeypatch):
    """Keep every test away from the user's cache; the directory does not exist yet."""
    directory = tmp_path_factory.mktemp("cache") / "skcnn"
    monkeypatch.setenv("SKCNN_CACHE_DIR", str(directory))
    monkeypatch.delenv("SKCNN_CACHE_LIMIT", raising=False)
    return directory


@pytest.fixture(autouse=True)
def keras_by_default(monkeypatch, request):
    """Let engine="auto" mean Keras: converting each tiny network for OpenVINO would take longer than all the rest.

    Tests of what "auto" chooses are marked `engine_auto`.
    """
    if "engine_auto" not in request.keywords:
        monkeypatch.setattr("skcnn.backbones._runners.suits_openvino", lambda model: False)


def make_photo(height=48, width=64, *, seed=0, tint=(1.0, 1.0, 1.0)):
    """Return a smooth random RGB picture of shape (height, width, 3), uint8."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    smooth = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    return np.rint(np.asarray(smooth) * np.asarray(tint)).astype(np.uint8)


def encode_image(pixels, format="PNG", **options):
    """Return pixels (an array or a Pillow image) as the bytes of an image file."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture
def photo():
    """Return the function that makes smooth random RGB pixels: photo(height, width, seed=, tint=)."""
    return make_photo


@pytest.fixture
def encode():
    """Return the function that encodes with Pillow: encode(pixels or Pillow image, format, **options)."""
    return encode_image


@pytest.fixture
def write_image(tmp_path):
    """Return a function that writes an image file below tmp_path, the format by its suffix, and gives its path."""

    def write(name, pixels=None, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if pixels is None:
            pixels = make_photo()
        Image.fromarray(pixels).save(path, **options)
        return str(path)

    return write


@pytest.fixture
def image_folder(tmp_path) -> Path:
    """Return a folder of 3 class folders with 4 small JPEG and PNG files each, no two of one size."""
    root = tmp_path / "images"
    for label, (name, tint) in enumerate(CLASS_TINTS.items()):
        (root / name).mkdir(parents=True)
        for number in range(4):
            seed = 4 * label + number
            pixels = make_photo(40 + 3 * seed, 70 - 2 * seed, seed=seed, tint=tint)
            suffix = ("jpg", "png")[number % 2]
            Image.fromarray(pixels).save(root / name / f"{name}_{number}.{suffix}")
    return root


@pytest.fixture
def image_paths(image_folder) -> list[str]:
    """Return the 12 paths of `image_folder`, sorted, so that their labels are np.repeat(["apple", "leaf", "sea"], 4)."""
    return sorted(str(path) for path in image_folder.rglob("*.*"))


@pytest.fixture(autouse=True)
def first_use(monkeypatch):
    """Forget the caches that were opened and what was warned of. Networks stay loaded: they are found by content."""
    from skcnn.cache import FeatureCache, _directory

    def forget():
        monkeypatch.setattr(FeatureCache, "_opened", {})
        monkeypatch.setattr(_directory, "_warned", set())

    forget()
    return forget


@pytest.fixture
def new_process(first_use):
    """What lives as long as a process is let go: the test starts as a new one would, and may call this again."""
    from skcnn.backbones import unload_networks
    from skcnn.training import release_models

    def start():
        first_use()
        unload_networks()
        release_models()

    start()
    return start


# Reads programs from standard input, runs each as `python -c` would, and writes what it printed.
RUN_PROGRAMS = """
import contextlib, io, json, os, sys, traceback

answers, path = os.fdopen(os.dup(1), "w"), sys.path[:]
os.dup2(2, 1)
for request in sys.stdin:
    program, arguments, environment, folder = json.loads(request)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv, sys.path[:] = ["-c", *arguments], ["", *filter(None, environment.get("PYTHONPATH", "").split(":")), *path]
    printed, error = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
        except BaseException:
            error = traceback.format_exc()
    print(json.dumps([printed.getvalue(), error]), file=answers, flush=True)
"""


class OtherPython:
    """Another process of Python, which runs many programs: TensorFlow, which takes seconds to import, is imported once.

    Tests of what a process imports, or of how it begins and ends, start one of their own.
    """

    def __init__(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([sys.executable, "-c", RUN_PROGRAMS], text=True, **pipes)

    def run(self, program, *arguments, folder=".", **environment):
        """Return what a program prints. `environment` is added to the environment variables of this process."""
        request = [program, list(map(str, arguments)), {**os.environ, **environment}, str(folder)]
        too_late = threading.Timer(180, self._process.kill)
        too_late.start()
        try:
            self._process.stdin.write(f"{json.dumps(request)}\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        finally:
            too_late.cancel()
        assert answer, "the process ended, or was killed after 180 s, while it ran the program"
        printed, error = json.loads(answer)
        assert error is None, error
        return printed

    def end(self):
        """End the process."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)


@pytest.fixture(scope="session")
def other_python():
    """A process beside this one that runs programs: other_python.run(program, *arguments)."""
    python = OtherPython()
    yield python
    python.end()


@pytest.fixture(scope="session")
def python_without_skcnn():
    """One more process, in which no program imports skcnn."""
    python = OtherPython()
    yield python
    python.end()


@pytest.fixture
def settled(monkeypatch):
    """Let the digest memo trust files at once, as it would two seconds after they were written."""
    from skcnn.cache import _digests

    monkeypatch.setattr(_digests, "TICK_NS", -(10**18))


@pytest.fixture
def later(monkeypatch):
    """Let files be read ten seconds from now, when those of this test are no longer fresh."""
    from skcnn.images import _sources

    clock = SimpleNamespace(time_ns=lambda: time.time_ns() + 10_000_000_000)
    monkeypatch.setattr(_sources, "time", clock)


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


def seeded(model):
    """Give a model weights that are the same in every run."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        values = rng.normal(size=weight.shape) / 4
        weight.assign(np.abs(values) if "variance" in weight.path else values)
    return model


def conv(name, filters=4):
    import keras

    return keras.layers.Conv2D(filters, 3, padding="same", name=name)


@pytest.fixture(scope="session")
def chain():
    """A network like VGG: convolutions and pooling, one after the other."""
    import keras

    inputs = keras.Input((16, 16, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    for block in (1, 2):
        for number in (1, 2):
            x = keras.layers.ReLU(name=f"block{block}_relu{number}")(conv(f"block{block}_conv{number}")(x))
        x = keras.layers.MaxPooling2D(name=f"block{block}_pool")(x)
    return seeded(keras.Model(inputs, x, name="chain"))


@pytest.fixture(scope="session")
def residual():
    """Two residual blocks after a stem; the second has a convolution in its shortcut, too."""
    import keras

    inputs = keras.Input((16, 16, 3), name="pixels")
    x = conv("stem")(keras.layers.Rescaling(1 / 255)(inputs))
    x = shortcut = keras.layers.ReLU(name="stem_relu")(x)
    x = keras.layers.ReLU(name="one_relu")(keras.layers.BatchNormalization(name="one_bn")(conv("one_a")(x)))
    x = shortcut = keras.layers.Add(name="one_add")([conv("one_b")(x), shortcut])
    x = keras.layers.ReLU(name="two_relu")(keras.layers.BatchNormalization(name="two_bn")(conv("two_a", 8)(x)))
    x = keras.layers.Add(name="two_add")([conv("two_b", 8)(x), conv("two_shortcut", 8)(shortcut)])
    return seeded(keras.Model(inputs, keras.layers.ReLU(name="out")(x), name="residual"))


@pytest.fixture(scope="session")
def dense():
    """A dense block: each layer gets the outputs of all before it, joined."""
    import keras

    inputs = keras.Input((16, 16, 3), name="pixels")
    x = conv("stem")(keras.layers.Rescaling(1 / 255)(inputs))
    for number in (1, 2, 3):
        x = keras.layers.Concatenate(name=f"join{number}")([x, conv(f"dense{number}")(x)])
    return seeded(keras.Model(inputs, keras.layers.ReLU(name="out")(conv("transition")(x)), name="dense"))


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
    from skcnn.backbones._runners import KerasRunner

    sizes = []
    run = KerasRunner.run

    def counting(self, batch):
        sizes.append(len(batch))
        return run(self, batch)

    monkeypatch.setattr(KerasRunner, "run", counting)
    return sizes


@pytest.fixture
def pyplot():
    """Pyplot without a screen, all of whose figures are closed in the end."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as pyplot

    yield pyplot
    pyplot.close("all")
