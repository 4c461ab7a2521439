"""The pictures of a training and of what a classifier confuses."""

from pathlib import Path

from sklearn.metrics import ConfusionMatrixDisplay

from skcnn import HistoryDisplay


def can_plot() -> bool:
    """Whether matplotlib is installed; it will draw into files. Says so if not."""
    try:
        import matplotlib
    except ImportError:
        print("no pictures: pip install 'skcnn[plots]' brings matplotlib")
        return False
    matplotlib.use("Agg")
    return True


def plot(clf, y_test, guesses, output: Path) -> None:
    """Write the curves of a training, and what predictions of held-out images confuse."""
    import matplotlib.pyplot as plt

    HistoryDisplay.from_estimator(clf).figure_.savefig(output / "history.png", dpi=300)
    n_classes = len(clf.classes_)
    side = min(3 + 0.35 * n_classes, 6.5)  # inches; no wider than a page of print
    figure, axis = plt.subplots(figsize=(side, side), layout="constrained")
    settings = {"normalize": "true", "values_format": ".2f", "xticks_rotation": "vertical", "colorbar": False}
    # The cells of many classes are too small for numbers.
    settings["include_values"] = n_classes <= 10
    ConfusionMatrixDisplay.from_predictions(y_test, guesses, ax=axis, cmap="Blues", **settings)
    axis.tick_params(labelsize=min(10, 300 / n_classes))
    axis.set_title("Held-out images: fraction of each true class")
    figure.savefig(output / "confusion.png", dpi=300)
