"""Every search, curve and meta-estimator of scikit-learn gives numbers for images, fed as the README says.

Most run in `make test-all` only: they change with scikit-learn, not with skcnn.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    KFold,
    LeaveOneOut,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    learning_curve,
    permutation_test_score,
    validation_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.semi_supervised import SelfTrainingClassifier

from skcnn import CNNClassifier, CNNFeatureExtractor, FineTunedCNNClassifier
from skcnn.images import as_image_sequence

LABELS = np.repeat(["apple", "leaf", "sea"], 4)
SHUFFLED = np.random.default_rng(0).permutation(12)


@pytest.fixture
def paths(image_paths):
    return np.array(image_paths)[SHUFFLED]


@pytest.fixture
def labels():
    return LABELS[SHUFFLED]


@pytest.fixture(params=["pipeline", "fine-tuned", pytest.param("from scratch", marks=pytest.mark.slow)])
def model(request, tiny_model):
    if request.param == "from scratch":
        return CNNClassifier("convnet", input_size=16, epochs=2, random_state=0)
    if request.param == "fine-tuned":
        return FineTunedCNNClassifier(tiny_model, unfreeze=1, epochs=1, random_state=0)
    return Pipeline([("features", CNNFeatureExtractor(tiny_model)), ("head", LogisticRegression(solver="newton-cg"))])


@pytest.fixture
def grid(model):
    if isinstance(model, CNNClassifier):
        return {"architecture": ["convnet", "lenet"]}
    return {"head__C": [0.1, 1.0]} if isinstance(model, Pipeline) else {"unfreeze": [0, 1]}


SEARCHES = {
    "grid": lambda model, grid: GridSearchCV(model, grid, cv=2),
    "random": lambda model, grid: RandomizedSearchCV(model, grid, n_iter=2, cv=2),
    "halving grid": lambda model, grid: HalvingGridSearchCV(model, grid, cv=2, min_resources=6),
    "halving random": lambda model, grid: HalvingRandomSearchCV(model, grid, cv=2, min_resources=6, random_state=0),
}


@pytest.mark.parametrize("kind", ["grid", *(pytest.param(kind, marks=pytest.mark.slow) for kind in [*SEARCHES][1:])])
def test_a_search(kind, model, grid, paths, labels):
    search = SEARCHES[kind](model, grid).fit(paths, labels)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict_proba(paths).shape == (12, 3)


CURVES = {
    "scores": lambda model, grid, X, y: cross_val_score(model, X, y, cv=2),
    "groups": lambda model, grid, X, y: cross_val_score(model, X, y, cv=GroupKFold(2), groups=np.arange(12) % 4),
    "predictions": lambda model, grid, X, y: cross_val_predict(model, X, y, cv=2, method="predict_proba"),
    "learning": lambda model, grid, X, y: learning_curve(model, X, y, cv=2, train_sizes=[0.9, 1.0])[2],
    "validation": lambda model, grid, X, y: validation_curve(
        model, X, y, param_name=next(iter(grid)), param_range=next(iter(grid.values())), cv=2
    )[1],
    "permutation": lambda model, grid, X, y: permutation_test_score(model, X, y, cv=2, n_permutations=2)[1],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", CURVES)
def test_a_curve(kind, model, grid, paths, labels):
    assert np.isfinite(CURVES[kind](model, grid, paths, labels)).all()


@pytest.mark.slow
def test_one_image_left_out_at_a_time(tiny_model, paths, labels):
    model = make_pipeline(CNNFeatureExtractor(tiny_model), LogisticRegression(solver="newton-cg"))
    assert np.isfinite(cross_val_score(model, paths, labels, cv=LeaveOneOut())).all()


ON_PATHS = {
    "voting": lambda model: VotingClassifier([("a", model), ("b", model)], voting="soft"),
    "stacking": lambda model: StackingClassifier([("a", model), ("b", model)], cv=2),
    "calibrated": lambda model: CalibratedClassifierCV(model, cv=2),
    "one against the rest": lambda model: OneVsRestClassifier(model),
    "codes": lambda model: OutputCodeClassifier(model, code_size=2, random_state=0),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ON_PATHS)
@pytest.mark.parametrize("form", ["array", "list"])
def test_a_meta_estimator_of_paths(kind, form, model, paths, labels):
    fitted = ON_PATHS[kind](model).fit(paths if form == "array" else list(paths), labels)
    assert set(fitted.predict(paths)) <= set(LABELS)
    if hasattr(fitted, "predict_proba"):
        assert np.isfinite(fitted.predict_proba(paths)).all()


@pytest.mark.slow
def test_other_targets(model, paths, labels):
    assert MultiOutputClassifier(model).fit(paths, np.c_[labels, labels]).predict(paths).shape == (12, 2)
    threshold = TunedThresholdClassifierCV(model, cv=2).fit(paths, labels == "sea")
    assert threshold.predict(paths).dtype == bool
    frozen = FrozenEstimator(model.fit(paths, labels))
    assert np.isfinite(CalibratedClassifierCV(frozen, cv=2).fit(paths, labels).predict_proba(paths)).all()


ON_ROWS = {
    "bagging": lambda model: BaggingClassifier(model, n_estimators=2, random_state=0),
    "one against one": lambda model: OneVsOneClassifier(model),
    "self-training": lambda model: SelfTrainingClassifier(model),
    "chain": lambda model: ClassifierChain(model),
}


def targets(kind, labels):
    """Return the labels in the form that a meta-estimator takes."""
    codes = np.unique(labels, return_inverse=True)[1]
    if kind == "self-training":
        return np.where(np.arange(12) % 4 == 3, -1, codes)
    return np.c_[codes == 0, codes == 1].astype(int) if kind == "chain" else codes


@pytest.mark.slow
@pytest.mark.parametrize("kind", ON_ROWS)
def test_what_takes_tables_of_numbers_only_is_given_numbers_of_images(kind, model, paths, labels):
    images = as_image_sequence(paths)
    rows = np.arange(len(images)).reshape(-1, 1)
    numbered = make_pipeline(FunctionTransformer(lambda rows: images[rows[:, 0].astype(int)]), model)
    wanted = targets(kind, labels)
    fitted = ON_ROWS[kind](numbered).fit(rows, wanted)
    assert np.isfinite(np.asarray(fitted.predict(rows), float)).all()


@pytest.mark.parametrize("kind", [*ON_ROWS, "adaboost"])
def test_or_features(kind, tiny_model, paths, labels):
    features = CNNFeatureExtractor(tiny_model).fit_transform(paths)
    build = {**ON_ROWS, "adaboost": lambda model: AdaBoostClassifier(model, n_estimators=2)}[kind]
    fitted = build(LogisticRegression(solver="newton-cg")).fit(features, targets(kind, labels))
    assert np.isfinite(np.asarray(fitted.predict(features), float)).all()


def test_a_table_of_paths_where_columns_are_drawn_or_permuted(model, paths, labels):
    table = pd.DataFrame({"path": paths})
    bagging = BaggingClassifier(model, n_estimators=2, random_state=0).fit(table, labels)
    assert np.isfinite(bagging.predict_proba(table)).all()
    importances = permutation_importance(model.fit(table, labels), table, labels, n_repeats=1, random_state=0)
    assert np.isfinite(importances.importances).all()


def test_a_fold_that_lacks_a_class(model, paths):
    # Sorted labels without shuffling: a fold is trained on two of three classes.
    labels = LABELS
    scores = cross_val_score(model, paths[np.argsort(SHUFFLED)], labels, cv=KFold(3), error_score="raise")
    np.testing.assert_array_equal(scores, 0)  # of a class that was not there in training


def test_a_fold_of_one_class_says_so(tiny_model, paths):
    model = FineTunedCNNClassifier(tiny_model, unfreeze=1, epochs=1)
    labels = np.repeat(["apple", "leaf"], [11, 1])
    with pytest.raises(ValueError, match="classes"):
        cross_val_score(model, paths, labels, cv=KFold(12), error_score="raise")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scores = cross_val_score(model, paths, labels, cv=KFold(4))
    assert np.isnan(scores).sum() == 1
    assert any("classes" in str(each.message) for each in caught)
