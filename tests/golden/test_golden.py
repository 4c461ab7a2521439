"""Features that users have stored are found again, and estimators that they have pickled predict what they did."""

import importlib.util
import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import InconsistentVersionWarning

from skcnn import FineTunedCNNClassifier

# Tests are no package that a module beside them could be imported from.
SPEC = importlib.util.spec_from_file_location("golden_values", Path(__file__).with_name("golden_values.py"))
golden = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(golden)

STORED = json.loads(golden.FINGERPRINTS.read_text(encoding="utf-8"))
PICKLED = sorted(path.stem for path in golden.GOLDEN.glob("*.pickle"))
REMEDY = "all features that users have stored of this are computed again; see golden_values.py if that is meant"


@pytest.fixture(scope="module")
def now():
    return golden.fingerprints()


@pytest.mark.parametrize("name", STORED)
def test_features_that_were_stored_are_found(now, name):
    assert now[name]["description"] == STORED[name]["description"], REMEDY
    assert now[name]["fingerprint"] == STORED[name]["fingerprint"], REMEDY


def test_every_description_is_in_the_table(now):
    assert now.keys() == STORED.keys(), "run golden_values.py fingerprints"


@pytest.mark.parametrize("name", PICKLED)
def test_estimators_that_were_pickled_predict_what_they_did(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        loaded = pickle.loads((golden.GOLDEN / f"{name}.pickle").read_bytes())
    with np.load(golden.PREDICTIONS) as stored:
        expected = stored[name]
    np.testing.assert_allclose(loaded.predict_proba(golden.images()), expected, atol=1e-4)
    assert loaded.score(golden.images(), golden.LABELS) == np.mean(
        loaded.classes_[expected.argmax(axis=1)] == golden.LABELS
    )
    assert loaded.classes_.tolist() == ["cat", "dog", "emu"]
    loaded.get_params(deep=True)


def test_there_is_a_pickle_of_each_kind():
    assert sorted(golden.estimators()) == PICKLED


def test_a_classifier_that_was_pickled_with_the_parameters_of_before_says_what_to_do():
    state = FineTunedCNNClassifier().__getstate__()
    del state["head"]
    with pytest.raises(ValueError, match="pickled before the parameter 'head' .* fit it again with this version"):
        object.__new__(FineTunedCNNClassifier).__setstate__({**state, "hidden_units": None})
