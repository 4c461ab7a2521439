"""`prediction_table`: the predictions for new images, one row for each file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skcnn._validation import check_int
from skcnn.exceptions import ImageReadError
from skcnn.images._failures import reasons_of_no_row
from skcnn.images._inputs import as_image_sequence
from skcnn.images._sequence import ImageSequence

if TYPE_CHECKING:
    import pandas


def prediction_table(estimator: Any, images: Any, k: int = 3) -> pandas.DataFrame:
    """Make a table of the likeliest labels of each image; an unreadable one gets a row with the reason.

    Parameters
    ----------
    estimator : classifier
        Fitted, with `predict_proba` and ``classes_``: a classifier of images, a pipeline, a search.
    images : images
        Anything `skcnn.images.as_image_sequence` takes, such as what `skcnn.datasets.find_images` finds in a folder.
    k : int, default=3
        How many labels to give for each image, at least 1; no more than there are classes.

    Returns
    -------
    pandas.DataFrame
        A row for each image, in their order, with the index of the Series or DataFrame that the images came from. Its
        columns:

        - ``file`` : str, the path; of images in memory, what they are;
        - ``label``, ``label_2``, ... : of the dtype of ``classes_``, the likeliest first; missing where the image has
          no prediction;
        - ``probability``, ``probability_2``, ... : float in [0, 1], each after its label; NaN where there is none;
        - ``error`` : str, why there is no prediction; missing where there is one.

        ``table.to_csv("predictions.csv", index=False)`` writes it as a file that spreadsheets open.

    Raises
    ------
    ValueError
        When `k` is not an integer of at least 1, when there are no images, and whatever the estimator raises that no
        unreadable image is the cause of.
    TypeError
        When the estimator has no `predict_proba`.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn import FineTunedCNNClassifier, prediction_table
    >>> images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    >>> clf = FineTunedCNNClassifier(weights=None, input_size=32, unfreeze=0, cache=None)
    >>> table = prediction_table(clf.fit(images, ["cat", "dog", "cow"] * 2), images, k=2)
    >>> table.columns.tolist()
    ['file', 'label', 'probability', 'label_2', 'probability_2', 'error']
    >>> table["label"].tolist()
    ['cat', 'dog', 'cow', 'cat', 'dog', 'cow']
    """
    import pandas

    check_int("k", k)
    if not hasattr(estimator, "predict_proba"):
        msg = f"{type(estimator).__name__} has no predict_proba, and a table of predictions shows probabilities"
        raise TypeError(f"{msg}; scikit-learn's CalibratedClassifierCV adds them to a classifier without")
    sequence = as_image_sequence(images)
    probabilities, errors = predict_readable(estimator, sequence)
    columns: dict[str, Any] = {"file": [sequence.name(index) for index in range(len(sequence))]}
    order = np.argsort(-probabilities, axis=1, kind="stable")
    for rank in range(min(k, probabilities.shape[1])):
        suffix = f"_{rank + 1}" if rank else ""
        labels = np.asarray(estimator.classes_)[order[:, rank]]
        if errors:
            labels = labels.astype(object)
            labels[[*errors]] = None
        columns[f"label{suffix}"] = labels
        columns[f"probability{suffix}"] = probabilities[np.arange(len(sequence)), order[:, rank]]
    columns["error"] = [errors.get(index) for index in range(len(sequence))]
    table = pandas.DataFrame(columns)
    if sequence.index is not None:
        table.index = sequence.index
    return table


def predict_readable(estimator: Any, images: ImageSequence) -> tuple[np.ndarray, dict[int, str]]:
    """Return the probabilities of all images, NaN of unreadable ones, and why these have none, by position."""
    probabilities = np.full((len(images), len(estimator.classes_)), np.nan)
    errors: dict[int, str] = {}
    while len(left := np.setdiff1d(np.arange(len(images)), [*errors])):
        try:
            probabilities[left] = estimator.predict_proba(images[left])
            break
        # A classifier that refuses rows of NaN raises a ValueError.
        except (ImageReadError, ValueError) as error:
            found = unreadable(images[left], error)
            if not found:
                raise
            errors |= {int(left[position]): reason for position, reason in found.items()}
    without = [index for index in np.flatnonzero(np.isnan(probabilities).any(axis=1)).tolist() if index not in errors]
    return probabilities, dict(sorted((errors | reasons_of_no_row(images, without)).items()))


def unreadable(images: ImageSequence, error: Exception) -> dict[int, str]:
    """Return which images cannot be read, and why: of those that an error names, or else of all."""
    named = [position for position in getattr(error, "failures", {}) if position < len(images)]
    # An estimator may have predicted part of them at a time, and count from the beginning of a part.
    for candidates in (named, range(len(images))):
        images_and_positions = zip(images[[*candidates]].stream(), candidates, strict=True)
        found = {position: str(image) for image, position in images_and_positions if isinstance(image, ImageReadError)}
        if found:
            return found
    return {}
