"""Checkpoints of a training as fitted classifiers."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skcnn._plain import plain
from skcnn._validation import check_int
from skcnn.exceptions import CheckpointError
from skcnn.images._failures import refuse_rows_of_nan
from skcnn.images._transformer import check_images
from skcnn.metrics import ScoreTable
from skcnn.metrics._rank import accuracy_within, rank_true_labels
from skcnn.training._checkpoints import FILE, describe_change, kept_states, read_checkpoint

if TYPE_CHECKING:
    from skcnn.classifiers._network_classifier import NetworkClassifier


def check_keep(name: str, value: Any) -> None:
    """Refuse any value but "all" and whole numbers of at least 1."""
    if not (isinstance(value, str) and value == "all"):
        try:
            check_int(name, value, least=1)
        except ValueError as error:
            msg = f"The {name!r} parameter must be 'all', None or a whole number of at least 1. Got {value!r} instead."
            raise ValueError(msg) from error


def restore(classifier: NetworkClassifier, path: str | os.PathLike) -> NetworkClassifier:
    """Give a classifier the weights of a checkpoint; see `NetworkClassifier.load_checkpoint`."""
    classifier._plan()  # checks the parameters
    path = Path(path).expanduser()
    path = path / FILE if path.is_dir() else path
    state, run = read_checkpoint(path)
    classes = np.asarray(run["classes"])
    network = classifier._network_like(run["network"])
    fixed = {**network.describe(len(classes)), "classes": classes.tolist()}
    now = json.loads(json.dumps(plain(fixed)))
    changed = [name for name in now if now[name] != run.get(name)]
    if changed:
        changes = ", ".join(describe_change(name, run.get(name), now[name]) for name in changed)
        raise CheckpointError(f"{path} is a checkpoint of another classifier: {changes}; set that back")
    weights = network.weights_of(state, len(classes))
    classifier.classes_, classifier.history_, classifier._weights = classes, state.history, weights
    classifier.__dict__.pop("validation_indices_", None)  # a checkpoint does not have them
    classifier._left = int(run["seed"]), fixed, state
    classifier._note_fitted(network)
    return classifier


def score_checkpoints(classifier: NetworkClassifier, X: Any, y: Any, directory: Any) -> ScoreTable:
    """Return the accuracy of each state that was kept; see `NetworkClassifier.checkpoint_scores`."""
    if directory is None:
        raise ValueError("there is no directory of checkpoints; give one as 'directory', or set 'checkpoint_dir'")
    folder = Path(directory).expanduser()
    kept = kept_states(folder) if folder.is_dir() else []
    if not kept:
        msg = f"no states of a training were kept in {folder}"
        raise ValueError(f"{msg}; fit with keep_checkpoints='all' and that folder as checkpoint_dir")
    images = check_images(X, y)
    has_phases = len({each.phase for each in kept}) > 1
    rows, rankings = [], []
    for each in kept:
        fitted = restore(copy.copy(classifier), each.path)
        probabilities = fitted.predict_proba(images)
        refuse_rows_of_nan(probabilities, images)
        rankings.append(rank_true_labels(y, probabilities, fitted.classes_))
        rows.append(f"{each.phase} {each.epoch}" if has_phases else each.epoch)
    ranks = [1, 5] if len(rankings[0].classes) > 5 else [1]
    columns = {f"rank-{k}": [accuracy_within(k, ranking, None) for ranking in rankings] for k in ranks}
    return ScoreTable(rows, columns)
