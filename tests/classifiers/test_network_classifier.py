import numpy as np
import pytest
from scipy.special import softmax
from sklearn.exceptions import NotFittedError

from skcnn.classifiers._network_classifier import NetworkClassifier
from skcnn.images import TenCrop, as_image_sequence


class SameLogits:
    """A network that gives the same logits to every image."""

    def logits(self, weights, feed, n_classes):
        return np.tile([1000.0, 0.0, 1001.0], (len(feed.images), 1))


class Fixed(NetworkClassifier):
    augmentation = augmented_views = cache = verbose = None
    batch_size, engine, decode = 32, "auto", "fast"

    def fit(self, X, y):
        self.classes_, self._weights = np.unique(y), None
        return self

    def _as_fitted(self):
        return self

    def _fitted_network(self):
        return SameLogits()


def test_probabilities_and_labels_from_logits(pixels):
    clf = Fixed().fit(pixels, ["a", "b", "c"] * 4)
    np.testing.assert_allclose(clf.predict_proba(pixels), np.tile(softmax([0, -1000, 1]), (12, 1)))
    assert clf.predict(pixels).tolist() == ["c"] * 12


def test_not_fitted(pixels):
    for method in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(Fixed(), method)(pixels)


def test_of_several_views_one_has_to_be_chosen(pixels):
    clf = Fixed().fit(pixels, ["a", "b", "c"] * 4)
    crops = as_image_sequence(pixels).with_step(TenCrop(12, 12))
    with pytest.raises(ValueError, match=r"makes 10 views of each image; choose the one to classify: images.with_view"):
        clf.predict(crops)
    assert clf.predict(crops.with_view(3)).shape == (12,)
