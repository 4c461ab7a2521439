"""A child that is forked after a network was loaded reads stored features; it refuses to run networks, and never hangs."""

import multiprocessing
import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

PRELUDE = """
import multiprocessing, sys
import joblib
import numpy as np
from skcnn import CNNFeatureExtractor

def images(seed):
    return np.random.default_rng(seed).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)

def transform(seed, extractor=None):
    return (extractor or globals()["extractor"]).transform(images(seed))

def in_child(function, *args):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply_async(function, args).get(timeout=90)

def assert_refused(function, *args):
    try:
        in_child(function, *args)
    except ValueError as error:
        assert "was forked after TensorFlow had started" in str(error), error
        assert "'loky'" in str(error)
    else:
        raise AssertionError
"""


def run(code, tmp_path):
    """Run a program of its own: this process must not be forked, TensorFlow runs in it."""
    environment = os.environ | {"SKCNN_CACHE_DIR": str(tmp_path / "cache")}
    script = tmp_path / "script.py"
    script.write_text(PRELUDE + textwrap.dedent(code), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=200, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_a_network_that_was_loaded_before_the_fork(engine, tmp_path):
    if engine == "openvino":
        pytest.importorskip("openvino")
    code = f"""
    extractor = CNNFeatureExtractor(weights=None, input_size=32, engine={engine!r}).fit(images(0))
    expected = transform(0)
    np.testing.assert_array_equal(in_child(transform, 0), expected)  # stored
    assert_refused(transform, 1)
    assert transform(1).shape == expected.shape
    """
    run(code, tmp_path)


@pytest.mark.slow
def test_a_model_in_memory(tmp_path):
    code = """
    import keras
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3, name="conv"), keras.layers.Flatten()])
    extractor = CNNFeatureExtractor(model, layer="conv", preprocess=None).fit(images(0))
    expected = transform(0)

    def inherited(seed):
        return extractor.transform(images(seed))

    np.testing.assert_array_equal(in_child(inherited, 0), expected)
    assert_refused(inherited, 1)
    assert_refused(transform, 0, extractor)  # pickled: the model cannot be built there
    """
    run(code, tmp_path)


@pytest.mark.slow
def test_joblib_with_processes_that_are_forked(tmp_path):
    code = """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    extractor = CNNFeatureExtractor(weights=None, input_size=32)
    model = make_pipeline(extractor, LogisticRegression(solver="newton-cg"))
    X, y = np.concatenate([images(seed) for seed in range(6)]), np.arange(18) % 2
    extractor.fit(X).transform(X)  # starts TensorFlow here, and stores what the workers read
    with joblib.parallel_backend("multiprocessing"):
        scores = cross_val_score(model, X, y, cv=2, n_jobs=2, error_score="raise")
    np.testing.assert_allclose(scores, cross_val_score(model, X, y, cv=2))
    """
    run(code, tmp_path)


@pytest.mark.slow
def test_training_is_refused(tmp_path):
    code = """
    from skcnn import FineTunedCNNClassifier
    extractor = CNNFeatureExtractor(weights=None, input_size=32).fit(images(0))
    transform(0)

    def train(_):
        FineTunedCNNClassifier(weights=None, input_size=32, epochs=1).fit(images(0), [0, 1, 0])

    assert_refused(train, None)
    """
    run(code, tmp_path)


@pytest.mark.slow
def test_a_fork_before_any_network(tmp_path):
    code = """
    extractor = CNNFeatureExtractor(weights=None, input_size=32)
    extractor.feature_shape_ = (1280,)  # fitted, without TensorFlow
    assert "tensorflow" not in sys.modules
    np.testing.assert_allclose(in_child(transform, 1), transform(1), rtol=1e-4, atol=1e-4)
    """
    run(code, tmp_path)


def test_a_spawned_process_is_free(tmp_path):
    from skcnn.backbones._fork import check_not_forked

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply_async(check_not_forked).get(timeout=60) is None
