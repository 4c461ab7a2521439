import random

import keras
import numpy as np
import pytest

from skcnn.training import build_head

PLAIN = {"units": None, "dropout": 0.0, "batch_norm": False, "l2": 0.0, "seed": (0,)}


def kinds(head):
    return [type(layer).__name__ for layer in head.layers[1:]]


def test_a_softmax_on_the_features():
    head = build_head(5, 3, **PLAIN)
    assert kinds(head) == ["Dense"]
    assert (head.input_shape, head.output_shape) == ((None, 5), (None, 3))
    assert head.get_layer("logits").activation is keras.activations.linear


def test_a_hidden_layer():
    settings = {**PLAIN, "units": 7, "dropout": 0.5}
    assert kinds(build_head(5, 3, **settings)) == ["Dense", "ReLU", "Dropout", "Dense"]
    head = build_head(5, 3, **{**settings, "batch_norm": True})
    assert kinds(head) == ["Dense", "BatchNormalization", "ReLU", "Dropout", "Dense"]
    assert head.get_layer("hidden").units == 7
    assert head.get_layer("dropout").rate == 0.5


def test_l2_is_added_to_the_loss_for_every_kernel_and_no_bias():
    head = build_head(5, 3, **{**PLAIN, "units": 7, "l2": 0.01})
    head(np.zeros((1, 5), np.float32))
    kernels = [weight.numpy() for weight in head.weights if weight.name == "kernel"]
    assert float(sum(head.losses)) == pytest.approx(0.01 * sum((kernel**2).sum() for kernel in kernels), rel=1e-5)


def test_the_seed_decides_weights_and_dropout_and_no_global_state_does():
    settings = {**PLAIN, "units": 7, "dropout": 0.5}
    state = random.getstate()
    features = np.ones((4, 5), np.float32)
    heads = [build_head(5, 3, **{**settings, "seed": (seed, 2)}) for seed in (0, 0, 1)]
    assert random.getstate() == state
    one, same, other = [head(features, training=True).numpy() for head in heads]
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)
    one, same, other = [head.get_layer("hidden").kernel.numpy() for head in heads]
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)
