"""Unfreezing step by step: a warm start with another `unfreeze` goes on with the weights trained so far."""

import keras
import numpy as np
import pytest

from skcnn import Augmentation, FineTunedCNNClassifier
from skcnn.exceptions import CheckpointError
from skcnn.training import DenseHead

LABELS = np.array(["cat", "dog", "emu"] * 4)


@pytest.fixture
def make(residual):
    def make(**settings):
        defaults = {"epochs": 3, "random_state": 0, "unfreeze": 1, "learning_rate": 1e-2, "batch_size": 5}
        defaults |= {"schedule": None, "shrinkage": None, "warm_start": True}
        return FineTunedCNNClassifier(residual, **{**defaults, **settings})

    return make


@pytest.fixture
def by_layer(residual):
    """Return a function from a fitted classifier to the weights of each layer of its network, the frozen ones too."""

    def by_layer(clf, tmp_path):
        model = keras.models.load_model(clf.export(tmp_path / "network.keras", overwrite=True))
        weights = {}
        for layer in model._flatten_layers(include_self=False):
            if layer.weights and not isinstance(layer, keras.Model):
                weights[layer.name] = layer.get_weights()
        return weights

    return by_layer


def same(one, two):
    return all((a == b).all() for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize(
    "first", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param("two_a", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "second", [0, *(pytest.param(each, marks=pytest.mark.slow) for each in ("all", 1, 3, "one_a"))]
)
def test_no_layer_loses_what_it_was_trained_to(make, residual, pixels, by_layer, tmp_path, first, second):
    clf = make(unfreeze=first).fit(pixels, LABELS)
    before, probabilities = by_layer(clf, tmp_path), clf.predict_proba(pixels)
    # At a learning rate of next to nothing the classifier stays what it is, however it is cut.
    clf.set_params(unfreeze=second, learning_rate=1e-12).fit(pixels, LABELS)
    for name, weights in by_layer(clf, tmp_path).items():
        for ours, theirs in zip(weights, before[name], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-7)
    np.testing.assert_allclose(clf.predict_proba(pixels), probabilities, atol=1e-5)
    assert [record["epoch"] for record in clf.history_] == [1, 1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_what_is_trained_is_what_is_unfrozen_now(make, pixels, by_layer, tmp_path):
    clf = make(unfreeze=1).fit(pixels, LABELS)
    states = [by_layer(clf, tmp_path)]
    for unfreeze in (3, 1, "all", 2):
        clf.set_params(unfreeze=unfreeze).fit(pixels, LABELS)
        states.append(by_layer(clf, tmp_path))
        before, after = states[-2:]
        changed = {name for name in after if not same(before[name], after[name])}
        assert changed - {*clf.cut_.trained} == {"logits"}
        assert {*clf.cut_.trained} & after.keys() <= changed


@pytest.mark.slow
def test_the_optimizer_and_the_epochs_go_on_where_nothing_changes(make, pixels):
    steps = make(unfreeze=1).fit(pixels, LABELS).set_params(unfreeze=3).fit(pixels, LABELS)
    steps.set_params(unfreeze=1).fit(pixels, LABELS)
    # Two times three epochs, and six at once.
    twice = steps.fit(pixels, LABELS)
    once = make(unfreeze=1).fit(pixels, LABELS).set_params(unfreeze=3).fit(pixels, LABELS)
    once.set_params(unfreeze=1, epochs=6).fit(pixels, LABELS)
    for ours, theirs in zip(
        twice.head_weights_ + twice.tail_weights_, once.head_weights_ + once.tail_weights_, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_from_a_probe_alone(make, pixels):
    steps = make(unfreeze=0, epochs=0, shrinkage="auto").fit(pixels, LABELS)
    steps.set_params(unfreeze=2, epochs=3).fit(pixels, LABELS)
    whole = make(unfreeze=2, shrinkage="auto").fit(pixels, LABELS)
    for ours, theirs in zip(
        steps.head_weights_ + steps.tail_weights_, whole.head_weights_ + whole.tail_weights_, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_from_a_dense_head_alone(make, pixels):
    """The usual way: the head first, then more and more of the network."""
    head = DenseHead(8, epochs=4)
    steps = make(unfreeze=0, head=head, epochs=0).fit(pixels, LABELS)
    steps.set_params(unfreeze=2, epochs=3).fit(pixels, LABELS)
    assert [(r["phase"], r["epoch"]) for r in steps.history_] == [
        *(("head", n) for n in range(1, 5)),
        *(("fine-tune", n) for n in range(1, 4)),
    ]
    whole = make(unfreeze=2, head=head).fit(pixels, LABELS)
    for ours, theirs in zip(
        steps.head_weights_ + steps.tail_weights_, whole.head_weights_ + whole.tail_weights_, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.slow
def test_with_fresh_views(make, files):
    clf = make(augmentation=Augmentation()).fit(files, LABELS)
    clf.set_params(unfreeze=3).fit(files, LABELS)
    assert len(clf.history_) == 7


@pytest.mark.slow
def test_live_batch_normalisation(make, pixels):
    clf = make(unfreeze=2, batch_norm="live").fit(pixels, LABELS)
    before = clf.predict_proba(pixels)
    clf.set_params(unfreeze="all", learning_rate=1e-12).fit(pixels, LABELS)
    assert len(clf.history_) == 7
    # All statistics are those of these images now, also of layers that were frozen before.
    assert clf.predict_proba(pixels).shape == before.shape


@pytest.mark.slow
def test_a_checkpoint_of_what_was_unfrozen_before(make, pixels, tmp_path):
    """In one process the directory goes along; in another one, `load_checkpoint` comes first."""
    clf = make(unfreeze=3, checkpoint_dir=tmp_path, keep_checkpoints="all").fit(pixels, LABELS)
    clf.set_params(unfreeze=1).fit(pixels, LABELS)
    kept = sorted(path.name for path in tmp_path.glob("*-fine-tune-*"))
    assert kept == [f"checkpoint-fine-tune-{number:04d}.npz" for number in range(1, 7)]
    loaded = make(unfreeze=1).load_checkpoint(tmp_path)
    np.testing.assert_array_equal(loaded.predict_proba(pixels), clf.predict_proba(pixels))
    with pytest.raises(CheckpointError, match="network is another"):
        make(unfreeze=1).load_checkpoint(tmp_path / "checkpoint-fine-tune-0002.npz")
    with pytest.raises(CheckpointError, match="network is another"):
        make(unfreeze=2, checkpoint_dir=tmp_path).fit(pixels, LABELS)
    again = make(unfreeze=3).load_checkpoint(tmp_path / "checkpoint-fine-tune-0002.npz").set_params(unfreeze="all")
    assert len(again.fit(pixels, LABELS).history_) == 6


@pytest.mark.slow
def test_a_fitted_one_is_pickled_with_its_cut(make, pixels, new_process, tmp_path):
    import pickle

    clf = make(unfreeze=3).fit(pixels, LABELS).set_params(unfreeze=1).fit(pixels, LABELS)
    copied = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(copied.predict_proba(pixels), clf.predict_proba(pixels))
    copied.set_params(unfreeze="all").fit(pixels, LABELS)


def test_nothing_left_to_train(make, pixels):
    clf = make(unfreeze=2).fit(pixels, LABELS)
    with pytest.raises(ValueError, match="nothing is left to train; set 'epochs' above 0"):
        clf.set_params(unfreeze=3, epochs=0).fit(pixels, LABELS)
