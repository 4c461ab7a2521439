"""`HistoryDisplay`: loss and accuracy of a training, epoch by epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skcnn._optional import check_matplotlib, new_axes

CURVES = ("loss", "accuracy")


class HistoryDisplay:
    """Loss and accuracy of a training, epoch by epoch; each phase is a line of its own.

    The figures of two phases do not follow each other: a head is judged on the images as they are, epochs of
    fine-tuning on images that are augmented, with dropout and label smoothing, which makes them look worse.

    What was judged on images that were held out is a dashed line of the same colour.

    `from_estimator` makes one of a fitted classifier. `plot` draws it again.

    Parameters
    ----------
    history : list of dict
        Records with phase, loss and accuracy, perhaps val_loss and val_accuracy, as in
        `FineTunedCNNClassifier.history_`.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
    axes_ : ndarray of shape (2,)
        Of loss and of accuracy.
    lines_ : list of two matplotlib.lines.Line2D
        Loss and accuracy on the training images.
    validation_lines_ : list of matplotlib.lines.Line2D
        The same on the images that were held out; empty where there were none.

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

    def __init__(self, history: list[dict[str, Any]]):
        self.history = history

    @classmethod
    def from_estimator(cls, estimator: Any, *, axes: Any = None, **line_options: Any) -> HistoryDisplay:
        """Plot how a classifier was trained.

        Parameters
        ----------
        estimator : estimator
            Fitted, with a `history_`, such as `FineTunedCNNClassifier` or `TenCropClassifier`; or a pipeline whose last
            step is one, or a search whose best estimator is.
        axes : array-like of two matplotlib.axes.Axes, default=None
            Where to draw loss and accuracy. None makes a figure.
        **line_options
            For `matplotlib.axes.Axes.plot`, such as ``color`` and ``label``.

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
        return cls(history_of(estimator)).plot(axes=axes, **line_options)

    def plot(self, *, axes: Any = None, **line_options: Any) -> HistoryDisplay:
        """Plot the curves.

        Parameters
        ----------
        axes : array-like of two matplotlib.axes.Axes, default=None
            Where to draw loss and accuracy. None makes a figure.
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
        if not self.history:
            raise ValueError("there is nothing to plot: no epoch was trained (epochs=0)")
        if axes is None:
            check_matplotlib("HistoryDisplay")
            axes = new_axes(2, size=(6.5, 2.8))
        self.axes_ = np.asarray(axes, dtype=object).ravel()
        if len(self.axes_) != len(CURVES):
            raise ValueError(f"axes must be two, of loss and of accuracy; got {len(self.axes_)}")
        self.figure_ = self.axes_[0].figure
        self.validation_lines_: list[Any] = []
        self.lines_ = [self._draw(axis, curve, line_options) for axis, curve in zip(self.axes_, CURVES, strict=True)]
        return self

    def _draw(self, axis: Any, curve: str, line_options: dict[str, Any]) -> Any:
        phases = [record["phase"] for record in self.history]
        begins = [index for index in range(1, len(phases)) if phases[index] != phases[index - 1]]
        epochs = apart(np.arange(1.0, len(self.history) + 1), begins)
        values = apart([record[curve] for record in self.history], begins)
        options = {"marker": "o", "markersize": 3, **line_options}
        (line,) = axis.plot(epochs, values, **options)
        where = " on the training images"
        if any(f"val_{curve}" in record for record in self.history):
            judged = apart([record.get(f"val_{curve}", np.nan) for record in self.history], begins)
            options |= {"label": None, "color": line.get_color(), "linestyle": "--", "markerfacecolor": "none"}
            self.validation_lines_ += axis.plot(epochs, judged, **options)
            where = ", trained on; dashed: held out"
        for begin in begins:
            axis.axvline(begin + 0.5, color="0.6", linestyle="--", linewidth=1)
            write_above(axis, phases[begin], begin + 0.5, "left")
        if begins:
            write_above(axis, phases[0], begins[0] + 0.5, "right")
        axis.set(xlabel="epoch", xlim=(0.5, len(phases) + 0.5))
        axis.set_ylabel(f"{curve}{where}", fontsize="small")
        axis.xaxis.get_major_locator().set_params(integer=True)
        return line


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
