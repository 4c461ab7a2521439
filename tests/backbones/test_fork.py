"""A child that is forked after a network was loaded: an error that names the way out, or features; never a hang."""

import multiprocessing
import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

PRELUDE = """
import multiprocessing, sys
import numpy as np
from skcnn import CNNFeatureExtractor

def images(seed):
    return np.random.default_rng(seed).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)

def transform(seed):
    return extractor.transform(images(seed)).shape

def in_child(seed):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply_async(transform, (seed,)).get(timeout=60)
"""


def run(code, tmp_path):
    """Run a program of its own: this process must not be forked, TensorFlow runs in it."""
    environment = os.environ | {"SKCNN_CACHE_DIR": str(tmp_path / "cache")}
    program = PRELUDE + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=environment, check=False
    )


@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_a_network_that_was_loaded_before_the_fork(engine, tmp_path):
    if engine == "openvino":
        pytest.importorskip("openvino")
    done = run(
        f"""
        extractor = CNNFeatureExtractor(weights=None, input_size=32, engine={engine!r}).fit(images(0))
        transform(0)
        assert in_child(0) == (3, 1280)  # stored
        try:
            in_child(1)
        except ValueError as error:
            print(error)
        assert transform(1) == (3, 1280)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "was forked after TensorFlow had started" in done.stdout
    assert "get_context('spawn')" in done.stdout
    assert "'loky'" in done.stdout


def test_a_model_of_the_users_own(tmp_path):
    done = run(
        """
        import keras
        layers = [keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(2)]
        extractor = CNNFeatureExtractor(keras.Sequential(layers)).fit(images(0))
        transform(0)
        assert in_child(0) == (3, 4)
        try:
            in_child(1)
        except ValueError as error:
            print(error)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "was forked after TensorFlow had started" in done.stdout


def test_a_fork_before_any_network(tmp_path):
    done = run(
        """
        extractor = CNNFeatureExtractor(weights=None, input_size=32)
        extractor.feature_shape_ = (1280,)  # fitted, without TensorFlow
        assert "tensorflow" not in sys.modules
        assert in_child(1) == (3, 1280)
        assert transform(1) == (3, 1280)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_spawned_process_is_free(tmp_path):
    from skcnn.backbones._fork import check_not_forked

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply_async(check_not_forked).get(timeout=60) is None
