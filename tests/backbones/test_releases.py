import importlib.metadata

import numpy as np
import pytest

from skcnn import CNNFeatureExtractor
from skcnn.backbones import _applications
from skcnn.backbones._releases import Releases, probe, sample
from skcnn.backbones._runner import Runner
from skcnn.cache._json_memo import JsonMemo

SHAPE = [8, 8, 3]


class Scaled(Runner):
    """Returns activations that depend on the pixels and on two numbers."""

    output_shape = (200,)

    def __init__(self, factor=1.0, noise=0.0):
        self.factor, self.noise = factor, noise
        self.calls = 0

    def run(self, batch):
        self.calls += 1
        values = np.sin(np.arange(200) + batch.sum()) * self.factor
        return (values + self.noise * np.cos(np.arange(200)))[np.newaxis].astype(np.float32)


def releases(memo, release, precision="float32"):
    description = {"backbone": {"application": "Net", "keras": release}, "precision": precision, "input_shape": SHAPE}
    return Releases(memo, description)


@pytest.fixture
def memo(tmp_path):
    return JsonMemo(tmp_path / "layers")


def test_the_first_release_stands_for_those_that_compute_the_same(memo):
    assert releases(memo, "3.15.0").first_like_this is None
    releases(memo, "3.15.0").measure(Scaled())
    assert releases(memo, "3.15.0").first_like_this == "3.15.0"
    assert releases(memo, "3.16.0").first_like_this is None
    releases(memo, "3.16.0").measure(Scaled(noise=1e-5))
    assert releases(memo, "3.16.0").first_like_this == "3.15.0"
    releases(memo, "3.17.0").measure(Scaled(factor=1.01))
    assert releases(memo, "3.17.0").first_like_this == "3.17.0"
    releases(memo, "3.18.0").measure(Scaled(factor=1.01))
    assert releases(memo, "3.18.0").first_like_this == "3.17.0"
    again = JsonMemo(memo.directory)
    assert releases(again, "3.18.0").first_like_this == "3.17.0"
    assert list(releases(again, "3.18.0").known) == ["3.15.0", "3.16.0", "3.17.0", "3.18.0"]


def test_a_release_is_measured_once(memo):
    runner = Scaled()
    for _ in range(3):
        releases(memo, "3.15.0").measure(runner)
    assert runner.calls == 1


def test_bfloat16_rounds_more(memo):
    releases(memo, "3.15.0", "bfloat16").measure(Scaled())
    releases(memo, "3.16.0", "bfloat16").measure(Scaled(noise=0.01))
    assert releases(memo, "3.16.0", "bfloat16").first_like_this == "3.15.0"
    assert releases(memo, "3.16.0").known == {}


@pytest.mark.parametrize("answer", [None, 3, {}, ["3.15.0"], [{"release": "3.15.0", "like": 3, "activations": []}],
                                    [{"release": "3.15.0", "like": "3.15.0", "activations": [None]}]])  # fmt: skip
def test_damaged_records_count_as_unknown(answer):
    class Damaged:
        def get(self, question):
            return answer

        def put(self, question, answer):
            pass

    assert releases(Damaged(), "3.15.0").known == {}
    releases(Damaged(), "3.15.0").measure(Scaled())


def test_the_probe_is_an_image_with_contrast():
    pixels = probe(224, 200, 3)
    assert pixels.shape == (1, 224, 200, 3)
    assert pixels.dtype == np.float32
    assert pixels.min() >= 0
    assert pixels.max() <= 255
    assert pixels.std() > 50
    assert sample(np.arange(6.0).reshape(1, 2, 3)).tolist() == [0, 1, 2, 3, 4, 5]
    assert len(sample(np.zeros((1, 7, 7, 1152)))) == 64


@pytest.fixture
def keras_release(monkeypatch, new_process):
    """Return a function that begins a new process with another release of Keras."""
    version = importlib.metadata.version

    def begin(release):
        new_process()
        monkeypatch.setattr(
            _applications.importlib.metadata, "version", lambda name: release if name == "keras" else version(name)
        )

    return begin


@pytest.fixture
def extract(tmp_path):
    """Return a function that extracts features, and returns them with hits and misses."""
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)

    def extract():
        extractor = CNNFeatureExtractor("MobileNet", weights=None, input_size=(32, 32), cache=tmp_path)
        return extractor.fit_transform(images), extractor.cache_info()[:2]

    return extract


@pytest.mark.slow
def test_rows_are_found_by_another_release_that_builds_the_same_network(extract, keras_release):
    keras_release("3.15.0")
    expected, counts = extract()
    assert counts == (0, 4)
    keras_release("3.16.0")
    features, counts = extract()
    assert counts == (4, 0)
    np.testing.assert_array_equal(features, expected)


@pytest.mark.slow
def test_rows_are_computed_again_by_a_release_that_builds_another_network(extract, keras_release, monkeypatch):
    keras_release("3.15.0")
    expected, _ = extract()
    keras_release("3.16.0")
    normalise = _applications.preprocess_input
    monkeypatch.setattr(_applications, "preprocess_input", lambda module, pixels: 0.9 * normalise(module, pixels))
    features, counts = extract()
    assert counts == (0, 4)
    assert not np.allclose(features, expected, rtol=1e-3)
