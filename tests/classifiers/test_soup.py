import copy
import pickle

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from skcnn import CNNEnsembleClassifier, FineTunedCNNClassifier, TenCropClassifier
from skcnn.classifiers._soup import average_networks, average_weights, greedy_soup
from skcnn.training import DenseHead, LinearHead

LABELS = np.array(["cat", "dog", "emu"] * 4)


@pytest.fixture
def soup(tuned):
    member = tuned.set_params(learning_rate=3e-3)
    return CNNEnsembleClassifier(member, 3, method="soup", validation_fraction=0.25, random_state=0)


def spoiled(member, seed=0):
    """A copy of a classifier whose head is noise."""
    random = np.random.default_rng(seed)
    head = [random.normal(size=each.shape, scale=1e4).astype(np.float32) for each in member.head_weights_]
    return member._with_weights(member._weights._replace(head=head), [])


def test_one_network_with_the_mean_of_the_weights(soup, files):
    clf = soup.fit(files, LABELS)
    kept = np.flatnonzero(clf.weights_)
    np.testing.assert_allclose(clf.weights_[kept], 1 / len(kept))
    expected = average_networks([clf.estimators_[index] for index in kept])
    np.testing.assert_array_equal(clf.soup_.predict_proba(files), expected.predict_proba(files))
    np.testing.assert_array_equal(clf.predict_proba(files), clf.soup_.predict_proba(files))
    assert clf.soup_.history_ == []
    assert clf.validation_scores_.shape == (3,)
    # The mean of all three, whichever were kept.
    averaged = average_networks(clf.estimators_)
    for name in ("head_weights_", "tail_weights_"):
        arrays = [getattr(member, name) for member in clf.estimators_]
        for mean, *of_members in zip(getattr(averaged, name), *arrays, strict=True):
            assert mean.dtype == np.float32
            np.testing.assert_allclose(mean, np.mean(of_members, axis=0), rtol=1e-6)
    assert np.abs(averaged.predict_proba(files) - clf.estimators_[0].predict_proba(files)).max() > 1e-4


@pytest.mark.slow
def test_members_are_those_of_an_ensemble_on_the_same_part_of_the_images(soup, files, run_sizes):
    clf = soup.fit(files, LABELS)
    # Nine for the features of the head and for the cut, and the three held out for the cut.
    assert sum(run_sizes) == 21
    independent = clone(soup).set_params(method="independent", weights="validation").fit(files, LABELS)
    for one, other in zip(clf.estimators_, independent.estimators_, strict=True):
        np.testing.assert_array_equal(one.predict_proba(files), other.predict_proba(files))


@pytest.mark.slow
def test_a_soup_of_live_batch_normalisation_has_the_statistics_of_its_own_weights(soup, pixels):
    soup.estimator.set_params(unfreeze="all", batch_norm="live", learning_rate=1e-2, shrinkage=None)
    clf = soup.fit(pixels, LABELS)
    averaged = average_networks(clf.estimators_)
    settled = averaged._settled(pixels)
    moved = [
        np.abs(one - other).max() for one, other in zip(averaged.tail_weights_, settled.tail_weights_, strict=True)
    ]
    assert max(moved) > 1e-4
    again = settled._settled(pixels)
    for one, other in zip(settled.tail_weights_, again.tail_weights_, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    kept = [clf.estimators_[index] for index in np.flatnonzero(clf.weights_)]
    pairs = zip(clf.soup_.tail_weights_, average_networks(kept).tail_weights_, strict=True)
    assert any(not np.array_equal(one, other) for one, other in pairs)
    # Frozen statistics stay as they are.
    frozen = clone(soup.estimator).set_params(batch_norm="frozen").fit(pixels, LABELS)
    for one, other in zip(frozen.tail_weights_, frozen._settled(pixels).tail_weights_, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_mean_of_equal_weights_is_exact_and_seeds_are_kept():
    arrays = [np.float32([0.1, 0.7]), np.uint32([3, 4])]
    mean = average_weights([arrays] * 3)
    assert [each.dtype for each in mean] == [np.float32, np.uint32]
    for one, other in zip(mean, arrays, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_best_comes_first_and_what_harms_is_left_out(tuned, image_paths):
    labels = np.repeat(["apple", "leaf", "sea"], 4)
    good = tuned.set_params(epochs=8, learning_rate=3e-3).fit(image_paths, labels)
    members = [spoiled(good), good, copy.copy(good), spoiled(good, 1)]
    averaged, kept, scores = greedy_soup(members, image_paths, image_paths, labels)
    assert kept.tolist() == [False, True, True, False]
    assert scores.tolist() == [member.score(image_paths, labels) for member in members]
    assert averaged.score(image_paths, labels) >= scores.max()
    # Weights that leave only some images make another one the best.
    predicted = members[0].predict(image_paths)
    weights = (predicted == labels).astype(float)
    assert 0 < weights.sum() < 12
    _, kept, _ = greedy_soup([members[0], spoiled(good, 1)], image_paths, image_paths, labels, weights)
    assert kept[0]


def test_of_equal_accuracy_the_lower_log_loss_counts(tuned, image_paths):
    labels = np.repeat(["apple", "leaf", "sea"], 4)
    good = tuned.set_params(epochs=8, learning_rate=3e-3).fit(image_paths, labels)
    timid = good._with_weights(good._weights._replace(head=[each / 1000 for each in good.head_weights_]), [])
    np.testing.assert_array_equal(timid.predict(image_paths), good.predict(image_paths))
    averaged, kept, _ = greedy_soup([timid, good, good], image_paths, image_paths, labels)
    assert kept.tolist() == [False, True, True]
    np.testing.assert_array_equal(averaged.predict_proba(image_paths), good.predict_proba(image_paths))


@pytest.mark.slow
def test_different_settings_of_one_network(soup, tuned, files):
    members = [
        ("slow", tuned),
        ("fast", clone(tuned).set_params(learning_rate=0.01, head=LinearHead(dropout=0.5), epochs=3)),
    ]
    clf = CNNEnsembleClassifier(members, method="soup", random_state=0).fit(files, LABELS)
    scores = clf.member_scores(files, LABELS)
    assert scores.rows == ["slow", "fast", "ensemble"]
    assert scores.row("ensemble")["rank-1"] == clf.soup_.score(files, LABELS)


@pytest.mark.slow
def test_the_soup_is_exported_and_pickled(soup, files, pixels, tmp_path):
    clf = soup.fit(files, LABELS)
    clf.soup_.export(tmp_path / "soup.keras")
    exported = keras.models.load_model(tmp_path / "soup.keras")
    np.testing.assert_allclose(exported(pixels.astype(np.float32)), clf.predict_proba(files), atol=1e-5)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(clf)).predict_proba(files), clf.predict_proba(files))


@pytest.mark.slow
def test_another_method_afterwards_forgets_the_soup(soup, files):
    clf = soup.fit(files, LABELS).set_params(method="independent").fit(files, LABELS)
    assert clf.soup_ is None
    np.testing.assert_allclose(clf.weights_, 1 / 3)


def test_ten_crops_around_it(soup, files):
    clf = TenCropClassifier(soup, resize=20, crop_size=16).fit(files, LABELS)
    assert clf.predict_proba(files).shape == (12, 3)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (
            {"unfreeze": 1},
            "share a trunk, and member 'b' differs from member 'a' in unfreeze; use method='independent'",
        ),
        ({"pooling": "max"}, "and member 'b' differs from member 'a' in pooling;"),
        ({"layer": "one_add", "unfreeze": "one_b"}, "differs from member 'a' in layer, unfreeze;"),
        (
            {"head": DenseHead(4)},
            "begin with the same weights, and those of member 'b' begin at random; leave head='pr",
        ),
        ({"unfreeze": 0}, "method='soup' needs members that train more than the head; got unfreeze=0 and epochs=2"),
        ({"epochs": 0}, "method='soup' needs members that train more than the head"),
    ],
    ids=str,
)
def test_networks_that_do_not_share_a_trunk(tuned, files, run_sizes, second, message):
    members = [("a", tuned), ("b", clone(tuned).set_params(**second))]
    with pytest.raises(ValueError, match=message):
        CNNEnsembleClassifier(members, method="soup").fit(files, LABELS)
    assert not run_sizes


def test_a_head_that_begins_at_random(soup, files):
    with pytest.raises(
        ValueError, match="begin with the same weights, and those of every member begin at random; leave"
    ):
        soup.set_params(estimator__head=DenseHead(4)).fit(files, LABELS)


def test_networks_of_other_weights(tuned, chain, files):
    other = FineTunedCNNClassifier(chain, epochs=2, unfreeze=1)
    with pytest.raises(
        ValueError, match="member 'b' differs from member 'a' in backbone, .*; use method='independent'"
    ):
        CNNEnsembleClassifier([("a", tuned), ("b", other)], method="soup").fit(files, LABELS)


def test_other_classifiers_are_no_ingredients(tuned, files):
    with pytest.raises(TypeError, match="method='soup' is for FineTunedCNNClassifier, and got LogisticRegression$"):
        CNNEnsembleClassifier([("a", tuned), ("b", LogisticRegression())], method="soup").fit(files, LABELS)


def test_a_soup_has_no_weights(soup, files):
    with pytest.raises(ValueError, match="averages the networks themselves; leave the 'weights' parameter None"):
        soup.set_params(weights=[1, 1, 1]).fit(files, LABELS)


def test_images_held_out_that_do_not_count(soup, files):
    weights = np.zeros(12)
    weights[:6] = 1  # two images of each class
    fitted = soup.set_params(random_state=0).fit(files, LABELS, sample_weight=weights)
    assert np.isfinite(fitted.validation_scores_).all()
    weights[:3] = 0
    with pytest.raises(ValueError, match="3 of 3 classes have one image"):
        soup.fit(files, LABELS, sample_weight=weights)
