import pickle
import tracemalloc

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC

from skcnn import CNNEnsembleClassifier, CNNFeatureExtractor, FineTunedCNNClassifier, TenCropClassifier
from skcnn.exceptions import ImageReadError
from skcnn.images import as_image_sequence

LABELS = np.array(["cat", "dog", "emu"] * 4)
WEIGHTS = np.array([1, 5, 0.5] * 3 + [0, 2, 1])
SIZES = {"resize": 20, "crop_size": 16}
NESTED = ["features", "pixels", pytest.param("fine-tuned", marks=pytest.mark.slow)]


class Fixed(ClassifierMixin, BaseEstimator):
    """Gives all images the same probabilities, or fails."""

    def __init__(self, probabilities=(0.5, 0.3, 0.2), fails=None):
        self.probabilities = probabilities
        self.fails = fails

    def fit(self, X, y):
        if self.fails == "fit":
            raise FloatingPointError("the loss became nan")
        self.classes_ = np.unique(y)[: len(self.probabilities)]
        return self

    def predict_proba(self, X):
        if self.fails == "predict":
            raise MemoryError("out of memory")
        return np.tile(np.asarray(self.probabilities, np.float32), (len(X), 1))


@pytest.fixture
def different(regression, tuned):
    """Two classifiers by name."""
    return [("probe", regression), ("tuned", tuned)]


# Members and their average --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_clones_begin_from_different_random_numbers(tuned, files):
    clf = CNNEnsembleClassifier(tuned, 3, random_state=0).fit(files, LABELS)
    states = [member.random_state for member in clf.estimators_]
    assert len(set(states)) == 3
    assert tuned.random_state == 0
    of_members = [
        clone(tuned).set_params(random_state=state).fit(files, LABELS).predict_proba(files) for state in states
    ]
    assert np.abs(of_members[0] - of_members[1]).max() > 1e-6
    probabilities = clf.predict_proba(files)
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities, np.mean(of_members, axis=0), atol=1e-7)
    np.testing.assert_array_equal(clf.classes_, ["cat", "dog", "emu"])
    np.testing.assert_array_equal(clf.predict(files), clf.classes_[probabilities.argmax(axis=1)])
    np.testing.assert_allclose(clf.weights_, 1 / 3)


def test_the_seed_decides(tuned, files):
    one, same, other = (
        CNNEnsembleClassifier(tuned, 2, random_state=seed).fit(files, LABELS).predict_proba(files) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-6


def test_random_states_inside_are_set_too(tuned, files):
    inner = TenCropClassifier(make_pipeline(FunctionTransformer(as_image_sequence), tuned), **SIZES)
    clf = CNNEnsembleClassifier(inner, 2).fit(files, LABELS)
    name = "estimator__finetunedcnnclassifier__random_state"
    first, second = (member.get_params()[name] for member in clf.estimators_)
    assert first != second


def test_named_classifiers_keep_the_random_states_they_have(tuned, files):
    members = [("fixed", tuned), ("free", clone(tuned).set_params(random_state=None))]
    clf = CNNEnsembleClassifier(members, random_state=3).fit(files, LABELS)
    assert clf.estimators_[0].random_state == 0
    again = CNNEnsembleClassifier(members, random_state=3).fit(files, LABELS)
    assert clf.estimators_[1].random_state == again.estimators_[1].random_state
    np.testing.assert_array_equal(clf.predict_proba(files), again.predict_proba(files))


def test_different_classifiers_with_given_weights(different, files):
    clf = CNNEnsembleClassifier(different, weights=[1, 3]).fit(files, LABELS)
    first, second = (clone(each).fit(files, LABELS).predict_proba(files) for _, each in different)
    np.testing.assert_allclose(clf.predict_proba(files), first / 4 + second * 3 / 4, atol=1e-7)


def test_a_member_of_weight_0_is_not_asked(files):
    members = [("good", Fixed()), ("broken", Fixed(fails="predict"))]
    clf = CNNEnsembleClassifier(members, weights=[1, 0]).fit(files, LABELS)
    np.testing.assert_allclose(clf.predict_proba(files), np.tile([0.5, 0.3, 0.2], (12, 1)), atol=1e-7)


def test_members_share_the_stored_activations_of_their_trunk(tuned, files, run_sizes):
    clf = CNNEnsembleClassifier(tuned, 5, random_state=0).fit(files, LABELS)
    # Each image once for the features of the head and once for the cut, as for one member.
    assert sum(run_sizes) == 24
    clf.predict(files)
    assert sum(run_sizes) == 24


@pytest.mark.slow
def test_members_fitted_in_other_processes_are_the_same(tuned, files):
    clf = CNNEnsembleClassifier(tuned, 2, random_state=0).fit(files, LABELS)
    spread = CNNEnsembleClassifier(tuned, 2, random_state=0, n_jobs=2).fit(files, LABELS)
    np.testing.assert_allclose(spread.predict_proba(files), clf.predict_proba(files), atol=1e-5)
    assert [member.random_state for member in spread.estimators_] == [member.random_state for member in clf.estimators_]


def test_memory_does_not_grow_with_the_members(files):
    images = as_image_sequence(files * 2000)
    peaks = []
    for n_members in (2, 12):
        members = [(f"m{number}", Fixed()) for number in range(n_members)]
        clf = CNNEnsembleClassifier(members).fit(files, LABELS)
        tracemalloc.start()
        clf.predict_proba(images)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


# Learned weights ------------------------------------------------------------------------------------------------------


def test_weights_learned_on_images_that_were_held_out(files):
    fitted_on = []

    class Remembering(Fixed):
        def fit(self, X, y):
            fitted_on.append(len(X))
            return super().fit(X, y)

    # The best mixture of these two gives "cat", "dog" and "emu" their shares.
    members = [("a", Remembering((0.6, 0.2, 0.2))), ("b", Remembering((0.1, 0.8, 0.1))), ("c", Remembering())]
    clf = CNNEnsembleClassifier(members, weights="validation", validation_fraction=0.25, random_state=0)
    clf.fit(files, LABELS)
    assert fitted_on == [9, 9, 9]
    np.testing.assert_allclose(clf.validation_scores_, 1 / 3)
    np.testing.assert_allclose(clf.weights_.sum(), 1)
    losses = [
        log_loss(LABELS, np.tile(clf.weights_ @ np.array([each.probabilities for _, each in members]), (12, 1))),
        *(log_loss(LABELS, np.tile(each.probabilities, (12, 1))) for _, each in members),
    ]
    assert losses[0] <= min(losses) + 1e-6
    again = clone(clf).fit(files, LABELS)
    np.testing.assert_array_equal(clf.weights_, again.weights_)


@pytest.mark.slow
def test_learned_weights_count_images_by_theirs(different, files):
    clf = CNNEnsembleClassifier(different, weights="validation", validation_fraction=0.5, random_state=0)
    plain = clone(clf).fit(files, LABELS).weights_
    weighted = clone(clf).fit(files, LABELS, sample_weight=WEIGHTS).weights_
    assert np.abs(plain - weighted).max() > 1e-6


def test_a_useless_member_gets_no_weight(regression, image_paths):
    labels = np.repeat(["apple", "leaf", "sea"], 4)
    clf = CNNEnsembleClassifier([("good", regression), ("bad", Fixed())], weights="validation", random_state=0)
    clf.fit(image_paths, labels)
    np.testing.assert_allclose(clf.weights_, [1, 0], atol=1e-6)
    assert clf.score(image_paths, labels) > 0.8


# Scores of members ----------------------------------------------------------------------------------------------------


def test_scores_of_members_beside_the_ensemble(different, files):
    clf = CNNEnsembleClassifier(different, weights=[1, 3]).fit(files, LABELS)
    labels = np.roll(LABELS, 4)
    scores = clf.member_scores(files, labels)
    assert scores.rows == ["probe", "tuned", "ensemble"]
    expected = [*(np.mean(member.predict(files) == labels) for member in clf.estimators_), clf.score(files, labels)]
    np.testing.assert_allclose(scores["rank-1"], expected)
    np.testing.assert_allclose(scores["weight"], [0.25, 0.75, 1])
    assert str(scores).splitlines()[0].split() == ["weight", "rank-1"]


def test_clones_are_numbered(tuned, files):
    clf = CNNEnsembleClassifier(tuned, 2, random_state=0).fit(files, LABELS)
    assert clf.member_scores(files, LABELS).rows == ["member 1", "member 2", "ensemble"]


# In and around other estimators ---------------------------------------------------------------------------------------


def test_parameters_of_members(tuned, different, files):
    clf = CNNEnsembleClassifier(tuned)
    assert clf.get_params()["estimator__epochs"] == 2
    assert clf.set_params(estimator__epochs=3, n_estimators=2).estimator.epochs == 3
    named = CNNEnsembleClassifier(different)
    assert named.get_params()["probe__logisticregression__C"] == 1
    named.set_params(probe__logisticregression__C=2, tuned=Fixed(), weights=[1, 1])
    assert named.estimator[0][1][-1].C == 2
    assert named.get_params()["tuned__fails"] is None
    copied = clone(named)
    assert copied.get_params()["probe__logisticregression__C"] == 2
    assert copied.estimator[0][1] is not named.estimator[0][1]
    assert list(named.get_params(deep=False)) == sorted(named.get_params(deep=False))


@pytest.mark.slow
def test_searches_over_its_own_parameters_and_those_inside(tuned, different, files, run_sizes):
    for ensemble, grid in (
        (CNNEnsembleClassifier(tuned, 2, random_state=0), {"estimator__epochs": [1, 2], "n_estimators": [1, 2]}),
        (CNNEnsembleClassifier(different), {"probe__logisticregression__C": [0.1, 1], "weights": [None, [1, 2]]}),
    ):
        search = GridSearchCV(ensemble, grid, cv=2, error_score="raise").fit(files, LABELS)
        assert search.best_params_.keys() == grid.keys()
        assert search.predict(files).shape == (12,)
    assert sum(run_sizes) == 24


@pytest.mark.slow
@pytest.mark.parametrize("classifier", NESTED, indirect=True)
def test_it_nests(classifier, files):
    ensemble = CNNEnsembleClassifier([("a", classifier), ("b", classifier)])
    names = [("ensemble", ensemble), ("plain", classifier)]
    for outer in (
        CalibratedClassifierCV(ensemble, cv=2),
        StackingClassifier(names, LogisticRegression(), cv=2),
        make_pipeline(FunctionTransformer(as_image_sequence), ensemble),
        TenCropClassifier(ensemble, **SIZES),
        CNNEnsembleClassifier([("ten", TenCropClassifier(classifier, **SIZES)), ("one", classifier)]),
        CNNEnsembleClassifier([("ensemble", ensemble), ("calibrated", CalibratedClassifierCV(classifier, cv=2))]),
    ):
        probabilities = outer.fit(files, LABELS).predict_proba(files)
        assert probabilities.shape == (12, 3), outer
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
        assert outer.classes_.tolist() == ["cat", "dog", "emu"]
    columns = np.array(files, object)[:, None]
    bag = BaggingClassifier(ensemble, n_estimators=2, random_state=0).fit(columns, LABELS)
    assert bag.predict_proba(columns).shape == (12, 3)
    assert cross_val_predict(ensemble, files, LABELS, cv=2, method="predict_proba").shape == (12, 3)


@pytest.mark.slow
def test_the_default_backbone_end_to_end(image_paths):
    labels = np.repeat(["apple", "leaf", "sea"], 4)
    member = FineTunedCNNClassifier(unfreeze=1, epochs=1)
    clf = TenCropClassifier(CNNEnsembleClassifier(member, 2, random_state=0)).fit(image_paths[::2], labels[::2])
    assert clf.score(image_paths[1::2], labels[1::2]) == 1


@pytest.mark.slow
def test_a_pickle_does_the_same_elsewhere(tuned, different, files):
    for clf in (CNNEnsembleClassifier(tuned, 2), CNNEnsembleClassifier(different, weights="validation")):
        clf.fit(files, LABELS)
        loaded = pickle.loads(pickle.dumps(clf))
        np.testing.assert_array_equal(loaded.predict_proba(files), clf.predict_proba(files))
        assert str(loaded.member_scores(files, LABELS)) == str(clf.member_scores(files, LABELS))


@pytest.mark.slow
def test_weights_reach_the_members(tuned, different, files):
    for ensemble in (CNNEnsembleClassifier(tuned, 2, random_state=0), CNNEnsembleClassifier(different)):
        weighted = clone(ensemble).fit(files, LABELS, sample_weight=WEIGHTS)
        plain = clone(ensemble).fit(files, LABELS)
        for one, other in zip(weighted.estimators_, plain.estimators_, strict=True):
            assert np.abs(one.predict_proba(files) - other.predict_proba(files)).max() > 1e-4


def test_weights_are_routed(residual, tuned, files):
    with config_context(enable_metadata_routing=True):
        step = LogisticRegression().set_fit_request(sample_weight=True)
        asks = make_pipeline(CNNFeatureExtractor(residual), step)
        ignores = clone(tuned).set_fit_request(sample_weight=False)
        ensemble = CNNEnsembleClassifier([("asks", asks), ("ignores", ignores)], random_state=0)
        ensemble.set_score_request(sample_weight=False)
        weighted = clone(ensemble).fit(files, LABELS, sample_weight=WEIGHTS)
        plain = clone(ensemble).fit(files, LABELS)
        gaps = [
            np.abs(one.predict_proba(files) - other.predict_proba(files)).max()
            for one, other in zip(weighted.estimators_, plain.estimators_, strict=True)
        ]
        assert gaps[0] > 1e-3
        assert gaps[1] == 0
        result = cross_validate(ensemble, files, LABELS, params={"sample_weight": WEIGHTS}, cv=2)
        assert np.isfinite(result["test_score"]).all()
        refuses = CNNEnsembleClassifier(tuned.set_fit_request(sample_weight=None), 2)
        with pytest.raises(ValueError, match=r"\[sample_weight\] are passed but are not explicitly set as requested"):
            refuses.fit(files, LABELS, sample_weight=WEIGHTS)


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n_estimators": 0}, ValueError, r"'n_estimators' parameter must be an int of at least 1\. Got 0"),
        ({"estimator": []}, ValueError, "the list of classifiers is empty; an ensemble needs at least one"),
        ({"estimator": [Fixed()]}, TypeError, r"a classifier or a list of \(name, classifier\) pairs\. Got \[Fixed"),
        ({"estimator": [(1, Fixed())]}, TypeError, r"a classifier or a list of \(name, classifier\) pairs\. Got"),
        ({"estimator": [("a", Fixed())] * 2}, ValueError, r"Names provided are not unique: \['a', 'a'\]"),
        ({"estimator": [("weights", Fixed())]}, ValueError, "conflict with constructor arguments"),
        ({"estimator": [("a", Fixed()), ("b", LinearSVC())]}, TypeError, "LinearSVC has no predict_proba; take a"),
        ({"estimator": LinearSVC()}, TypeError, "averages probabilities, and LinearSVC has no predict_proba"),
        ({"estimator": Fixed}, TypeError, r"takes an estimator, not a class: write Fixed\(\)"),
        ({"weights": [1, 2]}, ValueError, r"for each member: 5 of them\. Got 2 weights instead"),
        ({"weights": [1, 1, 1, 1, -1]}, ValueError, r"a number of at least 0 for each member"),
        ({"weights": "best"}, ValueError, "must be None, \"validation\" or a number .* Got 'best' instead"),
        ({"method": "boosting"}, ValueError, "'method' parameter must be one of 'independent'"),
        (
            {"validation_fraction": 1.0},
            ValueError,
            "'validation_fraction' parameter must be a number above 0 and below",
        ),
    ],
    ids=str,
)
def test_parameters_that_cannot_be(files, settings, error, message):
    clf = CNNEnsembleClassifier(**{"estimator": Fixed(), **settings})
    with pytest.raises(error, match=message):
        clf.fit(files, LABELS)
    assert not hasattr(clf, "estimators_")


def test_members_of_different_classes(files):
    two, three = Fixed((0.5, 0.5)), Fixed()
    message = r"^member 'a' has the classes \('cat', 'dog'\), and member 'b' has \('cat', 'dog', 'emu'\); the probabili"
    with pytest.raises(ValueError, match=message):
        CNNEnsembleClassifier([("a", two), ("b", three)]).fit(files, LABELS)
    fitted = [
        FrozenEstimator(Fixed().fit(files, np.roll(LABELS, 1))),
        FrozenEstimator(Fixed().fit(files, list("xyz") * 4)),
    ]
    with pytest.raises(ValueError, match=r"'emu'\), and member 'b' has \('x', 'y', 'z'\)"):
        CNNEnsembleClassifier([("a", fitted[0]), ("b", fitted[1])]).fit(files, LABELS)


def test_labels_that_fitted_members_do_not_know(files):
    fitted = FrozenEstimator(Fixed().fit(files, LABELS))
    ensemble = CNNEnsembleClassifier([("a", fitted), ("b", fitted)], weights="validation")
    with pytest.raises(ValueError, match=r"the members do not know the labels \('owl'\), and y has them"):
        ensemble.fit(files, np.where(LABELS == "emu", "owl", LABELS))


def test_a_member_that_fails_names_itself(files):
    clf = CNNEnsembleClassifier([("good", Fixed()), ("bad", Fixed(fails="fit"))])
    with pytest.raises(FloatingPointError, match="^member 'bad': the loss became nan$"):
        clf.fit(files, LABELS)
    clf.set_params(bad__fails="predict").fit(files, LABELS)
    with pytest.raises(MemoryError, match="^member 'bad': out of memory$"):
        clf.predict(files)
    with pytest.raises(FloatingPointError, match="^member 1: the loss became nan$"):
        CNNEnsembleClassifier(Fixed(fails="fit"), 2).fit(files, LABELS)


def test_members_that_are_all_the_same(regression, files):
    ensemble = CNNEnsembleClassifier(regression, 2)
    with pytest.warns(
        UserWarning, match="all the same: nothing is random in the training of a Pipeline that ends in L"
    ):
        ensemble.fit(files, LABELS)


def test_weights_of_images_for_a_member_that_takes_none(residual, regression, files):
    nearest = make_pipeline(CNNFeatureExtractor(residual), KNeighborsClassifier(2))
    with pytest.raises(TypeError, match="KNeighborsClassifier takes no sample_weight; leave it out"):
        CNNEnsembleClassifier([("a", regression), ("b", nearest)]).fit(files, LABELS, sample_weight=WEIGHTS)


def test_unreadable_images_are_named_as_by_one_member(tuned, files, tmp_path):
    (tmp_path / "note.png").write_text("no image")
    paths = [*files, str(tmp_path / "note.png"), str(tmp_path / "gone.png")]
    message = r"^2 of 14 images cannot be read:\n  \[12\].*note.png.*\n  \[13\].*gone.p"
    clf = CNNEnsembleClassifier(tuned, 2, random_state=0)
    with pytest.raises(ImageReadError, match=message):
        clf.fit(paths, np.resize(LABELS, 14))
    with pytest.raises(ImageReadError, match=message):
        clf.fit(files, LABELS).predict(paths)


@pytest.mark.parametrize(
    "labels", [LABELS[:5], None, ["cat"] * 12, [None, *LABELS[1:]]], ids=["few", "none", "one", "gap"]
)
def test_labels_that_cannot_be(tuned, files, labels):
    with pytest.raises(ValueError, match=r"inconsistent numbers|requires y to be passed|the label 'cat'|contains NaN"):
        CNNEnsembleClassifier(tuned, 2).fit(files, labels)


def test_too_few_images_to_hold_out_some(tuned, files):
    ensemble = CNNEnsembleClassifier(tuned, 2, weights="validation")
    with pytest.raises(ValueError, match=r"2 of 3 classes have one image; to hold out some, each class needs two"):
        ensemble.fit(files[:4], ["cat", "cat", "dog", "emu"])


def test_nothing_is_predicted_unfitted(tuned, files):
    for method in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(CNNEnsembleClassifier(tuned), method)(files)
