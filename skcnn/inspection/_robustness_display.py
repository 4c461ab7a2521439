"""`RobustnessDisplay`: the accuracy of classifiers on changed images, under an example of each change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skcnn._optional import check_matplotlib
from skcnn.images import as_image_sequence
from skcnn.inspection._robustness_scores import Change, changed_images, robustness_scores
from skcnn.metrics import ScoreTable

# Inches of a cell and of a letter.
WIDTH, HEIGHT = 0.95, 0.35
LETTER = 0.085


class RobustnessDisplay:
    """The accuracy of one or several classifiers on images as they are and changed, with an example of each change.

    `from_estimator` computes and draws it; `plot` draws it again.

    Parameters
    ----------
    scores : ScoreTable
        As `robustness_scores` returns it.
    examples : dict of str to ndarray of shape (height, width, 1 | 3)
        An image for each column, with levels in [0, 255].

    Attributes
    ----------
    scores : ScoreTable
    figure_ : matplotlib.figure.Figure
    axes_ : ndarray of shape (n_columns + 1,)
        Of the examples and, the last, of the table.

    Examples
    --------
    >>> from skcnn.inspection import RobustnessDisplay
    >>> display = RobustnessDisplay.from_estimator({"mine": clf}, X_test, y_test)  # doctest: +SKIP
    >>> print(display.scores)  # doctest: +SKIP
    >>> display.figure_.savefig("robustness.png")  # doctest: +SKIP
    """

    def __init__(self, scores: ScoreTable, examples: Mapping[str, np.ndarray]):
        self.scores = scores
        self.examples = dict(examples)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        changes: Mapping[str, Change] | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> RobustnessDisplay:
        """Plot the accuracy of fitted classifiers on images as they are and changed.

        Parameters
        ----------
        estimator, X, y, changes, sample_weight
            As of `robustness_scores`. The first image is the example.

        Returns
        -------
        RobustnessDisplay

        Raises
        ------
        TypeError, ImageReadError
            As `robustness_scores`.
        ImportError
            When matplotlib is not installed.
        """
        check_matplotlib(cls.__name__)
        scores = robustness_scores(estimator, X, y, changes=changes, sample_weight=sample_weight)
        first = changed_images(as_image_sequence(X)[:1], changes)
        examples = {name: images[0] for name, images in first.items()}
        return cls(scores, examples).plot()

    def plot(self) -> RobustnessDisplay:
        """Plot examples and accuracies in a new figure.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            When matplotlib is not installed.
        """
        check_matplotlib(type(self).__name__)
        import matplotlib.pyplot as plt

        columns, rows = [*self.scores.columns], len(self.scores)
        names = [str(name) for name in self.scores.rows]
        width = max(WIDTH, LETTER * max(map(len, columns)))
        size = width * len(columns) + LETTER * max(map(len, names)) + 0.3, WIDTH + HEIGHT * rows + 0.3
        self.figure_ = plt.figure(figsize=size, layout="constrained")
        grid = self.figure_.add_gridspec(2, len(columns), height_ratios=[WIDTH, HEIGHT * rows])
        pictures = [self.figure_.add_subplot(grid[0, number]) for number in range(len(columns))]
        self.axes_ = np.array([*pictures, self.figure_.add_subplot(grid[1, :])])
        for name, axis in zip(columns, pictures, strict=True):
            levels = np.clip(np.rint(self.examples[name]), 0, 255).astype(np.uint8)
            axis.imshow(np.broadcast_to(levels, (*levels.shape[:2], 3)))
            axis.set_title(name, fontsize="small")
            axis.set_axis_off()
        table = np.column_stack([self.scores[name] for name in columns])
        axis = self.axes_[-1]
        axis.imshow(table, cmap="RdYlGn", vmin=0, vmax=1, alpha=0.6, aspect="auto")
        for (row, column), accuracy in np.ndenumerate(table):
            axis.text(column, row, f"{accuracy:.3f}", ha="center", va="center", fontsize="small")
        axis.set_yticks(range(rows), labels=names, fontsize="small")
        axis.set_xticks([])
        return self
