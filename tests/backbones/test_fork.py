"""A child that is forked after a network was loaded gets features from a helper process; it never hangs."""

import multiprocessing
import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

PRELUDE = """
import multiprocessing, os, signal, sys, time, warnings
import joblib
import numpy as np
from skcnn import CNNFeatureExtractor
from skcnn.exceptions import EngineWarning

def images(seed):
    return np.random.default_rng(seed).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)

def transform(seed, extractor=None):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        extractor = extractor or globals()["extractor"]
        return extractor.transform(images(seed)), [
            str(each.message)[:80] for each in caught if issubclass(each.category, UserWarning)
        ]

def in_child(function, *args):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply_async(function, args).get(timeout=90)

def assert_equal(seed, extractor=None):
    (features, warned), (expected, _) = in_child(transform, seed, extractor), transform(seed, extractor)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    return warned
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
    transform(0)
    assert in_child(transform, 0)[1] == []  # stored
    extractor.set_params(cache=None)
    warned = assert_equal(1)
    assert len(warned) == 1 and warned[0].startswith("this process was forked after TensorFlow had started"), warned
    """
    run(code, tmp_path)


@pytest.mark.slow
def test_every_kind_of_network_goes_along(tmp_path):
    code = f"""
    import keras

    @keras.saving.register_keras_serializable("script")
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    def network(*layers):
        base = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3, name="conv"), *layers], name="base")
        return keras.Sequential([keras.Input((32, 32, 3)), base, keras.layers.Flatten(), keras.layers.Dense(2)])

    scale = 3.0
    models = [network(), network(Twice()), network(keras.layers.Lambda(lambda x: scale * x, name="scaled"))]
    models[1].save({str(tmp_path / "net.keras")!r})
    for backbone, cache in zip([*models, {str(tmp_path / "net.keras")!r}], [True, None, True, None]):
        extractor = CNNFeatureExtractor(backbone, preprocess=None, cache=cache).fit(images(0))
        assert len(assert_equal(1, extractor)) == 1, backbone
    """
    run(code, tmp_path)


@pytest.mark.slow
def test_a_warning_of_the_helper_is_seen_and_an_error_is_raised(tmp_path):
    code = """
    import keras
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3, name="conv")])
    extractor = CNNFeatureExtractor(model, layer="conv").fit(images(0))
    warned = assert_equal(1)
    assert len(warned) == 2 and "nothing tells what range of pixels" in warned[1], warned

    def spoilt(seed):
        extractor.set_params(precision="bfloat16", engine="keras")
        return transform(seed)

    try:
        in_child(spoilt, 2)
    except ValueError as error:
        assert "Keras runs float32 only" in str(error), error
    else:
        raise AssertionError
    """
    run(code, tmp_path)


@pytest.mark.slow
def test_the_helper_ends_with_its_process_and_starts_anew_when_it_was_killed(tmp_path):
    code = """
    extractor = CNNFeatureExtractor(weights=None, input_size=32, cache=None).fit(images(0))

    def twice(_):
        from skcnn.backbones._helper_process import helper
        first = transform(1)[0]
        pid = helper().pid
        os.kill(pid, signal.SIGKILL)
        try:
            transform(1)  # whether it is seen before or after a request was sent, the next one finds a new helper
        except ValueError as error:
            assert "try again: it starts anew" in str(error)
        second = transform(1)[0]
        assert helper().pid != pid
        return np.allclose(first, second), helper().pid

    equal, pid = in_child(twice, None)
    assert equal
    for _ in range(100):
        try:
            os.kill(pid, 0)
            with open(f"/proc/{pid}/stat") as file:
                if file.read().split()[2] == "Z":
                    break
        except OSError:
            break
        time.sleep(0.1)
    else:
        raise AssertionError("the helper is still there")
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
    transform(0, extractor.fit(images(0)))  # starts TensorFlow here
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

    try:
        in_child(train, None)
    except ValueError as error:
        assert "was forked after TensorFlow had started" in str(error), error
        assert "'loky'" in str(error)
    else:
        raise AssertionError
    """
    run(code, tmp_path)


@pytest.mark.slow
def test_a_fork_before_any_network(tmp_path):
    code = """
    extractor = CNNFeatureExtractor(weights=None, input_size=32)
    extractor.feature_shape_ = (1280,)  # fitted, without TensorFlow
    assert "tensorflow" not in sys.modules
    assert assert_equal(1) == []
    """
    run(code, tmp_path)


def test_a_spawned_process_is_free(tmp_path):
    from skcnn.backbones._fork import check_not_forked

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply_async(check_not_forked).get(timeout=60) is None
