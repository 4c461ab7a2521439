import contextlib
import threading
import time

import numpy as np
import pytest

from skcnn.backbones import _fork
from skcnn.exceptions import BackboneError
from skcnn.training._lending import MAX_IDLE, idle_models, lend_model, release_models, share_model

pytestmark = pytest.mark.usefixtures("new_process")


def borrow(key):
    """Return the model that is lent for a key."""
    with lend_model(key, object) as model:
        return model


def test_a_model_is_lent_again_for_the_same_key():
    first = borrow(("a", 1))
    assert borrow(("a", 1)) is first
    assert borrow(("a", 2)) is not first
    assert idle_models() == 2


def test_nobody_else_has_it_meanwhile():
    with lend_model("a", object) as one, lend_model("a", object) as other:
        assert one is not other
    assert idle_models() == 2


def test_threads_get_models_of_their_own():
    inside, lent = threading.Barrier(4, timeout=30), []

    def work():
        with lend_model("a", object) as model:
            inside.wait()
            lent.append(model)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(map(id, lent))) == 4
    assert idle_models() == 4


def test_a_model_whose_borrower_fails_is_not_lent_again():
    first = borrow("a")
    with pytest.raises(KeyboardInterrupt), lend_model("a", object) as model:
        assert model is first
        raise KeyboardInterrupt
    assert borrow("a") is not first


def test_the_ones_that_were_not_needed_for_longest_are_let_go():
    models = {key: borrow(key) for key in range(MAX_IDLE)}
    assert borrow(0) is models[0]
    borrow("new")
    assert idle_models() == MAX_IDLE
    assert borrow(0) is models[0]
    assert borrow(1) is not models[1]
    release_models()
    assert idle_models() == 0


def test_as_many_stay_as_are_lent():
    with contextlib.ExitStack() as loans:
        for key in range(2 * MAX_IDLE):
            loans.enter_context(lend_model(key, object))
        with contextlib.ExitStack() as more:
            for key in range(2 * MAX_IDLE):
                more.enter_context(lend_model(key, object))
        assert idle_models() == 2 * MAX_IDLE
    assert idle_models() == MAX_IDLE


class Model:
    """A model whose weights are what it was given."""

    def __init__(self):
        self.given = []


def read(weights, made=Model):
    """Return a loan of a shared model with these weights."""
    return share_model("a", made, weights, lambda model: model.given.append(weights))


def test_readers_of_the_same_weights_share_a_model():
    weights, others = [np.zeros(1)], [np.zeros(1)]
    with read(weights) as one, read(weights) as two, read(others) as three:
        assert one is two is not three
        assert one.given == [weights]
        assert three.given == [others]
    assert idle_models() == 2


def test_a_shared_model_is_borrowed_until_its_last_reader_is_done():
    weights = [np.zeros(1)]
    first, second = read(weights), read(weights)
    model = first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert borrow("a") is not model
    second.__exit__(None, None, None)
    assert borrow("a") is model


def test_weights_are_given_again_after_the_last_reader():
    """They may have been changed in place since, and others may have had the model."""
    weights = [np.zeros(1)]
    for _ in range(2):
        with read(weights) as model:
            pass
    assert model.given == [weights, weights]


def test_readers_wait_until_the_weights_are_given():
    weights, giving, seen = [np.zeros(1)], threading.Event(), []

    def set_weights(model):
        giving.set()
        time.sleep(0.2)
        model.given.append(weights)

    def work():
        with share_model("a", Model, weights, set_weights) as model:
            seen.append(list(model.given))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
        giving.wait(30)
    for thread in threads:
        thread.join(30)
    assert seen == [[weights]] * 4


def test_a_model_that_could_not_be_given_its_weights_is_not_lent_again():
    weights, first = [np.zeros(1)], borrow("a")

    def fail(model):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), share_model("a", Model, weights, fail):
        pass
    with read(weights) as model:
        assert model is not first


def test_a_reader_that_fails_leaves_the_model_as_it_was():
    weights = [np.zeros(1)]
    with read(weights) as model:
        with pytest.raises(KeyboardInterrupt), read(weights):
            raise KeyboardInterrupt
        with read(weights) as other:
            assert other is model
    assert borrow("a") is model


def test_nothing_is_lent_in_a_forked_process(monkeypatch):
    monkeypatch.setattr(_fork, "_started_before_fork", True)
    with pytest.raises(BackboneError, match="this process was forked after TensorFlow had started"):
        borrow("a")
