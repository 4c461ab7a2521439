"""Classifiers that read images in different ways, to be wrapped by others."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skcnn import AspectAwareResize, CNNFeatureExtractor, FineTunedCNNClassifier


@pytest.fixture
def regression(residual):
    """Features of a tiny network, and logistic regression."""
    return make_pipeline(CNNFeatureExtractor(residual), LogisticRegression())


@pytest.fixture
def tuned(residual):
    return FineTunedCNNClassifier(residual, epochs=2, random_state=0, unfreeze="two_a")


@pytest.fixture
def on_pixels():
    """Logistic regression on the pixels themselves."""
    # A lambda, as worker processes cannot import a test.
    flatten = FunctionTransformer(lambda images: np.asarray(images, np.float32).reshape(len(images), -1))
    return make_pipeline(AspectAwareResize(16), flatten, LogisticRegression())


@pytest.fixture(params=["features", "fine-tuned", "pixels"])
def classifier(request, regression, tuned, on_pixels):
    return {"features": regression, "fine-tuned": tuned, "pixels": on_pixels}[request.param]


@pytest.fixture
def no_pictures(monkeypatch):
    """Draw nothing after each epoch, which would take longer than all the rest."""
    monkeypatch.setattr("skcnn.inspection._training_monitor.is_installed", lambda name: False)
