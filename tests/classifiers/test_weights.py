import numpy as np
import pytest
from scipy.optimize import nnls

from skcnn.classifiers._weights import check_weights, fit_weights


@pytest.fixture
def likelihoods():
    """What three members give to the right class: the second is good where the first is bad, the third is useless."""
    rng = np.random.default_rng(0)
    good, bad = rng.uniform(0.7, 1, (2, 200)), rng.uniform(0, 0.4, (2, 200))
    first = np.where(np.arange(200) % 2, good[0], bad[0])
    second = np.where(np.arange(200) % 3, bad[1], good[1])
    return np.stack([first, second, np.full(200, 0.01)], axis=1)


def log_loss_of(likelihoods, weights, sample_weight=None):
    return -np.average(np.log(likelihoods @ weights), weights=sample_weight)


@pytest.mark.parametrize("weighted", [False, True])
def test_no_other_weights_have_a_lower_log_loss(likelihoods, weighted):
    sample_weight = np.linspace(0, 2, 200) if weighted else None
    found = fit_weights(likelihoods, sample_weight)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(), 1)
    lowest = log_loss_of(likelihoods, found, sample_weight)
    steps = np.linspace(0, 1, 101)
    grid = [(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1]
    assert lowest <= min(log_loss_of(likelihoods, np.array(each), sample_weight) for each in grid) + 1e-6
    assert found[2] < 1e-6


def test_least_squares_repeated_with_new_weights_of_images_end_there_too(likelihoods):
    weights = np.full(3, 1 / 3)
    for _ in range(200):
        # Newton's step for the log loss is a least-squares problem: the ratios to the current mixture, towards 2.
        ratios = likelihoods / (likelihoods @ weights)[:, None]
        penalty = 1e3 * np.ones((1, 3))
        weights = nnls(np.vstack([ratios, penalty]), np.append(np.full(200, 2.0), 1e3))[0]
        weights /= weights.sum()
    np.testing.assert_allclose(fit_weights(likelihoods), weights, atol=1e-3)


def test_a_class_that_all_members_rule_out():
    found = fit_weights(np.array([[0.0, 0.0], [0.2, 0.9]]))
    np.testing.assert_allclose(found, [0, 1], atol=1e-6)


def test_given_weights_are_scaled():
    np.testing.assert_allclose(check_weights(None, 4), 0.25)
    np.testing.assert_allclose(check_weights([2, 0, 6], 3), [0.25, 0, 0.75])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], r"a number of at least 0 for each member: 3 of them\. Got 2 weights instead"),
        ([[1, 2, 3]], r"for each member: 3 of them\. Got \[\[1, 2, 3\]\] instead"),
        (1.0, r"for each member: 3 of them\. Got 1\.0 instead"),
        ([1, -1, 2], r"at least 0 for each member\. Got \[1, -1, 2\] instead"),
        ([1, np.nan, 2], r"at least 0 for each member\. Got \[1, nan, 2\] instead"),
        ([0, 0, 0], r"not all of them 0\. Got \[0, 0, 0\] instead"),
        ("valid", r"must be None, \"validation\" or a number .* Got 'valid' instead"),
        (["a", "b", "c"], r"must be None, \"validation\" or a number .* instead"),
    ],
    ids=["few", "table", "number", "negative", "nan", "zero", "text", "texts"],
)
def test_weights_that_cannot_be(weights, message):
    with pytest.raises(ValueError, match=message):
        check_weights(weights, 3)
