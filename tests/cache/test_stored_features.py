"""Features on disk, in memory, and both, behave as one array."""

import multiprocessing
import pickle

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score

from skcnn.cache import FeatureCache, _shards
from skcnn.cache._shards import write_shard
from skcnn.cache._stored_features import StoredFeatures
from skcnn.exceptions import StoreError

N_ROWS = 10


@pytest.fixture
def store(tmp_path):
    return FeatureCache.open(tmp_path / "cache").store({"made by": "test"})


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(N_ROWS, 3, 2)).astype(np.float32)


def put(store, rows):
    """Store rows in two shards, out of order; return where they are."""
    digests = np.random.default_rng(1).integers(0, 256, (len(rows), 20), dtype=np.uint8)
    with store.writing():
        for part in (slice(None, None, -2), slice(-2, None, -2)):
            store.put(digests[part], rows[part])
    return store.find(digests)


@pytest.fixture(params=["on disk", "in memory", "both"])
def features(request, store, rows):
    if request.param == "in memory":
        return StoredFeatures(-1 - np.arange(N_ROWS), None, rows.copy(), failures={})
    stored, locations = put(store, rows)
    held = np.empty((0, 3, 2), np.float32)
    if request.param == "both":
        held = rows[[7, 2]]
        locations[[7, 2]] = -1, -2
    return StoredFeatures(locations, stored, held, failures={}, store=store)


def test_it_has_the_attributes_of_an_array(features, rows):
    assert features.shape == rows.shape
    assert features.dtype == np.float32
    assert features.ndim == 3
    assert features.nbytes == rows.nbytes
    assert len(features) == N_ROWS


@pytest.mark.parametrize(
    "key",
    [
        3,
        -1,
        np.int64(4),
        slice(None),
        slice(2, 9, 3),
        slice(None, None, -1),
        [1, 1, 7],
        [],
        np.array([9, 2, 7, 0]),
        np.arange(N_ROWS) % 3 == 0,
        np.zeros(N_ROWS, bool),
        slice(20, 30),
    ],
    ids=str,
)
def test_it_indexes_as_an_array_of_its_rows(features, rows, key):
    read = features[key]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, rows[key], strict=True)
    np.testing.assert_array_equal(features[key, ...], rows[key], strict=True)


@pytest.mark.parametrize("key", [10, -11, [0, 10], "rows", 1.5, np.ones(3, bool), (0, 1), (slice(None), 0)], ids=str)
def test_other_keys_are_refused(features, key):
    with pytest.raises(IndexError):
        features[key]


def test_it_becomes_an_array(features, rows):
    np.testing.assert_array_equal(np.asarray(features), rows)
    assert np.asarray(features, np.float64).dtype == np.float64
    assert np.array(features).flags.writeable
    np.testing.assert_array_equal(np.stack(list(features)), rows)
    with pytest.raises(ValueError, match="always copied"):
        np.array(features, copy=False)


def test_rows_from_the_disk_are_the_readers_own(store, rows):
    stored, locations = put(store, rows)
    features = StoredFeatures(locations, stored, rows[:0], failures={}, store=store)
    features[2:4][...] = 0
    features[5][...] = 0
    np.testing.assert_array_equal(features[:], rows)


@pytest.mark.parametrize("view", [0, 1, 2])
def test_one_view_of_each_image(features, rows, view):
    one = features.view(view)
    assert one.shape == (N_ROWS, 2)
    np.testing.assert_array_equal(one[:], rows[:, view], strict=True)
    np.testing.assert_array_equal(one[[7, 3, 7]], rows[[7, 3, 7], view], strict=True)
    np.testing.assert_array_equal(one[2], rows[2, view], strict=True)
    np.testing.assert_array_equal(one.in_memory()[:], rows[:, view], strict=True)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(one))[:], rows[:, view], strict=True)


@pytest.mark.parametrize("view", [3, -1, 10])
def test_a_view_that_is_not_there(features, view):
    with pytest.raises(IndexError, match=rf"no view {view} in features of shape \(10, 3, 2\)"):
        features.view(view)
    with pytest.raises(IndexError, match="no view 0 in features of shape"):
        features.view(1).view(0)


def test_in_memory(features, rows):
    held = features.in_memory()
    assert held.in_memory() is held
    np.testing.assert_array_equal(held[:], rows)
    assert "0 of 10 in the cache" in repr(held)


def test_it_says_where_its_rows_are(store, rows):
    stored, locations = put(store, rows)
    locations[[4, 6]] = -1
    features = StoredFeatures(locations, stored, np.full((1, 3, 2), np.nan, np.float32), failures={4: "a", 6: "b"})
    assert repr(features) == "StoredFeatures of shape (10, 3, 2), float32: 8 of 10 in the cache, 2 failed"
    assert np.isnan(features[:]).all(axis=(1, 2)).nonzero()[0].tolist() == [4, 6]


# The cache changes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("views", [None, np.array([1, 0, 1, 2, 0, 1, 2, 0, 1, 2])])
def test_rows_that_another_process_put_into_another_shard_are_found_there(store, rows, views):
    stored, locations = put(store, rows)
    features = StoredFeatures(locations, stored, rows[:0], failures={}, store=store, views=views)
    expected = features[:]
    old = list(store.directory.glob("shard-*.h5"))
    write_shard(store.directory, stored.index.digests[locations][::-1], rows[::-1])
    for path in old:
        path.unlink()
    _shards.map_rows.cache_clear()
    np.testing.assert_array_equal(features[:], expected)
    np.testing.assert_array_equal(features[[3, 1]], expected[[3, 1]])


def test_rows_that_were_removed_are_an_error_that_says_so(store, rows):
    stored, locations = put(store, rows)
    features = StoredFeatures(locations, stored, rows[:0], failures={}, store=store)
    for shard in store.directory.glob("shard-*.h5"):
        shard.unlink()
    with pytest.raises(StoreError, match=rf"removed from {store.directory}.*extract again"):
        features[:]
    with pytest.raises(StoreError, match=r"of 10 of 10 images are no longer in .*extract again"):
        pickle.loads(pickle.dumps(features))


def test_what_others_add_changes_nothing(features, store, rows):
    with store.writing():
        store.put(np.full((1, 20), 255, np.uint8), np.zeros((1, 3, 2), np.float32))
    np.testing.assert_array_equal(features[:], rows)


# Other processes ------------------------------------------------------------------------------------------------------


def read(features):
    return features[:], features.failures


@pytest.mark.slow
def test_it_travels_to_another_process_without_its_rows(features, rows):
    features.failures = {3: "gone"}
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        arrived, failures = pool.apply(read, (features,))
    np.testing.assert_array_equal(arrived, rows)
    assert failures == {3: "gone"}


def test_a_pickle_holds_digests_not_rows(store):
    rows = np.zeros((100, 1000), np.float32)
    stored, locations = put(store, rows)
    assert len(pickle.dumps(StoredFeatures(locations, stored, rows[:0], failures={}, store=store))) < 5_000


# scikit-learn ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_scikit_learn_takes_it_as_it_takes_an_array(store, n_jobs):
    X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    y = np.where(X[:, 0] + X[:, 1] > 0, "a", "b")
    stored, locations = put(store, X)
    features = StoredFeatures(locations, stored, X[:0], failures={}, store=store)
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=3, n_jobs=n_jobs)
    expected = search.fit(X, y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(search.fit(features, y).cv_results_["mean_test_score"], expected)
    np.testing.assert_array_equal(
        cross_val_score(LogisticRegression(), features, y), cross_val_score(LogisticRegression(), X, y)
    )
