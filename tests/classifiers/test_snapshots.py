import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skcnn import AspectAwareResize, CNNEnsembleClassifier, FineTunedCNNClassifier, TenCropClassifier

LABELS = np.array(["cat", "dog", "emu"] * 4)


@pytest.fixture
def longer(tuned):
    return tuned.set_params(epochs=6, learning_rate=0.01)


def test_members_are_the_ends_of_the_cycles_of_one_training(longer, files, run_sizes):
    clf = CNNEnsembleClassifier(longer, 3, method="snapshot", random_state=0).fit(files, LABELS)
    assert sum(run_sizes) == 24
    # The probe has a record, and each epoch.
    assert [len(member.history_) for member in clf.estimators_] == [3, 5, 7]
    rates = [record["learning_rate"] for record in clf.estimators_[-1].history_[1:]]
    np.testing.assert_allclose(rates, [0.01, 0.005] * 3, rtol=1e-5)  # one step an epoch
    assert len({id(record) for member in clf.estimators_ for record in member.history_}) == 7
    of_members = [member.predict_proba(files) for member in clf.estimators_]
    for one, other in ((0, 1), (1, 2)):
        assert np.abs(of_members[one] - of_members[other]).max() > 1e-4
    np.testing.assert_allclose(clf.predict_proba(files), np.mean(of_members, axis=0), atol=1e-7)
    assert clf.soup_ is None


def test_the_first_member_is_what_a_training_of_one_cycle_gives(longer, files):
    clf = CNNEnsembleClassifier(longer, 3, method="snapshot", random_state=0).fit(files, LABELS)
    short = clone(longer).set_params(epochs=2)
    one = CNNEnsembleClassifier(short, 1, method="snapshot", random_state=0).fit(files, LABELS)
    np.testing.assert_array_equal(one.predict_proba(files), clf.estimators_[0].predict_proba(files))


@pytest.mark.slow
def test_weights_of_images_and_members(longer, files):
    weights = np.linspace(0.1, 3, 12)
    ensemble = CNNEnsembleClassifier(longer, 2, method="snapshot", weights="validation", random_state=0)
    plain, weighted = clone(ensemble).fit(files, LABELS), clone(ensemble).fit(files, LABELS, sample_weight=weights)
    np.testing.assert_allclose(plain.weights_.sum(), 1)
    assert np.abs(plain.predict_proba(files) - weighted.predict_proba(files)).max() > 1e-4
    given = CNNEnsembleClassifier(longer, 2, method="snapshot", weights=[0, 2], random_state=0).fit(files, LABELS)
    np.testing.assert_array_equal(given.predict_proba(files), given.estimators_[1].predict_proba(files))


def test_ten_crops_around_it(longer, files):
    ensemble = CNNEnsembleClassifier(longer, 2, method="snapshot", random_state=0)
    clf = TenCropClassifier(ensemble, resize=20, crop_size=16).fit(files, LABELS)
    assert clf.predict_proba(files).shape == (12, 3)


def test_a_member_can_be_exported(longer, files, pixels, tmp_path):
    clf = CNNEnsembleClassifier(longer, 2, method="snapshot", random_state=0).fit(files, LABELS)
    clf.estimators_[0].export(tmp_path / "first.keras")
    exported = keras.models.load_model(tmp_path / "first.keras")
    np.testing.assert_allclose(exported(pixels.astype(np.float32)), clf.estimators_[0].predict_proba(files), atol=1e-5)


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (
            LogisticRegression(),
            TypeError,
            "method='snapshot' is for FineTunedCNNClassifier, and got LogisticRegression",
        ),
        (
            make_pipeline(AspectAwareResize(), FineTunedCNNClassifier()),
            TypeError,
            r"got a Pipeline that ends in FineTunedCNNClassifier; steps before it go around the ensemble: make_pipeline",
        ),
        (
            {"epochs": 3},
            ValueError,
            "each of 4 snapshots takes at least one epoch, and the classifier trains for 3; set",
        ),
        ({"epochs": 0}, ValueError, "needs members that train more than the head; got unfreeze='two_a' and epochs=0"),
        ({"unfreeze": 0}, ValueError, "needs members that train more than the head; got unfreeze=0 and epochs=6"),
        ({"epochs": "ten"}, ValueError, "The 'epochs' parameter must be an int"),
        (
            {"optimizer": keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 5)), "learning_rate": None},
            ValueError,
            "sets the learning rate itself, and there is a schedule; give schedule=.auto., and one number",
        ),
        ({"schedule": "cosine"}, ValueError, "sets the learning rate itself, and there is a schedule"),
        ({"early_stopping": True}, ValueError, "keeps the weights at the end of each cycle; set 'early_stopping' and"),
        ({"shrinkage": 0.5}, ValueError, "weights at the end of each cycle; .* and 'shrinkage' to None"),
        ({"average_weights": True}, ValueError, "keeps the weights at the end of each cycle"),
        ({"checkpoint_dir": "run"}, ValueError, "a checkpoint holds no snapshots; .* needs checkpoint_dir=None"),
    ],
    ids=[
        "regression",
        "pipeline",
        "few epochs",
        "no epochs",
        "no tail",
        "text",
        "optimizer's schedule",
        "schedule",
        "early stopping",
        "shrinkage",
        "average",
        "checkpoint",
    ],
)
def test_what_no_snapshots_can_be_taken_of(longer, files, run_sizes, estimator, error, message):
    estimator = longer.set_params(**estimator) if isinstance(estimator, dict) else estimator
    with pytest.raises(error, match=message):
        CNNEnsembleClassifier(estimator, 4, method="snapshot").fit(files, LABELS)
    assert not run_sizes


def test_a_list_has_no_snapshots(longer, files):
    with pytest.raises(ValueError, match="makes all members in one training; give it one classifier, no list"):
        CNNEnsembleClassifier([("a", longer)], method="snapshot").fit(files, LABELS)
