import copy
import pickle

import pytest
from sklearn.base import BaseEstimator, clone

from skcnn import CNNFeatureExtractor, FineTunedCNNClassifier
from skcnn.features._backbone_parameters import BackboneParameters


class Estimator(BackboneParameters, BaseEstimator):
    """The smallest one: a network, and another parameter."""

    def __init__(self, backbone, other=None):
        self.backbone = backbone
        self.other = other


def test_clones_share_the_model_and_copy_the_rest(tiny_model):
    estimator = Estimator(tiny_model, other=[1])
    twin = clone(estimator)
    assert twin.backbone is estimator.backbone is tiny_model
    assert twin.other == [1]
    assert twin.other is not estimator.other
    assert copy.copy(estimator).backbone is tiny_model


def test_a_pickle_takes_the_model_along(tiny_model):
    twin = pickle.loads(pickle.dumps(Estimator(tiny_model)))
    assert twin.backbone is not tiny_model
    assert [layer.name for layer in twin.backbone.layers] == [layer.name for layer in tiny_model.layers]
    assert pickle.loads(pickle.dumps(Estimator("VGG16"))).backbone == "VGG16"


@pytest.mark.parametrize("estimator", [CNNFeatureExtractor, FineTunedCNNClassifier])
def test_the_same_parameters_name_the_same_network(tiny_model, estimator):
    settings = {"layer": "second", "input_size": 16, "preprocess": None, "pooling": "max"}
    network = estimator(tiny_model, **settings)._frozen_network()
    assert network.description == CNNFeatureExtractor(tiny_model, **settings)._frozen_network().description
    assert network.input_shape == (16, 16, 3)
