"""What every runner promises, whichever engine is behind it."""

import threading

import numpy as np
import pytest

from skcnn.backbones import Runner
from skcnn.backbones._runners import ENGINES, KerasRunner, make_runner


@pytest.fixture(scope="module")
def model():
    import keras

    inputs = keras.Input((8, 10, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    for seed, name in enumerate(("one", "two")):
        initializer = keras.initializers.HeNormal(seed)
        x = keras.layers.Conv2D(6, 3, padding="same", activation="relu6", kernel_initializer=initializer, name=name)(x)
        x = keras.layers.BatchNormalization()(x)
    return keras.Model(inputs, keras.ops.mean(x, axis=(1, 2)))


@pytest.fixture(scope="module", params=ENGINES)
def runner(request, model):
    return make_runner(model, request.param)


def batch_of(n_images, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n_images, 8, 10, 3)).astype(dtype)


def test_every_engine_is_a_runner(runner):
    assert isinstance(runner, Runner)


def test_output_shape(runner):
    assert runner.output_shape == (6,)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("n_images", [1, 2, 32, 33])
def test_features_are_those_of_the_model(runner, model, n_images, dtype):
    batch = batch_of(n_images, dtype)
    features = runner.run(batch)
    assert features.shape == (n_images, 6)
    assert features.dtype == np.float32
    assert isinstance(features, np.ndarray)
    np.testing.assert_allclose(features, model(batch.astype(np.float32), training=False), rtol=1e-5, atol=1e-5)


def test_uint8_and_float32_are_the_same_images(runner):
    np.testing.assert_array_equal(runner.run(batch_of(5)), runner.run(batch_of(5, np.float32)))


def test_fractions_of_grey_levels_count(runner, model):
    batch = batch_of(4, np.float32) / 3
    np.testing.assert_allclose(runner.run(batch), model(batch), rtol=1e-5, atol=1e-5)
    assert np.abs(runner.run(batch) - runner.run(np.floor(batch))).max() > 1e-4


def test_a_result_is_ones_own(runner):
    first = runner.run(batch_of(3))
    kept = first.copy()
    runner.run(batch_of(3, seed=1))
    np.testing.assert_array_equal(first, kept)


def test_batches_are_left_as_they_are(runner):
    batch = batch_of(3)
    batch.flags.writeable = False
    kept = batch.copy()
    runner.run(batch)
    np.testing.assert_array_equal(batch, kept)


def test_any_memory_layout(runner):
    batch = batch_of(6)
    expected = runner.run(batch)
    np.testing.assert_allclose(runner.run(np.asfortranarray(batch)), expected, rtol=1e-6)
    np.testing.assert_allclose(runner.run(batch[::-1])[::-1], expected, rtol=1e-6)


def test_the_batch_does_not_matter(runner):
    batch = batch_of(7)
    one_by_one = np.concatenate([runner.run(batch[index : index + 1]) for index in range(7)])
    np.testing.assert_allclose(runner.run(batch), one_by_one, rtol=1e-5, atol=1e-5)


def test_threads_may_share_a_runner(runner, model):
    results = {}

    def work(seed):
        results[seed] = [runner.run(batch_of(3 + seed, seed=seed)) for _ in range(5)]

    threads = [threading.Thread(target=work, args=[seed]) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        expected = model(batch_of(3 + seed, np.float32, seed))
        for features in results[seed]:
            np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:OpenVINO cannot run:skcnn.exceptions.EngineWarning")
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
@pytest.mark.parametrize("engine", ENGINES)
def test_models_of_low_precision_give_float32_too(engine, policy):
    import keras

    inputs = keras.Input((4, 4, 3), dtype="float32")
    conv = keras.layers.Conv2D(2, 3, kernel_initializer="ones", dtype=keras.DTypePolicy(policy))
    features = make_runner(keras.Model(inputs, conv(inputs)), engine).run(np.ones((2, 4, 4, 3), np.uint8))
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, np.full((2, 2, 2, 2), 27))


def test_the_keras_runner_shows_no_progress(model, capsys):
    KerasRunner(model).run(batch_of(3))
    assert capsys.readouterr().out == ""


def test_a_gpu_computes_in_float32_and_not_in_tf32(model, monkeypatch):
    import tensorflow as tf

    precise, seen = tf.config.experimental, []
    runner = KerasRunner(model)
    run = model.predict_on_batch

    def run_and_look(batch):
        seen.append(precise.tensor_float_32_execution_enabled())
        return run(batch)

    monkeypatch.setattr(model, "predict_on_batch", run_and_look)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["a GPU"])
    before = precise.tensor_float_32_execution_enabled()
    runner.run(batch_of(2))
    assert seen == [False]
    assert precise.tensor_float_32_execution_enabled() == before
    assert model.jit_compile is False
