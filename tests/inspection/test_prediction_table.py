"""A table of predictions has a row for every file, also for those that cannot be read."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from skcnn import (
    AspectAwareResize,
    CNNFeatureExtractor,
    FineTunedCNNClassifier,
    TenCropClassifier,
    find_images,
    prediction_table,
)

LABELS = ["ant", "bee", "cow"] * 4


def classifiers(model, cache):
    """Return classifiers of all kinds: those that raise for an unreadable image, give NaN, or refuse NaN."""
    tuned = FineTunedCNNClassifier(model, unfreeze=1, epochs=1, cache=cache, random_state=0)
    features = CNNFeatureExtractor(model, cache=cache)
    regression = LogisticRegression(solver="newton-cg")
    return {
        "tuned": tuned,
        "tuned, of NaN": make_pipeline(AspectAwareResize(16, on_error="nan"), tuned),
        "features": make_pipeline(features, regression),
        "features, of NaN": make_pipeline(CNNFeatureExtractor(model, cache=cache, on_error="nan"), regression),
        "search": GridSearchCV(make_pipeline(features, regression), {"logisticregression__C": [1, 10]}, cv=2),
        "ten crops": TenCropClassifier(make_pipeline(features, regression), resize=16, crop_size=12),
    }


@pytest.fixture
def with_broken(files):
    """The paths of the twelve images, and of one that is cut short, one that is missing, and one that is empty."""
    folder = Path(files[0]).parent
    (folder / "cut.png").write_bytes(Path(files[0]).read_bytes()[:60])
    (folder / "empty.jpg").touch()
    return [*files[:3], str(folder / "cut.png"), *files[3:], str(folder / "gone.png"), str(folder / "empty.jpg")]


@pytest.mark.parametrize("kind", classifiers(None, None))
def test_unreadable_files_are_rows_with_their_reason(kind, tiny_model, files, with_broken, tmp_path):
    clf = classifiers(tiny_model, tmp_path / "cache")[kind].fit(files, LABELS)
    expected = clf.predict_proba(files)
    table = prediction_table(clf, with_broken, k=2)
    assert table["file"].tolist() == with_broken
    assert table.columns.tolist() == ["file", "label", "probability", "label_2", "probability_2", "error"]
    bad = table[table["error"].notna()]
    assert bad.index.tolist() == [3, 13, 14]
    assert bad[["label", "probability", "label_2", "probability_2"]].isna().all(axis=None)
    for reason, said in zip(bad["error"], ["cut short", "no such file", "empty"], strict=True):
        assert said in reason
    good = table[table["error"].isna()]
    assert good["label"].tolist() == clf.predict(files).tolist()
    np.testing.assert_allclose(good["probability"], expected.max(axis=1), atol=1e-6)
    np.testing.assert_allclose(good["probability_2"], np.sort(expected, axis=1)[:, -2], atol=1e-6)


def test_the_table_of_a_folder_as_csv(tiny_model, files, tmp_path):
    clf = make_pipeline(CNNFeatureExtractor(tiny_model, cache=None), LogisticRegression()).fit(files, np.arange(12) % 2)
    table = prediction_table(clf, find_images(Path(files[0]).parent), k=5)
    assert table.columns.tolist() == ["file", "label", "probability", "label_2", "probability_2", "error"]
    assert table["label"].dtype.kind == "i"
    table.to_csv(tmp_path / "predictions.csv", index=False)
    again = pd.read_csv(tmp_path / "predictions.csv")
    assert again["label"].tolist() == clf.predict(files).tolist()
    assert again["error"].isna().all()


def test_no_readable_image_at_all_and_the_index_of_a_series(tiny_model, files, tmp_path):
    clf = FineTunedCNNClassifier(tiny_model, unfreeze=0, cache=None).fit(files, LABELS)
    table = prediction_table(clf, pd.Series([str(tmp_path / "a.png"), str(tmp_path / "b.png")], index=["x", "y"]))
    assert table.index.tolist() == ["x", "y"]
    assert table["error"].str.contains("no such file").all()
    assert table["label"].isna().all()
    assert table.columns.tolist()[-2:] == ["probability_3", "error"]


def test_errors_that_no_image_is_the_cause_of_are_raised(files):
    class Refusing(LogisticRegression):
        classes_ = np.array([0, 1])

        def predict_proba(self, X):
            raise ValueError("another reason")

    with pytest.raises(ValueError, match="another reason"):
        prediction_table(Refusing(), files)
    with pytest.raises(TypeError, match="LinearSVC has no predict_proba.*CalibratedClassifierCV"):
        prediction_table(LinearSVC(), files)
    with pytest.raises(ValueError, match="'k' parameter must be an int"):
        prediction_table(Refusing(), files, k=0)
    with pytest.raises(ValueError, match="find_images"):
        prediction_table(Refusing(), str(Path(files[0]).parent))


@pytest.mark.parametrize("position", [0, 2])
def test_an_estimator_that_predicts_a_part_at_a_time_gets_no_wrong_file_blamed(tiny_model, files, position):
    """Positions in its errors are those in a part; every file that is left out was found unreadable."""
    inner = FineTunedCNNClassifier(tiny_model, unfreeze=0, cache=None).fit(files, LABELS)

    class InParts(LogisticRegression):
        classes_ = inner.classes_

        def predict_proba(self, X):
            return np.concatenate([inner.predict_proba(X[start : start + 4]) for start in range(0, len(X), 4)])

    paths = [*files]
    paths[8 + position] += ".gone"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = prediction_table(InParts(), paths)
    assert table.index[table["error"].notna()].tolist() == [8 + position]
