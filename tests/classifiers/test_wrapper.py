import pytest
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skcnn import (
    AspectAwareResize,
    CNNEnsembleClassifier,
    CNNFeatureExtractor,
    FineTunedCNNClassifier,
    HistoryDisplay,
    TenCropClassifier,
)
from skcnn.classifiers._wrapper import check_predicts_proba, name_of_weights

SCALER = StandardScaler()


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        make_pipeline(SCALER, LogisticRegression()),
        GridSearchCV(LogisticRegression(), {}),
        StackingClassifier([("a", LogisticRegression())]),
    ],
    ids=["regression", "pipeline", "search", "stacking"],
)
def test_with_probabilities(estimator):
    check_predicts_proba(estimator, "This")


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        (RidgeClassifier(), "RidgeClassifier"),
        (SVC(), "SVC"),
        (make_pipeline(SCALER, make_pipeline(SCALER, RidgeClassifier())), "a Pipeline that ends in a Pipeline that en"),
        (GridSearchCV(RidgeClassifier(), {}), "GridSearchCV"),
        (StackingClassifier([("a", LogisticRegression())], RidgeClassifier()), "StackingClassifier"),
        (SCALER, "StandardScaler"),
        ([LogisticRegression()], r"\[LogisticRegression\(\)\]"),
    ],
    ids=["regression", "vectors", "pipeline", "search", "stacking", "scaler", "list"],
)
def test_without_probabilities(estimator, name):
    with pytest.raises(
        TypeError, match=f"^This averages probabilities, and {name}.* has no predict_proba; take a clas"
    ):
        check_predicts_proba(estimator, "This")


def test_a_class_is_no_estimator():
    with pytest.raises(TypeError, match=r"^This takes an estimator, not a class: write SVC\(\) with parentheses"):
        check_predicts_proba(SVC, "This")


def test_names_of_weights():
    assert name_of_weights(LogisticRegression()) == "sample_weight"
    pipeline = make_pipeline(SCALER, LogisticRegression())
    assert name_of_weights(pipeline) == "logisticregression__sample_weight"
    assert name_of_weights(make_pipeline(SCALER, pipeline)) == "pipeline__logisticregression__sample_weight"
    # It hands on whatever it gets.
    assert name_of_weights(GridSearchCV(LogisticRegression(), {})) == "sample_weight"
    with pytest.raises(TypeError, match="KNeighborsClassifier takes no sample_weight; leave it out"):
        name_of_weights(make_pipeline(SCALER, KNeighborsClassifier()))


def test_what_is_of_the_wrapped_classifiers_works_or_is_named(tiny_model, files, tmp_path, pyplot):
    tuned = FineTunedCNNClassifier(tiny_model, unfreeze=0, random_state=0)
    crops = TenCropClassifier(make_pipeline("passthrough", tuned), resize=16, crop_size=16)
    assert not hasattr(crops, "history_")
    crops.fit(files, ["ant", "bee"] * 6)
    assert crops.history_ == crops.estimator_[-1].history_
    assert len(HistoryDisplay.from_estimator(crops).history) == 1
    ensemble = CNNEnsembleClassifier([("a", tuned), ("b", crops)]).fit(files, ["ant", "bee"] * 6)
    with pytest.raises(AttributeError, match=r"no attribute 'history_'; each .*clf\.estimators_\[0\]\.history_"):
        ensemble.history_  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute 'export'; .*clf\.estimators_\[0\]\.export\(path\)"):
        ensemble.export(tmp_path / "net.keras")
    with pytest.raises(
        TypeError, match="CNNEnsembleClassifier keeps no history of its training; give one of its estim"
    ):
        HistoryDisplay.from_estimator(ensemble)
    with pytest.raises(AttributeError, match=r"object has no attribute 'other'$"):
        ensemble.other  # noqa: B018
    regression = TenCropClassifier(
        make_pipeline(AspectAwareResize(16), CNNFeatureExtractor(tiny_model), LogisticRegression())
    )
    with pytest.raises(AttributeError, match="LogisticRegression keeps no history"):
        regression.fit(files, ["ant", "bee"] * 6).history_  # noqa: B018
