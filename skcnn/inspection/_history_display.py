"""`HistoryDisplay`: loss and accuracy of a training, epoch by epoch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import log_loss
from sklearn.utils.validation import check_is_fitted

from skcnn._optional import check_matplotlib, new_axes
from skcnn._validation import check_real
from skcnn.metrics._rank import accuracy_within, rank_true_labels

History = list[dict[str, Any]]

CURVES = ("loss", "accuracy")
RANK5 = "rank5_accuracy"
# How strongly curves are drawn that stand behind those that are meant to be read.
PALE = 0.4
# Of one curve; more of them would hide it.
MOST_MARKERS = 40


class HistoryDisplay:
    """Loss and accuracy of a training, epoch by epoch; each phase is a line of its own.

    The figures of two phases do not follow each other: a head is judged on the images as they are, epochs of
    fine-tuning on images that are augmented, with dropout and label smoothing, which makes them look worse.

    What was judged on images that were held out is a dashed line of the same colour. Rank-5, where it is recorded, is a
    paler line above that of the accuracy.

    `from_estimator` makes one of a fitted classifier, `from_runs` of several trainings. `plot` draws it again.

    Parameters
    ----------
    history : list of dict, or mapping of str to list of dict
        Records with phase, loss and accuracy, perhaps rank5_accuracy, and the same with ``val_`` before, as in
        `FineTunedCNNClassifier.history_`; of several runs, by name.
    test : mapping of str to float, default=None
        Figures on test images, by the names of `history`: horizontal lines.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
    axes_ : ndarray of shape (2,)
        Of loss and of accuracy.
    lines_ : list of matplotlib.lines.Line2D
        Loss and accuracy on the training images, of one run after the other.
    validation_lines_ : list of matplotlib.lines.Line2D
        The same on the images that were held out; empty where there were none.
    rank5_lines_ : list of matplotlib.lines.Line2D
        Rank-5 on the training images, and on those held out; empty where it is not recorded.
    test_lines_ : list of matplotlib.lines.Line2D
        The figures on test images.

    Examples
    --------
    >>> from skcnn.inspection import HistoryDisplay
    >>> history = [
    ...     {"phase": "head", "loss": 0.9, "accuracy": 0.71},
    ...     {"phase": "fine-tune", "loss": 0.5, "accuracy": 0.88},
    ...     {"phase": "fine-tune", "loss": 0.3, "accuracy": 0.94},
    ... ]
    >>> HistoryDisplay(history).plot().figure_.savefig("history.png")  # doctest: +SKIP
    """

    def __init__(self, history: History | Mapping[str, History], *, test: Mapping[str, float] | None = None):
        self.history = history
        self.test = test

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, test_data: Any = None, axes: Any = None, smooth: float = 0.0, **line_options: Any
    ) -> HistoryDisplay:
        """Plot how a classifier was trained.

        Parameters
        ----------
        estimator : estimator
            Fitted, with a `history_`, such as `FineTunedCNNClassifier` or `TenCropClassifier`; or a pipeline whose last
            step is one, or a search whose best estimator is.
        test_data : (images, labels), default=None
            Images that were neither trained on nor used to choose anything. What `estimator` reaches on them is drawn
            as horizontal lines.
        axes, smooth, **line_options
            As of `plot`.

        Returns
        -------
        HistoryDisplay

        Raises
        ------
        NotFittedError
            When `estimator` is not fitted. It is a ValueError.
        TypeError
            When it keeps no history.
        ImportError
            When matplotlib is not installed.
        """
        history = history_of(estimator)
        check_matplotlib(cls.__name__)
        test = None if test_data is None else figures_on(estimator, *test_data)
        return cls(history, test=test).plot(axes=axes, smooth=smooth, **line_options)

    @classmethod
    def from_runs(
        cls, runs: Mapping[str, Any], *, axes: Any = None, smooth: float = 0.0, **line_options: Any
    ) -> HistoryDisplay:
        """Plot several trainings into the same axes, each in a colour of its own.

        Parameters
        ----------
        runs : mapping of str to run
            By the name that the legend gives it: a classifier as for `from_estimator`, a list of records, or the path
            of a ``history.json`` or of a directory with one, such as a `checkpoint_dir`.
        axes, smooth, **line_options
            As of `plot`.

        Returns
        -------
        HistoryDisplay

        Raises
        ------
        FileNotFoundError
            When there is no file at a path.
        ValueError
            When a file holds no records, and as `from_estimator` does.
        """
        return cls({name: read_run(run) for name, run in runs.items()}).plot(axes=axes, smooth=smooth, **line_options)

    def plot(self, *, axes: Any = None, smooth: float = 0.0, **line_options: Any) -> HistoryDisplay:
        """Plot the curves.

        Parameters
        ----------
        axes : array-like of two matplotlib.axes.Axes, default=None
            Where to draw loss and accuracy. None makes a figure.
        smooth : float, default=0.0
            In [0, 1): what each point keeps of the one before it, as in TensorBoard. The curves as they are stand
            behind, paler. `lines_` are the smooth ones.
        **line_options
            For `matplotlib.axes.Axes.plot`, such as ``color`` and ``label``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            When there are no records, because nothing was trained.
        ImportError
            When matplotlib is not installed.
        """
        check_real("smooth", smooth, below=1)
        runs = dict(self.history) if isinstance(self.history, Mapping) else {"": self.history}
        for name, history in runs.items():
            if not history:
                msg = "there is nothing to plot: no epoch was trained (epochs=0)"
                raise ValueError(f"{name}: {msg}" if name else msg)
        if not runs:
            raise ValueError("there is nothing to plot: no run was given")
        if axes is None:
            check_matplotlib("HistoryDisplay")
            axes = new_axes(2, size=(6.5, 2.8))
        self.axes_ = np.asarray(axes, dtype=object).ravel()
        if len(self.axes_) != len(CURVES):
            raise ValueError(f"axes must be two, of loss and of accuracy; got {len(self.axes_)}")
        self.figure_ = self.axes_[0].figure
        self.lines_: list[Any] = []
        self.validation_lines_: list[Any] = []
        self.rank5_lines_: list[Any] = []
        self.test_lines_: list[Any] = []
        longest = max(map(len, runs.values()))
        for name, history in runs.items():
            options = {"label": name, **line_options} if name else line_options
            for axis, curve in zip(self.axes_, CURVES, strict=True):
                self._draw(axis, curve, history, smooth, options, has_markers=longest <= MOST_MARKERS)
        for axis, curve in zip(self.axes_, CURVES, strict=True):
            self._describe(axis, curve, [*runs.values()], longest)
        if "" not in runs:
            self.axes_[0].legend(fontsize="small")
        return self

    def _draw(
        self, axis: Any, curve: str, history: History, smooth: float, options: dict[str, Any], *, has_markers: bool
    ) -> None:
        """Draw one run into one axis."""
        begins = begins_of(history)
        epochs = apart(np.arange(1.0, len(history) + 1), begins)
        # A phase of one epoch has no line; without a marker it would not be seen.
        is_gap = np.isnan([np.nan, *epochs, np.nan])
        alone = np.flatnonzero(~is_gap[1:-1] & is_gap[:-2] & is_gap[2:]).tolist()
        markers = None if has_markers else alone

        def draw(figure: str, **style: Any) -> Any:
            values = apart([record.get(figure, np.nan) for record in history], begins)
            style = {"marker": "o", "markersize": 3, "markevery": markers, **options, **style}
            if not smooth:
                return axis.plot(epochs, values, **style)[0]
            style["markevery"] = alone
            (behind,) = axis.plot(epochs, values, **{**style, "label": None, "marker": "", "alpha": PALE / 2})
            return axis.plot(epochs, smoothed(values, smooth), **{**style, "color": behind.get_color()})[0]

        line = draw(curve)
        self.lines_.append(line)
        beside = {"label": None, "color": line.get_color()}
        dashed = {"linestyle": "--", "markerfacecolor": "none"}
        if is_recorded(history, f"val_{curve}"):
            self.validation_lines_.append(draw(f"val_{curve}", **beside, **dashed))
        if curve == "accuracy":
            for figure, style in ((RANK5, {}), (f"val_{RANK5}", dashed)):
                if is_recorded(history, figure):
                    self.rank5_lines_.append(draw(figure, **beside, **style, markevery=alone, alpha=PALE))

    def _describe(self, axis: Any, curve: str, runs: Sequence[History], longest: int) -> None:
        """Label one axis, and draw what is not of epochs: where phases begin, and figures on test images."""
        begins = begins_of(runs[0])
        if len(runs) == 1:
            for begin in begins:
                axis.axvline(begin + 0.5, color="0.6", linestyle="--", linewidth=1)
                write_above(axis, runs[0][begin]["phase"], begin + 0.5, "left")
            if begins:
                write_above(axis, runs[0][0]["phase"], begins[0] + 0.5, "right")
        for figure in (curve, RANK5) if curve == "accuracy" else (curve,):
            if self.test and figure in self.test:
                value, alpha = self.test[figure], 1.0 if figure == curve else PALE
                line = axis.axhline(value, color="0.3", linestyle=":", linewidth=1.5, alpha=alpha)
                name = "test" if figure == curve else "test, rank-5"
                place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right"}
                axis.annotate(f"{name} {value:.3f}", (1, value), xytext=(-3, 3), color="0.3", fontsize="small", **place)
                self.test_lines_.append(line)
        axis.set(xlabel="epoch", xlim=(0.5, longest + 0.5))
        is_judged = any(is_recorded(history, f"val_{curve}") for history in runs)
        where = ", trained on; dashed: held out" if is_judged else " on the training images"
        has_rank5 = curve == "accuracy" and any(is_recorded(history, RANK5) for history in runs)
        if has_rank5:
            curve, where = "accuracy; pale: rank-5", "; dashed: held out" if is_judged else where
        axis.set_ylabel(f"{curve}{where}", fontsize="small")
        axis.xaxis.get_major_locator().set_params(integer=True)


def is_recorded(history: History, figure: str) -> bool:
    """Whether any epoch has a figure."""
    return any(figure in record for record in history)


def begins_of(history: History) -> list[int]:
    """Return the positions of the records that phases after the first one begin with."""
    phases = [record["phase"] for record in history]
    return [index for index in range(1, len(phases)) if phases[index] != phases[index - 1]]


def smoothed(values: np.ndarray, share: float) -> np.ndarray:
    """Return values that each keep a share of those before; a gap begins anew.

    The first values are divided by what they can have kept, so that a curve does not begin at 0.
    """
    smooth = np.full(len(values), np.nan)
    total = weight = 0.0
    for index, value in enumerate(values):
        if not np.isfinite(value):
            total = weight = 0.0
            continue
        total, weight = share * total + (1 - share) * value, share * weight + (1 - share)
        smooth[index] = total / weight
    return smooth


def figures_on(estimator: Any, images: Any, labels: Any) -> dict[str, float]:
    """Return loss, accuracy and, of more than five classes, rank-5 of an estimator on images."""
    probabilities = estimator.predict_proba(images)
    ranking = rank_true_labels(labels, probabilities, estimator.classes_)
    figures = {
        "loss": float(log_loss(labels, probabilities, labels=estimator.classes_)),
        "accuracy": accuracy_within(1, ranking, None),
    }
    return figures | ({RANK5: accuracy_within(5, ranking, None)} if len(estimator.classes_) > 5 else {})


def read_run(run: Any) -> History:
    """Return the records of a classifier, of a list of records, or of a file."""
    if isinstance(run, (list, tuple)):
        return list(run)
    if not isinstance(run, (str, os.PathLike)):
        return history_of(run)
    path = Path(run).expanduser()
    path = path / "history.json" if path.is_dir() else path
    records = json.loads(path.read_text())
    if not isinstance(records, list) or not all(isinstance(record, dict) and "phase" in record for record in records):
        raise ValueError(f"{path} holds no records of a training; give a history.json that a checkpoint_dir has")
    return [{name: math.nan if value is None else value for name, value in record.items()} for record in records]


def apart(values: Any, begins: list[int]) -> np.ndarray:
    """Return the values of all phases with a gap between them, in which no line is drawn.

    Each phase has figures of its own: those of the linear probe are of the images as they are, those of the epochs of
    augmented images with dropout and label smoothing.
    """
    return np.insert(np.asarray(values, np.float64), begins, np.nan)


def write_above(axis: Any, text: str, x: float, side: str) -> None:
    """Write a text above an axis; its `side` end is at `x`."""
    place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": side}
    axis.annotate(text, (x, 1), xytext=(3 if side == "left" else -3, 3), color="0.4", fontsize="small", **place)


def history_of(estimator: Any) -> list[dict[str, Any]]:
    """Return the history of a classifier, of the last step of a pipeline, or of the best estimator of a search."""
    inner = estimator
    while not hasattr(inner, "history_"):
        if hasattr(inner, "best_estimator_"):
            inner = inner.best_estimator_
        elif hasattr(inner, "steps"):
            inner = inner.steps[-1][1]
        else:
            check_is_fitted(inner)
            remedy = "one of its estimators_" if hasattr(inner, "estimators_") else "a classifier with history_"
            raise TypeError(f"{type(inner).__name__} keeps no history of its training; give {remedy}")
    return inner.history_
