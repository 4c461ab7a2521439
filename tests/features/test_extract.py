"""The one way from images through a trunk to stored features."""

import pickle

import numpy as np
import pytest

from skcnn import CNNFeatureExtractor
from skcnn.backbones import FrozenNetwork, resolve_backbone
from skcnn.cache import FeatureCache
from skcnn.exceptions import BackboneError, ImageReadError, PreprocessingError, StoreError, StoreWarning
from skcnn.features import RawPixels, StoredFeatures, extract
from skcnn.images import ImageSequence, ResizeCrop, SubtractMean, TenCrop, as_image_sequence


@pytest.fixture
def network(tiny_model):
    return FrozenNetwork(resolve_backbone(tiny_model), "second_activation", pooling=None)


@pytest.fixture
def expected(tiny_model, pixels):
    import keras

    cut = keras.Model(tiny_model.inputs, tiny_model.get_layer("second_activation").output)
    return cut.predict(pixels.astype(np.float32), verbose=0)


@pytest.fixture
def count_decodes(monkeypatch):
    """The list that every decoded image is noted in."""
    decode, decoded = ImageSequence.decode, []

    def counting(self, content):
        decoded.append(content.digest)
        return decode(self, content)

    monkeypatch.setattr(ImageSequence, "decode", counting)
    return decoded


# Networks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("cache", [True, None])
def test_activations_equal_those_of_keras(network, files, expected, cache, in_memory):
    features = extract(files, network, cache, in_memory=in_memory)
    assert isinstance(features, StoredFeatures)
    assert features.shape == (12, 16, 16, 8)
    assert features.dtype == np.float32
    assert features.failures == {}
    np.testing.assert_allclose(features[:], expected, atol=1e-5)
    np.testing.assert_array_equal(features[3:5], features[:][3:5])


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("known", [0, 5, 12])
def test_rows_come_from_the_cache_whoever_computed_them(network, files, run_sizes, new_process, known, in_memory):
    whole = extract(files, network, None)[:]
    run_sizes.clear()
    if known:
        extract(files[::-1][:known], network)
    new_process()
    features = extract(files, network, in_memory=in_memory)
    assert sum(run_sizes) == 12
    # Batches of other sizes differ in the last bit on some processors.
    np.testing.assert_allclose(features[:], whole, rtol=1e-5, atol=1e-6)


def test_transform_is_the_same_and_shares_the_rows(tiny_model, files, run_sizes):
    network = FrozenNetwork(resolve_backbone(tiny_model), "sum")
    features = extract(files, network)
    run_sizes.clear()
    np.testing.assert_array_equal(CNNFeatureExtractor(tiny_model, layer="sum").fit_transform(files), features[:])
    assert run_sizes == []


def test_a_cache_may_be_given_as_one(network, files, tmp_path):
    cache = FeatureCache.open(tmp_path / "cache")
    features = extract(files, network, cache)
    assert features.store.directory.parent == tmp_path / "cache"
    assert features.store.info().images == 12


def test_rows_are_on_disk_and_not_in_memory(network, files):
    assert "12 of 12 in the cache" in repr(extract(files, network))
    assert "12 of 12 in the cache" in repr(extract(files, network))
    assert "0 of 12 in the cache" in repr(extract(files, network, None))
    assert "0 of 12 in the cache" in repr(extract(files, network, in_memory=True))


def test_nothing_is_read_before_rows_are_asked_for(network, files, monkeypatch):
    extract(files, network)
    monkeypatch.setattr("skcnn.cache._shard_snapshot.copy_rows", lambda *args: pytest.fail("rows were copied"))
    assert extract(files, network).shape == (12, 16, 16, 8)


@pytest.mark.parametrize(("setting", "value"), [("dtype", "int8"), ("engine", "fast"), ("batch_size", 0), ("cache", 3)])
def test_settings_are_checked(network, pixels, setting, value):
    with pytest.raises(ValueError, match=f"'{setting}' parameter must be .* Got {value!r}"):
        extract(pixels, network, **{setting: value})


# What goes wrong ------------------------------------------------------------------------------------------------------


def test_unreadable_images_are_named_and_the_others_stored(network, files, tmp_path):
    with pytest.raises(ImageReadError, match=r"1 of 13 images cannot be read:\n  \[12\] .*gone.png: there is no such"):
        extract([*files, str(tmp_path / "gone.png")], network)
    assert extract(files, network).store.info().images == 12


@pytest.mark.parametrize("cache", [True, None])
@pytest.mark.parametrize("in_memory", [False, True])
def test_unreadable_images_become_nan_where_they_are_asked_to(network, files, tmp_path, cache, in_memory):
    images = as_image_sequence([str(tmp_path / "gone.png"), *files]).with_on_error("nan")
    features = extract(images, network, cache, in_memory=in_memory)
    assert list(features.failures) == [0]
    assert features.failures[0].startswith("there is no such file")
    assert np.isnan(features[0]).all()
    assert np.isfinite(features[1:]).all()
    assert np.isfinite(features[[5, 2]]).all()


def test_images_that_are_all_unreadable(network, tmp_path):
    images = as_image_sequence([str(tmp_path / "gone.png")] * 3).with_on_error("nan")
    features = extract(images, network)
    assert features.shape == (3, 16, 16, 8)
    assert np.isnan(features[:]).all()
    assert sorted(features.failures) == [0, 1, 2]


def test_images_without_finite_activations_are_named(network, files, monkeypatch):
    from skcnn.backbones._runners import KerasRunner

    run = KerasRunner.run

    def overflowing(self, batch):
        activations = run(self, batch)
        activations[1] = np.inf
        return activations

    monkeypatch.setattr(KerasRunner, "run", overflowing)
    with pytest.raises(BackboneError, match=r"1 of 12 images have no finite activations:\n  \[1\] "):
        extract(files, network)
    features = extract(as_image_sequence(files).with_on_error("nan"), network, None)
    assert sorted(features.failures) == [1]


def test_images_that_were_centred_before_are_refused(pixels):
    network = FrozenNetwork(resolve_backbone("efficientnet_lite0", None), input_size=(16, 16))
    with pytest.raises(PreprocessingError, match="images whose mean was subtracted, but efficientnet_lite0 expects"):
        extract(as_image_sequence(pixels).with_step(SubtractMean((1.0, 2.0, 3.0))), network)


def fail_to_write(monkeypatch, after):
    from skcnn.cache import FeatureStore

    put, calls = FeatureStore.put, []

    def full(self, digests, features):
        calls.append(len(digests))
        if len(calls) > after:
            raise OSError(28, "No space left on device")
        return put(self, digests, features)

    monkeypatch.setattr("skcnn.cache._writer.SHARD_ROWS", 4)
    monkeypatch.setattr(FeatureStore, "put", full)


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_disk_that_fills_up_costs_the_cache_not_the_result(
    network, files, expected, tmp_path, monkeypatch, after, in_memory
):
    fail_to_write(monkeypatch, after)
    images = as_image_sequence([files[3], str(tmp_path / "gone.png"), *files]).with_on_error("nan")
    with pytest.warns(StoreWarning, match="No space left on device"):
        features = extract(images, network, batch_size=2, in_memory=in_memory)
    assert features.store.info().images == 4 * after
    np.testing.assert_allclose(features[2:], expected, atol=1e-5)
    np.testing.assert_array_equal(features[0], features[5])
    assert np.isnan(features[1]).all()


@pytest.mark.parametrize("in_memory", [False, True])
def test_shards_that_are_removed_while_they_are_read(network, files, expected, settled, monkeypatch, in_memory):
    from skcnn.cache._shard_snapshot import ShardSnapshot

    store = extract(files, network).store
    gather = ShardSnapshot.gather

    def removing(self, *args, **kwargs):
        monkeypatch.setattr(ShardSnapshot, "gather", gather)
        for shard in store.directory.glob("shard-*.h5"):
            shard.unlink()
        raise OSError("the file is gone")

    monkeypatch.setattr(ShardSnapshot, "gather", removing)
    features = extract(files, network, in_memory=in_memory)
    if in_memory:  # noticed in time: the rows are computed again
        np.testing.assert_allclose(features[:], expected, atol=1e-5)
    else:
        with pytest.raises(StoreError, match="features were removed from .*the file is gone; extract again"):
            features[:]
    np.testing.assert_allclose(extract(files, network)[:], expected, atol=1e-5)


# Pixels ---------------------------------------------------------------------------------------------------------------


def test_pixels_are_decoded_once(files, pixels, count_decodes, new_process):
    for _ in range(3):
        features = extract(files, RawPixels((16, 16, 3)))
        np.testing.assert_array_equal(features[:], pixels, strict=True)
        new_process()
    assert len(count_decodes) == 12


def test_pixels_are_resized_without_distortion(image_paths):
    features = extract(image_paths, RawPixels((20, 30, 3)))
    assert features.shape == (12, 20, 30, 3)
    assert features.dtype == np.uint8
    images = as_image_sequence(image_paths).with_step(ResizeCrop(20, 30))
    np.testing.assert_array_equal(features[:], np.asarray(images))


def test_pixels_in_grey(files):
    features = extract(files, RawPixels((16, 16, 1)))
    assert features.shape == (12, 16, 16, 1)
    assert features.store.directory != extract(files, RawPixels((16, 16, 3))).store.directory


def test_grey_arrays_as_colour_pixels(pixels):
    features = extract(pixels[..., :1], RawPixels((16, 16, 3)))
    np.testing.assert_array_equal(features[:], np.repeat(pixels[..., :1], 3, axis=3))


@pytest.mark.parametrize("cache", [True, None])
def test_pixels_that_are_no_bytes_need_another_dtype(pixels, cache):
    images = as_image_sequence(pixels).with_step(SubtractMean((120.5, 120.5, 120.5)))
    with pytest.raises(
        ValueError, match=r"values from -\d+\.?\d* to \d+\.?\d* are no whole numbers in \[0, 255\]; use"
    ):
        extract(images, RawPixels((16, 16, 3)), cache)
    features = extract(images, RawPixels((16, 16, 3)), cache, dtype="float32")
    np.testing.assert_array_equal(features[:], pixels.astype(np.float32) - np.float32(120.5))


def test_unreadable_pixels_are_zero_and_named(files, tmp_path):
    images = as_image_sequence([*files, str(tmp_path / "gone.png")]).with_on_error("nan")
    features = extract(images, RawPixels((16, 16, 3)))
    assert list(features.failures) == [12]
    assert not features[12].any()


# Several views --------------------------------------------------------------------------------------------------------


@pytest.fixture
def crops(image_paths):
    return as_image_sequence(image_paths).with_step(ResizeCrop(24, 24)).with_step(TenCrop(16, 16))


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("cache", [True, None])
@pytest.mark.parametrize("batch_size", [1, 4, 32, 500])
def test_views_are_rows_of_one_row(network, crops, run_sizes, cache, batch_size, in_memory):
    features = extract(crops, network, cache, batch_size=batch_size, in_memory=in_memory)
    assert features.shape == (12, 10, 16, 16, 8)
    assert max(run_sizes) <= batch_size
    assert sum(run_sizes) == 120
    for view in (0, 4, 9):
        alone = np.stack([image[view] for image in crops])
        np.testing.assert_allclose(features[:][:, view], extract(alone, network, None)[:], atol=1e-4)


def test_all_views_of_an_image_take_one_decode_and_any_is_found_later(network, crops, count_decodes, run_sizes):
    third = extract(crops.with_view(3), network)
    assert third.shape == (12, 16, 16, 8)
    assert len(count_decodes) == 12
    assert sum(run_sizes) == 120
    everything = extract(crops, network)
    for view in range(10):
        for in_memory in (False, True):
            one = extract(crops.with_view(view), network, in_memory=in_memory)
            np.testing.assert_array_equal(one[:], everything[:][:, view], strict=True)
    np.testing.assert_array_equal(third[:], everything.view(3)[:])
    assert len(count_decodes) == 12
    assert sum(run_sizes) == 120


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("cache", [True, None])
def test_views_apart_are_rows_of_their_own(network, crops, run_sizes, count_decodes, cache, in_memory):
    apart = crops.with_views_apart()
    features = extract(apart, network, cache, in_memory=in_memory)
    assert features.shape == (120, 16, 16, 8)
    assert sum(run_sizes) == 120
    assert len(count_decodes) == 12
    everything = extract(crops, network, cache)[:].reshape(120, 16, 16, 8)
    np.testing.assert_array_equal(features[:], everything)
    items = np.array([107, 3, 44, 3])
    np.testing.assert_array_equal(features[items], everything[items])
    np.testing.assert_array_equal(features[-1], everything[-1])
    taken = extract(apart[items], network, cache, in_memory=in_memory)
    np.testing.assert_allclose(taken[:], everything[items], atol=1e-4)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(features))[items], everything[items])


def test_unreadable_images_with_views_apart(network, crops, image_paths, tmp_path):
    paths = [*image_paths[:2], str(tmp_path / "gone.png"), image_paths[3]]
    images = ImageSequence(as_image_sequence(paths).sources, crops.steps).with_views_apart()
    with pytest.raises(ImageReadError, match=r"1 of 4 images cannot be read:\n  \[2\] .*gone.png"):
        extract(images, network)
    features = extract(images.with_on_error("nan"), network)
    assert list(features.failures) == list(range(20, 30))
    assert np.isnan(features[20:30]).all()
    assert np.isfinite(features[30:]).all()


def test_an_extractor_of_views(tiny_model, crops, run_sizes):
    extractor = CNNFeatureExtractor(tiny_model).fit(crops)
    assert extractor.feature_shape_ == (10, 8)
    features = extractor.transform(crops)
    assert features.shape == (12, 10, 8)
    chosen = CNNFeatureExtractor(tiny_model).fit(crops.with_view(2))
    assert chosen.feature_shape_ == (8,)
    np.testing.assert_array_equal(chosen.transform(crops.with_view(2)), features[:, 2])
    assert sum(run_sizes) == 120


def test_unreadable_images_with_views(network, crops, image_paths, tmp_path):
    paths = [*image_paths[:2], str(tmp_path / "gone.png")]
    images = ImageSequence(as_image_sequence(paths).sources, crops.steps, on_error="nan")
    features = extract(images, network)
    assert features.shape == (3, 10, 16, 16, 8)
    assert np.isnan(features[2]).all()
    assert np.isnan(extract(images.with_view(4), network)[2]).all()


# Memory ---------------------------------------------------------------------------------------------------------------

MEASURE = """
import re, sys
import pickle

import numpy as np
from pathlib import Path
from skcnn.features import RawPixels, extract

def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

images = [np.frombuffer(n.to_bytes(3, "big"), np.uint8).reshape(1, 1, 3) for n in range(4000)]
extract(images[:8], RawPixels((128, 128, 3)))
before = anonymous()
features = extract(images, RawPixels((128, 128, 3)))
assert features.nbytes > 180 * 2**20
sums = [features[start : start + 100].sum() for start in range(0, 4000, 100)]
print(anonymous() - before)
"""


@pytest.mark.skipif("sys.platform != 'linux'", reason="reads /proc")
@pytest.mark.slow
def test_features_larger_than_what_is_held(private_cache, monkeypatch):
    import subprocess
    import sys

    code = "from skcnn.cache import _writer; _writer.SHARD_BYTES = 8 << 20\n" + MEASURE
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    assert float(result.stdout) < 60  # MiB, of 188 MiB of features
