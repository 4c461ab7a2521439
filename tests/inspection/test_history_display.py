import subprocess
import sys

import numpy as np
import pytest
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skcnn import AspectAwareResize, FineTunedCNNClassifier
from skcnn.inspection import HistoryDisplay

pytestmark = pytest.mark.usefixtures("pyplot")

LABELS = ["cat", "dog", "emu"] * 4


def records(**counts):
    """So many records of each phase, each with values of its own."""
    phases = [phase for phase, count in counts.items() for _ in range(count)]
    return [{"phase": phase, "loss": 2 / (i + 1), "accuracy": i / 10} for i, phase in enumerate(phases)]


def texts(axis):
    return [text.get_text() for text in axis.texts]


def boundaries(display, axis):
    return [line.get_xdata()[0] for line in axis.lines if line not in display.lines_]


def test_curves_of_loss_and_accuracy():
    display = HistoryDisplay(records(head=2, tune=3)).plot()
    loss, accuracy = display.lines_
    # A gap between the phases: no line joins figures of two kinds.
    gap = np.nan
    for line in (loss, accuracy):
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, gap, 3, 4, 5])
    np.testing.assert_allclose(loss.get_ydata(), [2, 1, gap, 2 / 3, 0.5, 0.4])
    np.testing.assert_allclose(accuracy.get_ydata(), [0, 0.1, gap, 0.2, 0.3, 0.4])
    assert [axis.get_ylabel() for axis in display.axes_] == [
        "loss on the training images",
        "accuracy on the training images",
    ]
    assert {axis.get_xlabel() for axis in display.axes_} == {"epoch"}
    assert display.figure_.get_figwidth() <= 6.5  # inches: the text of a page


def test_what_was_held_out_is_dashed(pyplot):
    history = [
        record | {"val_loss": i + 0.5, "val_accuracy": i / 5} for i, record in enumerate(records(head=1, tune=2))
    ]
    del history[0]["val_accuracy"]
    display = HistoryDisplay(history).plot(color="red", label="first")
    loss, accuracy = display.validation_lines_
    np.testing.assert_array_equal(loss.get_ydata(), [0.5, np.nan, 1.5, 2.5])
    np.testing.assert_array_equal(accuracy.get_ydata(), [np.nan, np.nan, 0.2, 0.4])
    assert {line.get_linestyle() for line in display.validation_lines_} == {"--"}
    assert loss.get_color() == "red"
    assert display.axes_[0].get_legend_handles_labels()[1] == ["first"]
    assert display.axes_[0].get_ylabel() == "loss, trained on; dashed: held out"
    assert HistoryDisplay(records(head=2)).plot().validation_lines_ == []


def with_rank5(history):
    return [
        record | {"rank5_accuracy": 0.5 + i / 20, "val_rank5_accuracy": 0.4 + i / 20, "val_accuracy": 0.1}
        for i, record in enumerate(history)
    ]


def test_rank5_is_paler_and_above():
    display = HistoryDisplay(with_rank5(records(head=1, tune=2))).plot()
    trained, judged = display.rank5_lines_
    np.testing.assert_allclose(trained.get_ydata(), [0.5, np.nan, 0.55, 0.6])
    np.testing.assert_allclose(judged.get_ydata(), [0.4, np.nan, 0.45, 0.5])
    assert (trained.get_linestyle(), judged.get_linestyle()) == ("-", "--")
    assert trained.get_color() == judged.get_color() == display.lines_[1].get_color()
    assert trained.get_alpha() < 1
    assert display.axes_[1].get_ylabel() == "accuracy; pale: rank-5; dashed: held out"
    assert HistoryDisplay(records(head=2)).plot().rank5_lines_ == []


def test_a_phase_of_one_epoch_is_seen_among_many_epochs():
    display = HistoryDisplay(with_rank5(records(head=1, tune=100))).plot()
    for line in (*display.lines_, *display.rank5_lines_):
        assert (line.get_marker(), line.get_markevery()) == ("o", [0])
    assert HistoryDisplay(records(head=1, tune=10)).plot().lines_[0].get_markevery() is None


def test_smooth_curves_stand_before_those_as_they_are():
    history = records(head=1, tune=3)
    display = HistoryDisplay(history).plot(smooth=0.5, color="red")
    for line, name in zip(display.lines_, ("loss", "accuracy"), strict=True):
        first, second, third = (record[name] for record in history[1:])
        # Weights halve with each epoch, and a phase begins anew.
        means = [(first + 2 * second) / 3, (first + 2 * second + 4 * third) / 7]
        np.testing.assert_allclose(line.get_ydata(), [history[0][name], np.nan, first, *means])
        behind = next(each for each in line.axes.lines if each is not line)
        np.testing.assert_allclose(behind.get_ydata(), [history[0][name], np.nan, first, second, third])
        assert behind.get_alpha() < 1
        assert behind.get_color() == line.get_color() == "red"
    with pytest.raises(ValueError, match="The 'smooth' parameter must be a number of at least 0 and below 1"):
        HistoryDisplay(history).plot(smooth=1)


def test_figures_on_test_images_are_lines_with_their_values():
    display = HistoryDisplay(records(head=2), test={"loss": 0.5, "accuracy": 0.75, "rank5_accuracy": 0.9}).plot()
    assert [line.get_ydata()[0] for line in display.test_lines_] == [0.5, 0.75, 0.9]
    assert [texts(axis) for axis in display.axes_] == [["test 0.500"], ["test 0.750", "test, rank-5 0.900"]]


def test_a_classifier_is_judged_on_test_images(residual, files):
    labels = [*"abcdef"] * 2
    clf = FineTunedCNNClassifier(residual, unfreeze=1, epochs=1, random_state=0).fit(files, labels)
    display = HistoryDisplay.from_estimator(clf, test_data=(files[:6], labels[:6]))
    probabilities = clf.predict_proba(files[:6])
    assert display.test["accuracy"] == clf.score(files[:6], labels[:6])
    assert display.test["loss"] == pytest.approx(-np.log(np.diag(probabilities)).mean())
    within = [row.argsort()[::-1][:5].tolist().count(i) for i, row in enumerate(probabilities)]
    assert display.test["rank5_accuracy"] == pytest.approx(np.mean(within))
    assert len(display.test_lines_) == 3


def test_several_runs_share_the_axes(residual, files, tmp_path):
    clf = FineTunedCNNClassifier(residual, unfreeze=1, epochs=2, random_state=0, checkpoint_dir=tmp_path)
    clf.fit(files, LABELS)
    runs = {"fitted": clf, "records": records(head=5), "folder": tmp_path, "file": tmp_path / "history.json"}
    display = HistoryDisplay.from_runs(runs)
    assert [text.get_text() for text in display.axes_[0].get_legend().get_texts()] == [*runs]
    losses = display.lines_[::2]
    assert len({line.get_color() for line in losses}) == 4
    for line in losses[2:]:
        np.testing.assert_allclose(line.get_ydata(), losses[0].get_ydata())
    assert len(losses[1].get_ydata()) == 5
    assert display.axes_[0].get_xlim()[1] == 5.5
    assert texts(display.axes_[0]) == []


def test_runs_that_are_none(tmp_path):
    (tmp_path / "history.json").write_text('{"loss": 1}')
    with pytest.raises(ValueError, match="holds no records of a training; give a history.json"):
        HistoryDisplay.from_runs({"one": tmp_path})
    with pytest.raises(FileNotFoundError):
        HistoryDisplay.from_runs({"one": tmp_path / "nothing"})
    with pytest.raises(ValueError, match="two: there is nothing to plot"):
        HistoryDisplay.from_runs({"one": records(head=1), "two": []})
    with pytest.raises(ValueError, match="nothing to plot: no run was given"):
        HistoryDisplay.from_runs({})


@pytest.mark.parametrize(
    ("counts", "expected"), [({"head": 1, "tune": 4}, [1.5]), ({"a": 2, "b": 3, "c": 1}, [2.5, 5.5]), ({"head": 3}, [])]
)
def test_boundaries_of_phases_are_marked_and_named(counts, expected):
    display = HistoryDisplay(records(**counts)).plot()
    for axis in display.axes_:
        assert boundaries(display, axis) == expected
        assert sorted(texts(axis)) == (sorted(counts) if len(counts) > 1 else [])


def test_the_names_of_phases_do_not_overlap():
    display = HistoryDisplay(records(head=1, **{"fine-tune": 20})).plot()
    display.figure_.canvas.draw()
    tune, head = (text.get_window_extent() for text in display.axes_[0].texts)
    assert not tune.overlaps(head)


def test_it_draws_where_it_is_told_and_as_it_is_told(pyplot):
    figure, axes = pyplot.subplots(2, 1)
    first = HistoryDisplay(records(head=2)).plot(axes=axes, color="red", label="first")
    second = HistoryDisplay(records(head=3)).plot(axes=axes, label="second")
    assert first.figure_ is second.figure_ is figure
    assert first.lines_[0].get_color() == "red"
    assert axes[0].get_legend_handles_labels()[1] == ["first", "second"]
    assert pyplot.get_fignums() == [figure.number]


def test_of_a_classifier_a_pipeline_and_a_search(residual, files):
    clf = FineTunedCNNClassifier(residual, unfreeze=1, epochs=2, random_state=0)
    pipe = make_pipeline(AspectAwareResize((16, 16)), clf)
    search = GridSearchCV(pipe, {"finetunedcnnclassifier__epochs": [2]}, cv=2)
    for estimator in (clf, pipe, search):
        estimator.fit(files, LABELS)
        display = HistoryDisplay.from_estimator(estimator)
        assert len(display.history) == 3  # the probe and two epochs
        assert boundaries(display, display.axes_[0]) == [1.5]
        assert texts(display.axes_[0]) == ["fine-tune", "head"]


def test_unfitted(residual):
    clf = FineTunedCNNClassifier(residual)
    for estimator in (clf, make_pipeline(clf), GridSearchCV(clf, {"unfreeze": [0]})):
        with pytest.raises(NotFittedError, match="is not fitted yet"):
            HistoryDisplay.from_estimator(estimator)


def test_without_a_history():
    fitted = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(TypeError, match="LogisticRegression keeps no history of its training; give a classifier with"):
        HistoryDisplay.from_estimator(fitted)
    ensemble = VotingClassifier([("a", LogisticRegression())]).fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(TypeError, match="VotingClassifier keeps no history of its training; give one of its estim"):
        HistoryDisplay.from_estimator(ensemble)
    with pytest.raises(ValueError, match="nothing to plot: no epoch was trained"):
        HistoryDisplay([]).plot()


def test_one_axis_is_not_enough(pyplot):
    with pytest.raises(ValueError, match="axes must be two, of loss and of accuracy; got 1"):
        HistoryDisplay(records(head=2)).plot(axes=pyplot.subplots()[1])


@pytest.mark.slow
def test_without_matplotlib():
    code = """
import sys
sys.modules["matplotlib"] = None
from skcnn.inspection import HistoryDisplay
try:
    HistoryDisplay([{"phase": "head", "loss": 1.0, "accuracy": 0.5}]).plot()
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert (
        run.stdout.strip() == "HistoryDisplay needs matplotlib, which is not installed; run: pip install 'skcnn[plots]'"
    )
