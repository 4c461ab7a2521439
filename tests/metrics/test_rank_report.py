import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from skcnn.metrics import ScoreTable, rank_k_accuracy_score, rank_report


@pytest.fixture
def predictions():
    """Labels and scores of seven classes, many scores equal; the columns are not sorted."""
    generator = np.random.default_rng(0)
    classes = np.array(["fox", "ant", "cat", "dog", "bee", "emu", "gnu"])
    return generator.choice(classes, 400), generator.integers(0, 6, (400, 7)) / 10, classes


def test_figures_of_each_class_and_of_all(predictions):
    y_true, y_proba, classes = predictions
    report = rank_report(y_true, y_proba, labels=classes)
    assert isinstance(report, ScoreTable)
    assert report.rows == ["all", "ant", "bee", "cat", "dog", "emu", "fox", "gnu"]
    assert list(report.columns) == ["images", "rank-1", "rank-5", "most confused with", "times"]
    for label in report.rows:
        row = report.row(label)
        of = np.ones(400, bool) if label == "all" else y_true == label
        assert row["images"] == of.sum()
        for k in (1, 5):
            assert row[f"rank-{k}"] == rank_k_accuracy_score(y_true[of], y_proba[of], k=k, labels=classes)


def test_confusions_are_those_of_the_confusion_matrix(predictions):
    y_true, y_proba, classes = predictions
    report = rank_report(y_true, y_proba, labels=classes)
    # Ties go to the class that sorts last.
    order = np.argsort(classes)[::-1]
    predicted = classes[order][y_proba[:, order].argmax(axis=1)]
    labels = np.sort(classes)
    matrix = confusion_matrix(y_true, predicted, labels=labels)
    np.testing.assert_allclose(report["rank-1"][1:], matrix.diagonal() / matrix.sum(axis=1))
    np.fill_diagonal(matrix, 0)
    assert report["most confused with"][1:].tolist() == labels[matrix.argmax(axis=1)].tolist()
    assert report["times"][1:].tolist() == matrix.max(axis=1).tolist()
    assert report.row("all")["most confused with"] == labels[matrix.sum(axis=0).argmax()]
    assert report.row("all")["times"] == matrix.sum(axis=0).max()


def test_two_classes_with_equal_scores():
    report = rank_report(["a", "b"], [[0.5, 0.5], [0.5, 0.5]])
    assert report["rank-1"].tolist() == [0.5, 1, 0]
    assert report["most confused with"].tolist() == ["a", None, "a"]
    assert "rank-5" not in report.columns
    with pytest.raises(KeyError):
        report["rank-5"]


def test_one_score_for_two_classes():
    report = rank_report([False, True, True], [0.2, 0.9, 0.3])
    assert report["rank-1"].tolist() == [2 / 3, 1, 0.5]
    assert report["most confused with"].tolist() == [False, None, False]


def test_it_reads_as_text_and_as_a_data_frame():
    y_proba = [[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]]
    report = rank_report([3, 4, 4], y_proba, ranks=[2, 1], labels=[3, 4, 5])
    assert str(report).splitlines() == [
        "     images  rank-2  rank-1  most confused with  times",
        "all       3  1.0000  0.6667  3                       1",
        "3         1  1.0000  1.0000                          0",
        "4         2  1.0000  0.5000  3                       1",
    ]
    frame = report.to_frame()
    assert frame.loc[4, "most confused with"] == 3
    assert frame["most confused with"].isna().tolist() == [False, True, False]
    assert frame["rank-1"].dtype == np.float64


def test_a_label_without_a_column_has_a_row_and_a_class_without_samples_has_none():
    report = rank_report(["a", "d"], np.eye(3)[:2], labels=["a", "b", "c"])
    assert report.rows == ["all", "a", "d"]
    assert report.row("d") == {"images": 1, "rank-1": 0.0, "most confused with": "b", "times": 1}


def test_what_is_refused():
    with pytest.raises(ValueError, match="'k' must be an integer of at least 1. Got 0"):
        rank_report([0, 1], [0.1, 0.9], ranks=[1, 0])
    with pytest.raises(ValueError, match="y_true holds 2 distinct labels, y_proba scores 3 classes"):
        rank_report(["a", "b"], np.eye(3)[:2])
    with pytest.raises(ValueError, match="NaN or infinity in 1 of 2 rows"):
        rank_report(["a", "b"], [[0.5, 0.5], [np.nan, 0.5]])
