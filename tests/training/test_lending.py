import threading

import pytest

from skcnn.backbones import _fork
from skcnn.exceptions import BackboneError
from skcnn.training._lending import MAX_IDLE, idle_models, lend_model, release_models


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
    assert idle_models() == 1


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
    assert idle_models() == 1


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


def test_nothing_is_lent_in_a_forked_process(monkeypatch):
    monkeypatch.setattr(_fork, "_started_before_fork", True)
    with pytest.raises(BackboneError, match="this process was forked after TensorFlow had started"):
        borrow("a")
