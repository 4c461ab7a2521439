import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from skcnn.classifiers._members import check_same_classes, seeded_clone, shortened
from skcnn.classifiers._naming import naming
from skcnn.exceptions import ImageReadError


def states_of(estimator):
    return {name: value for name, value in estimator.get_params().items() if name.endswith("random_state")}


def test_a_clone_gets_the_random_states_of_its_seed():
    pipeline = make_pipeline(LogisticRegression(random_state=7), LogisticRegression())
    one, same, other = (states_of(seeded_clone(pipeline, seed)) for seed in (0, 0, 1))
    assert one == same
    assert len(one) == 2
    assert len({*one.values(), *other.values()}) == 4
    assert states_of(pipeline)["logisticregression-1__random_state"] == 7


def test_random_states_that_are_set_are_kept_on_request():
    pipeline = make_pipeline(LogisticRegression(random_state=7), LogisticRegression())
    kept = states_of(seeded_clone(pipeline, 0, only_unset=True))
    free = states_of(seeded_clone(pipeline, 0))
    assert kept["logisticregression-1__random_state"] == 7
    assert kept["logisticregression-2__random_state"] == free["logisticregression-2__random_state"]


def test_what_has_no_random_state_is_cloned():
    assert seeded_clone(KNeighborsClassifier(3), 0).n_neighbors == 3
    frozen = FrozenEstimator(KNeighborsClassifier(3))
    assert seeded_clone(frozen, 0).estimator is frozen.estimator


def test_an_error_begins_with_the_name_and_stays_what_it_was():
    with pytest.raises(FileNotFoundError) as caught, naming("member 2"):
        raise FileNotFoundError(2, "No such file", "a.png")
    assert caught.value.filename == "a.png"
    error = ValueError("too small", 3)
    with pytest.raises(ValueError, match="member 2: too small") as caught, naming("member 2"):
        raise error
    assert caught.value is error
    assert error.args == ("member 2: too small", 3)
    with pytest.raises(ImageReadError, match="^an image is missing$"), naming("member 2"):
        raise ImageReadError("an image is missing")
    with pytest.raises(KeyboardInterrupt), naming("member 2"):
        raise KeyboardInterrupt


def fitted(labels):
    return KNeighborsClassifier(1).fit(np.zeros((len(labels), 1)), labels)


def test_members_of_the_same_classes():
    assert check_same_classes(["a", "b"], [fitted(["x", "y"]), fitted(["y", "x"])]).tolist() == ["x", "y"]
    with pytest.raises(ValueError, match=r"a has the classes \('x', 'y'\), and b has \('x', 'z'\); the probabilities"):
        check_same_classes(["a", "b"], [fitted(["x", "y"]), fitted(["x", "z"])])


def test_many_classes_are_shortened():
    assert shortened(np.arange(17)) == "(0, 1, 2, 3, 4, ..., 17 in all)"
