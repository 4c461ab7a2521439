"""Rank-5: the share of images whose class is among the five likeliest, wherever there are more than five classes."""

import numpy as np
import pytest

from skcnn import CNNClassifier, FineTunedCNNClassifier
from skcnn.metrics import rank_k_accuracy_score
from skcnn.training import DenseHead, EarlyStopping

LABELS = np.array([*"abcdefgh", *"aaaa"])
NAMES = {"rank5_accuracy", "val_rank5_accuracy"}


@pytest.fixture(params=["probe", "dense head", pytest.param("tail", marks=pytest.mark.slow), "from scratch"])
def make(request, residual):
    kinds = {
        "probe": {"epochs": 0},
        "dense head": {"epochs": 0, "head": DenseHead(8, epochs=5, learning_rate=1e-9)},
        "tail": {"epochs": 5, "unfreeze": "two_a", "shrinkage": None},
    }

    def make(**settings):
        if request.param == "from scratch":
            return CNNClassifier("lenet", **{"input_size": 16, "epochs": 5, "random_state": 0, **settings})
        return FineTunedCNNClassifier(residual, **{"random_state": 0, **kinds[request.param], **settings})

    return make


def test_it_is_recorded_where_there_are_more_than_five_classes(make, pixels):
    own = pixels[:8], LABELS[:8]
    clf = make().fit(pixels, LABELS, validation_data=own)
    assert all(record.keys() >= NAMES for record in clf.history_)
    score = rank_k_accuracy_score(own[1], clf.predict_proba(own[0]), k=5, labels=clf.classes_)
    assert clf.history_[-1]["val_rank5_accuracy"] == pytest.approx(score)
    few = np.resize([*"abcde"], 12)
    clf = make().fit(pixels, few, validation_data=(pixels[:5], few[:5]))
    assert not any(NAMES & record.keys() for record in clf.history_)


def test_one_can_stop_by_it(make, pixels):
    stopping = EarlyStopping("val_rank5_accuracy", patience=1)
    clf = make(early_stopping=stopping, learning_rate=1e-9)
    clf.fit(pixels, LABELS, validation_data=(pixels[:8], LABELS[:8]))
    assert clf.history_[-1]["epoch"] == (1 if clf.epochs == 0 and len(clf.history_) == 1 else 2)
    few = np.resize([*"abcde"], 12)
    message = "goes by 'val_rank5_accuracy', and of 5 classes each is among the five likeliest; go by 'val_accuracy'"
    with pytest.raises(ValueError, match=message):
        clf.fit(pixels, few, validation_data=(pixels[:5], few[:5]))
