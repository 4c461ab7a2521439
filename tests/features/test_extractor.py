"""The estimator as a user meets it: right values, nothing computed twice, errors that help."""

import copy
import itertools
import os
import pickle
import random
import shutil
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline

from skcnn import AspectAwareResize, CNNFeatureExtractor, MeanSubtract
from skcnn.exceptions import BackboneError, ImageReadError, PreprocessingError, StoreWarning
from skcnn.images import Step, ToGrey, as_image_sequence


@pytest.fixture
def extractor(tiny_model):
    return CNNFeatureExtractor(tiny_model)


@pytest.fixture
def twin(tiny_model):
    """The plain Keras way to the same features."""
    import keras

    trunk = keras.Model(tiny_model.input, tiny_model.get_layer("sum").output)
    return lambda pixels: np.asarray(trunk(pixels.astype(np.float32))).mean(axis=(1, 2))


# Values -------------------------------------------------------------------------------------------------------------


def test_features_equal_those_of_plain_keras(extractor, files, pixels, twin):
    features = extractor.fit_transform(files)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, twin(pixels), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(extractor.transform(files), features)


def test_every_kind_of_input_gives_the_same_features(extractor, files, pixels, twin):
    data = [Path(file).read_bytes() for file in files]
    for X in (files, np.array(files), np.array(files)[:, np.newaxis], data, pixels, list(pixels)):
        np.testing.assert_allclose(extractor.fit_transform(X), twin(pixels), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cache", [True, None])
def test_order_duplicates_and_batch_size_do_not_matter(tiny_model, files, pixels, twin, cache):
    order = [3, 3, 0, 11, 5, 3, 0]
    expected = twin(pixels)[order]
    for batch_size in (1, 2, 100):
        extractor = CNNFeatureExtractor(tiny_model, batch_size=batch_size, cache=cache)
        features = extractor.fit_transform([files[index] for index in order])
        np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "pooling", "shape"),
    [
        ("first_activation", "avg", (8,)),
        ("first_activation", "max", (8,)),
        ("first_activation", "flatten", (16 * 16 * 8,)),
        ("first_activation", None, (16, 16, 8)),
        (-1, "avg", (3,)),
        ("pooled", "avg", (8,)),
        (None, "avg", (8,)),
    ],
)
def test_any_layer_and_pooling(tiny_model, files, pixels, layer, pooling, shape):
    import keras

    extractor = CNNFeatureExtractor(tiny_model, layer=layer, pooling=pooling)
    features = extractor.fit_transform(files)
    assert extractor.feature_shape_ == shape
    assert features.shape == (12, *shape)
    at = tiny_model.layers[layer] if isinstance(layer, int) else tiny_model.get_layer(layer or "sum")
    raw = np.asarray(keras.Model(tiny_model.input, at.output)(pixels.astype(np.float32)))
    if raw.ndim == 4:
        pool = {"avg": lambda a: a.mean((1, 2)), "max": lambda a: a.max((1, 2)), None: lambda a: a}
        raw = pool.get(pooling, lambda a: a.reshape(12, -1))(raw)
    np.testing.assert_allclose(features, raw, rtol=1e-5, atol=1e-5)


def test_float16_is_half_the_bytes(tiny_model, files):
    whole = CNNFeatureExtractor(tiny_model)
    half = CNNFeatureExtractor(tiny_model, dtype="float16")
    np.testing.assert_allclose(half.fit_transform(files), whole.fit_transform(files), rtol=1e-3)
    assert half.fit_transform(files).dtype == np.float16
    assert half.cache_info().bytes * 2 == whole.cache_info().bytes == 12 * 8 * 4


def test_grey_images_go_through_a_network_of_colours(extractor, pixels):
    grey = pixels[..., :1]
    np.testing.assert_array_equal(extractor.fit_transform(grey), extractor.transform(np.repeat(grey, 3, axis=-1)))


def test_a_network_of_one_channel_sees_grey():
    import keras

    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Flatten()(inputs))
    pixels = np.zeros((1, 8, 8, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    np.testing.assert_array_equal(CNNFeatureExtractor(model, layer=-1).fit_transform(pixels), np.full((1, 64), 76))


def test_nothing_global_changes(tiny_model, files):
    import keras

    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.random()
    policy, environment = keras.config.dtype_policy(), dict(os.environ)
    named = keras.layers.Dense(1).name
    random.seed(1)
    np.random.seed(1)
    CNNFeatureExtractor(weights=None, input_size=32, cache=None).fit_transform(files)
    assert (random.random(), np.random.random()) == expected
    assert keras.config.dtype_policy() == policy
    assert dict(os.environ) == environment
    stem, _, number = named.rpartition("_")
    assert keras.layers.Dense(1).name == (f"{stem}_{int(number) + 1}" if stem else "dense_1")


@pytest.mark.slow
def test_random_weights_are_the_same_in_every_network_built(files):
    settings = {"weights": None, "input_size": 32, "cache": None}
    first = CNNFeatureExtractor("MobileNetV2", **settings).fit_transform(files)
    from skcnn.backbones import unload_networks

    unload_networks()
    second = CNNFeatureExtractor("MobileNetV2", **settings).fit_transform(files)
    np.testing.assert_array_equal(first, second)
    assert first.std() > 1e-3


@pytest.mark.slow
def test_a_mixed_precision_policy_does_not_reach_the_features(files):
    import keras

    settings = {"weights": None, "input_size": 32, "cache": None}
    expected = CNNFeatureExtractor("VGG16", **settings).fit_transform(files)
    from skcnn.backbones import unload_networks

    unload_networks()
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        np.testing.assert_array_equal(CNNFeatureExtractor("VGG16", **settings).fit_transform(files), expected)
    finally:
        keras.config.set_dtype_policy(policy)


# The store ----------------------------------------------------------------------------------------------------------


def test_each_image_goes_through_the_network_once(extractor, files, run_sizes):
    extractor.fit_transform(files[:8])
    extractor.transform(files[4:])
    clone(extractor).fit_transform(files)
    assert sum(run_sizes) == 12
    assert extractor.cache_info() == (4 + 12, 12, 12, 12 * 8 * 4)


def test_once_through_a_whole_grid_search(extractor, files, run_sizes):
    pipe = Pipeline([("resize", AspectAwareResize(16)), ("features", extractor), ("clf", LogisticRegression())])
    search = GridSearchCV(pipe, {"clf__C": [0.1, 1], "resize__interpolation": ["area", "linear"]}, cv=3)
    search.fit(files, ["a", "b", "c"] * 4).predict(files)
    assert sum(run_sizes) == 24  # two interpolations are two kinds of features


@pytest.mark.slow
def test_once_under_two_workers(files):
    pipe = Pipeline([("features", CNNFeatureExtractor(weights=None, input_size=32)), ("clf", LogisticRegression())])
    search = GridSearchCV(pipe, {"clf__C": [0.1, 1]}, cv=3, n_jobs=2).fit(files, ["a", "b", "c"] * 4)
    assert search.best_estimator_["features"].cache_info().images == 12


def test_renamed_files_are_hits(extractor, files, run_sizes, tmp_path):
    expected = extractor.fit_transform(files)
    moved = [shutil.move(file, tmp_path / f"renamed-{index}.png") for index, file in enumerate(files)]
    np.testing.assert_array_equal(extractor.transform(moved), expected)
    assert sum(run_sizes) == 12


def test_an_overwritten_file_is_the_only_one_computed_again(extractor, files, run_sizes, twin, pixels):
    import cv2

    before = extractor.fit_transform(files)
    cv2.imwrite(files[5], np.ascontiguousarray(pixels[5, ::-1, :, ::-1]))
    after = extractor.transform(files)
    np.testing.assert_allclose(after[5], twin(pixels[5:6, ::-1])[0], rtol=1e-5)
    np.testing.assert_array_equal(np.delete(after, 5, 0), np.delete(before, 5, 0))
    assert run_sizes == [12, 1]


def test_an_overwrite_of_the_same_size_and_time_is_noticed(extractor, tmp_path):
    file = tmp_path / "image.bmp"
    images = [np.full((16, 16, 3), value, np.uint8) for value in (50, 200)]
    import cv2

    features = []
    for image in images:
        cv2.imwrite(str(file), image)
        os.utime(file, ns=(10**18, 10**18))
        features.append(extractor.fit_transform([str(file)]))
    assert (features[0] != features[1]).any()


def test_a_settled_file_is_not_read_again(extractor, files, settled, monkeypatch):
    from skcnn.images import _sources

    expected = extractor.fit_transform(files)
    monkeypatch.setattr(_sources, "read_file", lambda path: pytest.fail(f"{path} was read"))
    np.testing.assert_array_equal(extractor.transform(files), expected)


def test_resizing_before_shares_the_rows_of_resizing_inside(tiny_model, files, run_sizes):
    inside = CNNFeatureExtractor(tiny_model)
    features = inside.fit_transform(files)
    resized = AspectAwareResize((16, 16)).fit_transform(files)
    np.testing.assert_array_equal(clone(inside).fit_transform(resized), features)
    assert sum(run_sizes) == 12
    inside.transform(AspectAwareResize((16, 16), interpolation="linear").fit_transform(files))
    assert sum(run_sizes) == 24


@pytest.mark.slow
def test_whatever_changes_the_values_changes_the_rows(tiny_model, files, run_sizes):
    settings = [
        {},
        {"layer": "first_activation"},
        {"pooling": "max"},
        {"dtype": "float16"},
        {"decode": "exact"},
        {"backbone": "efficientnet_lite0", "weights": None, "input_size": 32},
        {"backbone": "efficientnet_lite0", "weights": None, "input_size": 33},
        {"backbone": "efficientnet_lite0", "weights": None, "input_size": 32, "preprocess": None},
    ]
    for count, setting in enumerate(settings, 1):
        CNNFeatureExtractor(**{"backbone": tiny_model, **setting}).fit_transform(files)
        assert sum(run_sizes) == 12 * count, setting


def test_a_model_trained_on_is_another_network(files, run_sizes):
    import keras

    inputs = keras.Input((16, 16, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3, kernel_initializer="ones")(inputs))
    extractor = CNNFeatureExtractor(model)
    before = extractor.fit_transform(files)
    model.layers[-1].kernel.assign(2 * model.layers[-1].kernel)
    np.testing.assert_allclose(extractor.transform(files), 2 * before, rtol=1e-5)
    assert sum(run_sizes) == 24


def test_a_cache_directory_of_ones_own(tiny_model, files, tmp_path, private_cache):
    extractor = CNNFeatureExtractor(tiny_model, cache=tmp_path / "mine")
    extractor.fit_transform(files)
    assert extractor.cache_info().images == 12
    assert list((tmp_path / "mine").glob("*/shard-*.h5"))
    assert not private_cache.exists()


def test_no_cache_leaves_no_trace(tiny_model, files, private_cache, run_sizes):
    extractor = CNNFeatureExtractor(tiny_model, cache=None)
    np.testing.assert_array_equal(extractor.fit_transform(files), extractor.transform(files))
    assert sum(run_sizes) == 24
    assert extractor.cache_info() == (0, 0, 0, 0)
    assert not private_cache.exists()


def test_a_cache_that_cannot_be_written_costs_the_cache_not_the_result(tiny_model, files, tmp_path, pixels, twin):
    (tmp_path / "file").write_text("in the way")
    extractor = CNNFeatureExtractor(tiny_model, cache=tmp_path / "file" / "cache")
    with pytest.warns(StoreWarning, match=r"cannot be written .*cache=None"):
        features = extractor.fit_transform(files)
    np.testing.assert_allclose(features, twin(pixels), rtol=1e-5, atol=1e-6)


def test_a_full_disk_costs_the_cache_not_the_result(extractor, files, monkeypatch, pixels, twin):
    from skcnn.cache import _store

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_store, "write_shard", full)
    with pytest.warns(StoreWarning, match="No space left on device"):
        features = extractor.fit_transform(files)
    np.testing.assert_allclose(features, twin(pixels), rtol=1e-5, atol=1e-6)
    monkeypatch.undo()


def test_what_was_computed_before_an_interruption_is_kept(tiny_model, files, monkeypatch, run_sizes):
    from skcnn.backbones._runners import KerasRunner

    run = KerasRunner.run

    def interrupted(self, batch):
        if len(run_sizes) == 2:
            raise KeyboardInterrupt
        return run(self, batch)

    extractor = CNNFeatureExtractor(tiny_model, batch_size=4).fit(files)
    with monkeypatch.context() as patch:
        patch.setattr(KerasRunner, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            extractor.transform(files)
    extractor.transform(files)
    assert run_sizes == [4, 4, 4]


WARM = """
import sys
import threading
import weakref
import numpy as np
from skcnn import CNNFeatureExtractor
files, file = {files!r}, {file!r}
features = CNNFeatureExtractor(weights=None, input_size=32).fit_transform(files)
np.testing.assert_array_equal(features, np.load(file))
assert not {{"keras", "tensorflow"}} & set(sys.modules), "a network was loaded"
"""


@pytest.mark.slow
def test_a_new_process_loads_no_network(files, tmp_path):
    features = CNNFeatureExtractor(weights=None, input_size=32).fit_transform(files)
    np.save(tmp_path / "features.npy", features)
    code = WARM.format(files=files, file=str(tmp_path / "features.npy"))
    subprocess.run([sys.executable, "-c", code], check=True)


# As an estimator ----------------------------------------------------------------------------------------------------


def test_names_of_features_and_pandas_output(extractor, files):
    extractor.set_output(transform="pandas")
    table = extractor.fit_transform(files)
    assert list(table.columns) == [f"cnnfeatureextractor{index}" for index in range(8)]
    assert table.shape == (12, 8)


def test_maps_have_no_column_names(tiny_model, files):
    extractor = CNNFeatureExtractor(tiny_model, pooling=None).fit(files)
    with pytest.raises(ValueError, match=r"shape \(16, 16, 8\) are no columns to name; pooling='flatten'"):
        extractor.get_feature_names_out()


def test_clones_share_the_model_and_keep_every_parameter(tiny_model):
    extractor = CNNFeatureExtractor(tiny_model, layer="sum", pooling="max", batch_size=7).set_output(transform="pandas")
    other = clone(extractor)
    assert other.get_params() == extractor.get_params()
    assert other.backbone is tiny_model
    assert other._sklearn_output_config == {"transform": "pandas"}
    assert not hasattr(other, "feature_shape_")


def test_pickles_are_small_and_work_in_a_new_process(files, tmp_path):
    extractor = CNNFeatureExtractor(weights=None, input_size=32).fit(files)
    assert len(pickle.dumps(extractor)) < 2000
    joblib.dump(extractor, tmp_path / "extractor.joblib")
    expected = extractor.transform(files)
    np.testing.assert_array_equal(joblib.load(tmp_path / "extractor.joblib").transform(files), expected)


def test_in_a_column_transformer_beside_numbers(extractor, files):
    import pandas as pd

    table = pd.DataFrame({"path": files, "weight": np.arange(12.0)})
    both = ColumnTransformer([("image", extractor, ["path"]), ("rest", "passthrough", ["weight"])])
    features = both.fit_transform(table)
    np.testing.assert_array_equal(features[:, :8], extractor.fit_transform(files))
    np.testing.assert_array_equal(features[:, 8], np.arange(12))


def test_bagging_over_a_column_of_paths(extractor, files):
    column = np.array(files, dtype=object)[:, np.newaxis]
    bagging = BaggingClassifier(Pipeline([("f", extractor), ("c", LogisticRegression())]), 2, random_state=0)
    assert bagging.fit(column, ["a", "b"] * 6).predict(column).shape == (12,)


def test_cross_val_score_from_paths(extractor, files):
    pipe = Pipeline([("features", extractor), ("clf", LogisticRegression())])
    assert cross_val_score(pipe, files, ["a", "b"] * 6, cv=3).shape == (3,)


def test_not_fitted(extractor, files):
    with pytest.raises(NotFittedError):
        extractor.transform(files)


def test_a_flipped_bit_on_disk_costs_one_shard_and_never_reaches_the_features(
    extractor, files, private_cache, run_sizes, settled, new_process
):
    expected = extractor.fit(files).transform(files)
    extractor.transform(files[:1])
    (shard,) = private_cache.rglob("shard-*.h5")
    data = bytearray(shard.read_bytes())
    data[data.index(expected[5].tobytes()) + 2] ^= 1
    shard.write_bytes(data)
    new_process()
    run_sizes.clear()
    with pytest.warns(StoreWarning, match=r"features of shard-.* do not match their checksum; it is set aside"):
        np.testing.assert_array_equal(extractor.transform(files), expected)
    assert sum(run_sizes) == len(files)
    run_sizes.clear()
    np.testing.assert_array_equal(extractor.transform(files), expected)
    assert run_sizes == []


def test_two_processes_that_share_a_cache_which_one_may_not_read(
    extractor, files, private_cache, monkeypatch, settled, new_process
):
    expected = extractor.fit(files).transform(files)
    (shard,) = private_cache.rglob("shard-*.h5")
    new_process()

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("skcnn.cache._shards.read_structure", refuse)
        patch.setattr("skcnn.cache._shards.read_through", refuse)
        with pytest.warns(StoreWarning, match="cannot be read now"):
            np.testing.assert_array_equal(extractor.transform(files), expected)
    assert shard.exists()


# Bad input ----------------------------------------------------------------------------------------------------------


def stored_rows(private_cache):
    import h5py

    count = 0
    for shard in private_cache.rglob("shard-*.h5"):
        with h5py.File(shard) as file:
            count += len(file["keys"])
    return count


@pytest.fixture
def bad_files(files, tmp_path):
    """Eight ways for a file to be no image, between good ones."""
    import struct
    import zlib

    def png_announcing(width, height):
        data = bytearray(Path(files[0]).read_bytes())
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        return bytes(data)

    import cv2

    jpeg = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))[1].tobytes()
    contents = {
        "text.jpg": b"this is no image",
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "empty.jpg": b"",
        "zero.png": png_announcing(0, 16),
        "bomb.png": png_announcing(60_000, 60_000),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder.jpg").mkdir()
    return [str(tmp_path / name) for name in (*contents, "folder.jpg", "missing.jpg")]


REASONS = {
    "text.jpg": "not an image of a known format",
    "truncated.jpg": "cut short or damaged",
    "empty.jpg": "is empty",
    "zero.png": "its header announces no pixels",
    "bomb.png": "60000 x 60000 pixels, more than max_pixels",
    "folder.jpg": "is a directory",
    "missing.jpg": "no such file",
}


def test_the_error_names_every_bad_file_and_why(extractor, files, bad_files, private_cache):
    X = [*files[:2], *bad_files, *files[2:]]
    with pytest.raises(ImageReadError, match="7 of 19 images cannot be read") as caught:
        extractor.fit_transform(X)
    assert sorted(caught.value.failures) == list(range(2, 9))
    for file in bad_files:
        name = os.path.basename(file)
        assert f"{file}: " in str(caught.value)
        line = next(line for line in str(caught.value).splitlines() if name in line)
        assert REASONS[name] in line
    assert stored_rows(private_cache) == 12


def test_nan_rows_on_request(tiny_model, files, bad_files, private_cache):
    X = [*files[:2], *bad_files, *files[2:]]
    extractor = CNNFeatureExtractor(tiny_model, on_error="nan")
    features = extractor.fit_transform(X)
    bad = np.isnan(features).all(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(bad), range(2, 9))
    assert np.isfinite(features[~bad]).all()
    assert [(index, name) for index, name, _ in extractor.errors_] == list(enumerate(bad_files, 2))
    assert stored_rows(private_cache) == 12
    np.testing.assert_array_equal(extractor.transform(X), features)
    extractor.transform(files)
    assert extractor.errors_ == []


def test_each_thread_has_the_errors_of_its_own_transform(tiny_model, files, bad_files):
    extractor = CNNFeatureExtractor(tiny_model, on_error="nan").fit(files)
    all_transformed = threading.Barrier(2, timeout=60)

    def transform(X):
        extractor.transform(X)
        all_transformed.wait()
        return [name for _, name, _ in extractor.errors_]

    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(transform, [bad_files, files])] == [bad_files, []]
        pool.submit(extractor.transform, bad_files[:2]).result()
    assert [name for _, name, _ in extractor.errors_] == bad_files[:2], "a thread without a transform sees the last one"
    assert pickle.loads(pickle.dumps(extractor)).errors_ == extractor.errors_


def test_it_transforms_as_it_was_fitted_whatever_is_set_afterwards(tiny_model, chain, pixels):
    extractor = CNNFeatureExtractor(tiny_model).fit(pixels)
    features = extractor.transform(pixels)
    extractor.set_params(
        backbone=chain, pooling="max", preprocess=None, dtype="float16", precision="bfloat16", input_size=9
    )
    for each in (extractor, pickle.loads(pickle.dumps(extractor)), copy.copy(extractor)):
        np.testing.assert_array_equal(each.transform(pixels), features)
    assert clone(extractor).get_params()["backbone"] is chain
    assert extractor.set_params(input_size=None).fit_transform(pixels).shape != features.shape


def test_nothing_but_bad_files(tiny_model, bad_files, private_cache):
    features = CNNFeatureExtractor(tiny_model, on_error="nan").fit_transform(bad_files)
    assert features.shape == (7, 8)
    assert np.isnan(features).all()
    assert stored_rows(private_cache) == 0


def test_a_resize_that_tolerates_bad_files_makes_nan_rows_behind_it(tiny_model, files, bad_files):
    pipe = Pipeline([("resize", AspectAwareResize(16, on_error="nan")), ("features", CNNFeatureExtractor(tiny_model))])
    features = pipe.fit_transform([files[0], *bad_files])
    np.testing.assert_array_equal(np.isnan(features).all(axis=1), [False] + [True] * 7)


def test_nan_pixels_are_named(extractor, pixels):
    images = pixels.astype(np.float32)
    images[[2, 7]] = np.nan
    with pytest.raises(ImageReadError, match="2 of 12 images cannot be read") as caught:
        extractor.fit_transform(images)
    assert sorted(caught.value.failures) == [2, 7]
    assert "NaN" in str(caught.value)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([], "found 0 images"),
        (np.zeros((0, 8, 8, 3)), "found 0 images"),
        ("cat.jpg", r"single path 'cat\.jpg'.*pass a list: \['cat\.jpg'\]"),
        ([b"x", "a.jpg", 3], r"\[1\] str 'a\.jpg'.*\[2\] int 3|\[0\] bytes.*\[2\] int 3"),
        ([None, "a.jpg"], r"\[0\] NoneType None"),
        (np.zeros((8, 8, 3)), "single image of shape"),
        (np.zeros((5, 7)), "Reshape your data"),
    ],
)
def test_input_that_is_no_images(extractor, X, message):
    with pytest.raises(ValueError, match=message):
        extractor.fit(X)


def test_labels_of_another_length(extractor, files):
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[12, 3\]"):
        extractor.fit(files, [1, 2, 3])


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"backbone": "efficientnet_lite"}, BackboneError, "closest are .*'efficientnet_lite0'"),
        ({"backbone": "VGG61"}, BackboneError, "closest are .*'VGG16'"),
        ({"backbone": "no-such-file.keras"}, BackboneError, "there is no such file"),
        ({"backbone": 3}, BackboneError, r"a name, the path of a \.keras file or a Keras model\. Got int"),
        ({"layer": "top_activatoin"}, BackboneError, "no layer 'top_activatoin'; the closest are 'top_activation'"),
        ({"layer": 1000}, BackboneError, "0 to 142; there is no layer 1000"),
        ({"layer": 1.5}, ValueError, "'layer' parameter must be a name, an index or None. Got 1.5"),
        ({"pooling": "average"}, ValueError, "'pooling' parameter must be one of 'avg', 'max', 'flatten', None"),
        ({"weights": "imagnet"}, BackboneError, "'imagnet' is neither 'imagenet', None"),
        ({"batch_size": 0}, ValueError, "'batch_size' parameter must be an int of at least 1. Got 0"),
        ({"input_size": (0, 3)}, ValueError, r"'input_size' parameter must be \(height, width\)"),
        ({"engine": "tensorrt"}, ValueError, "'engine' parameter must be one of 'auto'"),
        ({"precision": "float8"}, ValueError, "'precision' parameter must be one of 'float32', 'bfloat16'"),
        ({"dtype": "int8"}, ValueError, "'dtype' parameter must be one of 'float32', 'float16'"),
        ({"decode": "slow"}, ValueError, "'decode' parameter must be one of 'fast', 'exact'"),
        ({"preprocess": "caffe"}, ValueError, "'preprocess' parameter must be one of 'auto', None"),
        ({"on_error": "skip"}, ValueError, "'on_error' parameter must be one of 'raise', 'nan'"),
        ({"cache": 3}, ValueError, "'cache' parameter must be True, a directory or None"),
    ],
)
def test_bad_parameters(files, parameters, error, message):
    with pytest.raises(error, match=message):
        CNNFeatureExtractor(**{"weights": None, **parameters}).fit(files)


def test_centred_input_is_refused_unless_it_is_meant(files, pixels):
    settings = {"weights": None, "input_size": 32, "cache": None}
    centred = MeanSubtract().fit_transform(files)
    with pytest.raises(ValueError, match=r"mean was subtracted, but efficientnet_lite0 expects .*preprocess=None"):
        CNNFeatureExtractor(**settings).fit(centred)
    negative = pixels.astype(np.float32)
    negative[[2, 5], 0, 0, 0] = -100
    for on_error in ("raise", "nan"):
        message = r"pixel values from -100 to 2\d\d in image \[2\] <array of shape .* or pass preprocess=None"
        with pytest.raises(PreprocessingError, match=message):
            CNNFeatureExtractor(**settings, on_error=on_error).fit_transform(negative)
    assert CNNFeatureExtractor(**settings, preprocess=None).fit_transform(centred).shape == (12, 1280)


def test_pixels_scaled_to_one_are_noticed(pixels):
    extractor = CNNFeatureExtractor(weights=None, input_size=32, cache=None)
    with pytest.raises(PreprocessingError, match=r"no pixel value above 1, but .* expects RGB pixels in \[0, 255\]"):
        extractor.fit_transform(pixels / 255)
    assert np.isfinite(extractor.set_params(preprocess=None).fit_transform(pixels / 255)).all()


@pytest.mark.parametrize("on_error", ["raise", "nan"])
def test_pixels_of_more_than_8_bits_are_noticed(pixels, on_error):
    extractor = CNNFeatureExtractor(weights=None, input_size=32, cache=None, on_error=on_error)
    with pytest.raises(PreprocessingError, match=r"pixel values from \d+ to \d{4} in image \[0\]"):
        extractor.fit_transform(pixels * 16.0)
    with pytest.raises(
        PreprocessingError, match=r"image \[0\] <array .*whole-number pixels are expected in \[0, 255\]"
    ):
        extractor.fit_transform(pixels.astype(np.int32) - 120)


def test_scaled_pixels_leave_nothing_in_the_store(pixels, private_cache):
    extractor = CNNFeatureExtractor(weights=None, input_size=32)
    for _ in range(2):  # a stored row would answer the second call
        with pytest.raises(PreprocessingError):
            extractor.fit_transform(pixels / 255)
    assert stored_rows(private_cache) == 0


def test_a_network_that_diverged_is_reported_as_such_and_stores_nothing(tiny_model, pixels, private_cache):
    import keras

    diverged = keras.models.clone_model(tiny_model)
    diverged.set_weights([np.full_like(weight, np.nan) for weight in tiny_model.get_weights()])
    for on_error in ("raise", "nan"):
        with pytest.raises(
            BackboneError, match=r"weights of tiny.* are NaN or infinite, .*kernel' first: its training diverged"
        ):
            CNNFeatureExtractor(diverged, on_error=on_error).fit_transform(pixels)
    assert stored_rows(private_cache) == 0


# What must not be mistaken for what is stored ------------------------------------------------------------------------


@dataclass(frozen=True)
class Dim(Step):
    """A step of the user's own."""

    divisor: int

    def __call__(self, image):
        return image // np.uint8(self.divisor)


def test_steps_of_ones_own_are_told_apart_by_their_fields_and_code(extractor, pixels):
    images = as_image_sequence(list(pixels))

    @dataclass(frozen=True)
    class Dim(Step):  # another of the same name
        divisor: int

        def __call__(self, image):
            return image // np.uint8(2 * self.divisor)

    steps = [globals()["Dim"](2), globals()["Dim"](3), Dim(2), Dim(np.int64(3))]
    features = [extractor.fit_transform(images.with_step(step)) for step in steps]
    for one, other in itertools.combinations(features, 2):
        assert (one != other).any()


def test_a_step_without_fields_to_tell_it_apart_is_refused(extractor, pixels):
    class Gain(Step):
        def __init__(self, gain):
            self.gain = gain

    with pytest.raises(TypeError, match=r"Gain must be a frozen dataclass"):
        extractor.fit(as_image_sequence(list(pixels)).with_step(Gain(2)))


@dataclass(frozen=True)
class Spoil(Step):
    def __call__(self, image):
        return image * np.float32(np.nan)


def test_nan_pixels_made_by_a_step_are_not_stored(extractor, pixels, private_cache):
    spoilt = as_image_sequence(list(pixels)).with_step(Spoil())
    with pytest.raises(ImageReadError, match="12 of 12 images cannot be read") as caught:
        extractor.fit_transform(spoilt)
    assert "the steps made NaN or infinite pixels of it" in str(caught.value)
    assert stored_rows(private_cache) == 0


@pytest.mark.slow
def test_a_dark_image_is_no_scaled_image():
    extractor = CNNFeatureExtractor(weights=None, input_size=32, cache=None)
    assert extractor.fit_transform(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 1280)


def test_a_file_overwritten_between_recalling_and_looking_is_noticed(
    extractor, files, settled, monkeypatch, pixels, twin
):
    import cv2

    from skcnn.images import _sources

    extractor.fit_transform(files)
    look = _sources.unchanged_files

    def overwritten_and_read_by_another_thread(paths, states):
        monkeypatch.setattr(_sources, "unchanged_files", look)
        cv2.imwrite(files[0], np.ascontiguousarray(pixels[0, ::-1, :, ::-1]))
        extractor.transform(files[:1])
        return look(paths, states)

    monkeypatch.setattr(_sources, "unchanged_files", overwritten_and_read_by_another_thread)
    np.testing.assert_allclose(extractor.transform(files)[0], twin(pixels[:1, ::-1])[0], rtol=1e-5)


def test_cache_info_is_that_of_the_last_call(extractor, pixels):
    images = as_image_sequence(list(pixels))
    extractor.fit_transform(images)
    extractor.transform(images.with_step(Dim(2)))
    assert extractor.cache_info()[:3] == (0, 12, 12)


@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_batch_company_does_not_change_features_under_any_engine(tiny_model, files, engine):
    settings = {"cache": None, "engine": engine}
    alone = np.concatenate([CNNFeatureExtractor(tiny_model, **settings).fit_transform([file]) for file in files[:3]])
    together = CNNFeatureExtractor(tiny_model, **settings).fit_transform(files)[:3]
    np.testing.assert_allclose(alone, together, rtol=1e-6, atol=1e-6)


# One value, one fingerprint -------------------------------------------------------------------------------------------


def fingerprints(private_cache):
    return {path.parent.name for path in private_cache.rglob("shard-*.h5")}


def test_one_layer_named_in_four_ways_is_computed_once(tiny_model, pixels, private_cache, run_sizes):
    names = [layer.name for layer in tiny_model.layers]
    place = names.index("sum")
    features = [
        CNNFeatureExtractor(tiny_model, layer=layer).fit_transform(pixels)
        for layer in (None, "sum", place, place - len(names))
    ]
    for other in features[1:]:
        np.testing.assert_array_equal(other, features[0])
    assert sum(run_sizes) == len(pixels)
    assert len(fingerprints(private_cache)) == 1


def test_poolings_of_a_vector_are_computed_once(tiny_model, pixels, private_cache, run_sizes):
    for pooling in ("avg", "max", "flatten", None):
        CNNFeatureExtractor(tiny_model, layer="scores", pooling=pooling).fit_transform(pixels)
    assert sum(run_sizes) == len(pixels)


def test_grey_is_made_once(grey_model, files, private_cache, run_sizes):
    CNNFeatureExtractor(grey_model).fit_transform(files)
    explicit = AspectAwareResize((16, 16), channels="grey").fit_transform(files)
    CNNFeatureExtractor(grey_model).fit_transform(explicit)
    assert sum(run_sizes) == len(files)
    assert len(fingerprints(private_cache)) == 1


@pytest.fixture
def grey_model():
    import keras

    inputs = keras.Input((16, 16, 1))
    initializer = keras.initializers.HeNormal(seed=0)
    return keras.Model(inputs, keras.layers.Conv2D(2, 3, kernel_initializer=initializer)(inputs), name="grey")


@dataclass(frozen=True)
class Tint(Step):
    def __call__(self, image):
        return np.repeat(image[..., :1], 3, axis=2)


def test_a_step_that_gives_grey_images_colours_again_feeds_a_grey_network(grey_model, files):
    images = as_image_sequence(files).with_step(ToGrey()).with_step(Tint())
    np.testing.assert_allclose(
        CNNFeatureExtractor(grey_model).fit_transform(images),
        CNNFeatureExtractor(grey_model).fit_transform(files),
        1e-4,
    )


@pytest.mark.slow
def test_where_a_network_is_cut_is_looked_up_in_a_new_process(image_paths, other_python):
    program = """
import sys
import threading
import weakref
from skcnn import CNNFeatureExtractor
extractor = CNNFeatureExtractor(weights=None, layer=-3, input_size=32, engine="keras")
features = extractor.fit_transform(sys.argv[1:])
print("keras" in sys.modules, features.sum())
"""
    first = other_python.run(program, *image_paths).split()
    command = [sys.executable, "-c", program, *image_paths]
    again = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.split()
    assert again == ["False", first[1]]


# Code of the user's own -----------------------------------------------------------------------------------------------

OWN_STEP = """
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from helper import amount
from skcnn.images import Step

@dataclass(frozen=True)
class Dim(Step):
    def __call__(self, image):
        return amount(image)
"""
OWN_RUN = """
import sys
import threading
import weakref
from own_step import Dim
from skcnn.features import RawPixels, extract
from skcnn.images import as_image_sequence
features = extract(as_image_sequence(sys.argv[1:]).with_step(Dim()), RawPixels((32, 32, 3)))
print(features[:].astype(int).sum())
print(features.store.info().misses)
"""


@pytest.mark.slow
def test_an_edited_helper_of_a_step_brings_no_old_rows_back(tmp_path, image_paths):
    def run(divisor, comment=""):
        (tmp_path / "own_step.py").write_text(OWN_STEP)
        (tmp_path / "helper.py").write_text(f"def amount(image):  # {comment}\n    return image // {divisor}\n")
        (tmp_path / "run.py").write_text(OWN_RUN)
        command = [sys.executable, "-B", str(tmp_path / "run.py"), *image_paths]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.split()

    total, misses = run(2)
    assert misses == str(len(image_paths))
    assert run(2, "a remark") == [total, "0"]
    other, misses = run(4)
    assert other != total
    assert misses == str(len(image_paths))


SCRIPT = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from skcnn import CNNFeatureExtractor
from skcnn.images import Step, as_image_sequence

DIVISOR = 2

def amount(image):
    return image // DIVISOR

@dataclass(frozen=True)
class Dim(Step):
    def __call__(self, image):
        return amount(image)

def make_other():
    @dataclass(frozen=True)
    class Dim(Step):
        def __call__(self, image):
            return image // 4
    return Dim()

if __name__ == "__main__":
    for step in (Dim(), make_other()):
        images = as_image_sequence(sys.argv[1:]).with_step(step)
        extractor = CNNFeatureExtractor(weights=None, input_size=32, engine="keras")
        extractor.fit_transform(images)
        labels = np.arange(len(images)) % 2
        cross_val_score(make_pipeline(extractor, LogisticRegression()), images, labels, cv=2, n_jobs=2)
    print(len({shard.parent for shard in Path(os.environ["SKCNN_CACHE_DIR"]).rglob("shard-*.h5")}))
"""


@pytest.mark.slow
def test_workers_find_what_a_script_with_steps_of_its_own_has_stored(tmp_path, image_paths, private_cache):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), *image_paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout.split() == ["2"]
    assert stored_rows(private_cache) == 2 * len(image_paths)


def make_step(lock):
    @dataclass(frozen=True)
    class Locked(Step):
        def __call__(self, image):
            with lock:
                return image // 2

    return Locked()


def test_a_step_that_cannot_be_told_from_another_is_computed_and_not_kept(extractor, pixels, private_cache):
    images = as_image_sequence(list(pixels)).with_step(make_step(threading.Lock()))
    with pytest.warns(StoreWarning, match=r"depends on a lock, whose value cannot be told; .* not kept.*cache=None"):
        features = extractor.fit_transform(images)
    np.testing.assert_array_equal(features, extractor.set_params(cache=None).fit_transform(list(pixels // 2)))
    assert stored_rows(private_cache) == 0
    assert extractor.cache_info() == (0, 0, 0, 0)


def test_without_a_cache_nothing_is_fingerprinted(tiny_model, pixels, monkeypatch):
    def refuse(*args):
        raise AssertionError("a fingerprint was taken")

    monkeypatch.setattr("skcnn.backbones._models.model_digest", refuse)
    monkeypatch.setattr("skcnn.backbones._identity.describe_code", refuse)
    monkeypatch.setattr("skcnn.images._steps.describe_code", refuse)
    images = as_image_sequence(list(pixels)).with_step(make_step(threading.Lock()))
    assert CNNFeatureExtractor(tiny_model, cache=None).fit_transform(images).shape == (12, 8)


def test_a_model_in_memory_is_digested_once_in_a_search(tiny_model, files, monkeypatch):
    from skcnn.backbones import _models

    digested = []
    model_digest = _models.model_digest
    monkeypatch.setattr(_models, "model_digest", lambda model: digested.append(1) or model_digest(model))
    monkeypatch.setattr(_models, "_digests", weakref.WeakKeyDictionary())
    pipeline = Pipeline([("features", CNNFeatureExtractor(tiny_model)), ("classify", LogisticRegression())])
    GridSearchCV(pipeline, {"classify__C": [0.1, 1, 10]}, cv=3).fit(files, np.repeat(["a", "b"], 6))
    assert len(digested) == 1


@pytest.mark.parametrize("kind", ["bytes", "arrays"])
def test_images_in_memory_are_digested_once_in_a_search(tiny_model, files, pixels, monkeypatch, kind):
    from skcnn.cache import _digests

    digested = []
    for name in ("digest_bytes", "digest_array"):
        digest = getattr(_digests, name)
        monkeypatch.setattr(_digests, name, lambda data, digest=digest: digested.append(1) or digest(data))
    monkeypatch.setattr(_digests.known_contents, "_digests", {})
    X = [Path(file).read_bytes() for file in files] if kind == "bytes" else pixels
    pipeline = Pipeline([("features", CNNFeatureExtractor(tiny_model)), ("classify", LogisticRegression())])
    GridSearchCV(pipeline, {"classify__C": [0.1, 1, 10]}, cv=3).fit(X, np.repeat(["a", "b"], 6))
    assert len(digested) == len(files)
