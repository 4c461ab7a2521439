import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from skcnn.training import fit_probe


def blobs(n_classes, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(n_classes), 20)
    return (rng.normal(size=(len(codes), 6)) + 2 * rng.normal(size=(n_classes, 6))[codes] + 5), codes


@pytest.mark.parametrize("n_classes", [2, 4])
def test_it_is_logistic_regression_on_centred_features(n_classes):
    features, codes = blobs(n_classes)
    probe = fit_probe(features.astype(np.float32), codes, C=0.3)
    centred = features - features.mean(axis=0)
    scale = np.sqrt(centred.var(axis=0).mean())
    reference = LogisticRegression(C=0.3, tol=1e-8, max_iter=10_000).fit(centred / scale, codes)
    assert probe.kernel.shape == (6, n_classes)
    probabilities = softmax(features @ probe.kernel + probe.bias, axis=1)
    np.testing.assert_allclose(probabilities, reference.predict_proba(centred / scale), atol=1e-4)


def test_logits_do_not_depend_on_which_images_are_asked_for():
    features, codes = blobs(3)
    probe = fit_probe(features.astype(np.float32), codes)
    logits = probe.logits(features.astype(np.float32))
    assert logits.dtype == np.float64
    np.testing.assert_allclose(probe.logits(features[7:8].astype(np.float32)), logits[7:8], rtol=1e-12)


def test_c_means_the_same_whatever_the_scale_of_the_features():
    features, codes = blobs(3)
    one, other = fit_probe(features, codes), fit_probe(features * 1000 - 7, codes)
    np.testing.assert_allclose(one.kernel, other.kernel * 1000, rtol=1e-4, atol=1e-6)
    small, large = fit_probe(features, codes, C=1e-3), fit_probe(features, codes, C=1e3)
    assert np.abs(small.kernel).max() < np.abs(one.kernel).max() < np.abs(large.kernel).max()


def test_a_weight_counts_as_so_many_images():
    features, codes = blobs(3)
    weights = np.random.default_rng(1).integers(0, 3, len(codes))
    weighted = fit_probe(features, codes, weights)
    repeated = fit_probe(features.repeat(weights, axis=0), codes.repeat(weights))
    np.testing.assert_allclose(weighted.kernel, repeated.kernel, atol=1e-5)
    np.testing.assert_allclose(weighted.bias, repeated.bias, atol=1e-4)


def test_features_that_are_all_the_same_tell_nothing():
    probe = fit_probe(np.ones((6, 3), np.float32), np.array([0, 0, 0, 0, 1, 1]))
    np.testing.assert_allclose(softmax(np.ones(3) @ probe.kernel + probe.bias), [2 / 3, 1 / 3], atol=1e-3)


def test_the_features_given_are_not_changed():
    features, codes = blobs(2)
    before = features.copy()
    fit_probe(features, codes)
    np.testing.assert_array_equal(features, before)
