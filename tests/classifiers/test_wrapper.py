import pytest
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

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
