"""Classifiers behind a step with ``on_error="nan"``: rows of NaN in `predict_proba`, and no label that was made up."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from skcnn import AspectAwareResize, CNNEnsembleClassifier, FineTunedCNNClassifier, TenCropClassifier
from skcnn.exceptions import ImageReadError

LABELS = ["ant", "bee", "cow"] * 4
TRAINED = {"epochs": 1, "random_state": 0}
KINDS = {
    "the head": lambda model: FineTunedCNNClassifier(model, unfreeze=0, **TRAINED),
    "the top": lambda model: FineTunedCNNClassifier(model, unfreeze=1, **TRAINED),
    "all, on pixels of uint8": lambda model: FineTunedCNNClassifier(model, unfreeze="all", **TRAINED),
    "not kept": lambda model: FineTunedCNNClassifier(model, unfreeze=1, cache=None, **TRAINED),
    "an ensemble": lambda model: CNNEnsembleClassifier(FineTunedCNNClassifier(model, unfreeze=1, **TRAINED), 2),
    "a soup": lambda model: CNNEnsembleClassifier(
        FineTunedCNNClassifier(model, unfreeze=1, **TRAINED), 2, method="soup", validation_fraction=0.3
    ),
    "crops": lambda model: TenCropClassifier(
        FineTunedCNNClassifier(model, unfreeze=1, **TRAINED), resize=16, crop_size=12
    ),
    "the likeliest crop": lambda model: TenCropClassifier(
        FineTunedCNNClassifier(model, unfreeze=1, **TRAINED), resize=16, crop_size=12, average="max"
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:.*may be|the members are all the same:UserWarning")
def test_rows_of_nan_and_no_label(kind, tiny_model, files, tmp_path):
    clf = make_pipeline(AspectAwareResize(16, on_error="nan"), KINDS[kind](tiny_model)).fit(files, LABELS)
    expected = clf.predict_proba(files)
    assert np.isfinite(expected).all()
    (tmp_path / "note.png").write_text("no image")
    paths = [*files[:5], str(tmp_path / "note.png"), *files[5:], str(tmp_path / "gone.png")]
    found = clf.predict_proba(paths)
    assert np.flatnonzero(np.isnan(found).all(axis=1)).tolist() == [5, 13]
    np.testing.assert_allclose(np.delete(found, [5, 13], axis=0), expected, atol=1e-6)
    with pytest.raises(ImageReadError, match=r"^2 of 14 images cannot be classified:\n  \[5\] .*note.png: ") as caught:
        clf.predict(paths)
    assert list(caught.value.failures) == [5, 13]
    assert "predict_proba gives rows of NaN" in str(caught.value)
    with pytest.raises(ImageReadError, match=r"1 of 2 images"):
        clf.score([files[0], str(tmp_path / "gone.png")], LABELS[:2])


def test_scores_of_members_are_not_those_of_labels_that_were_made_up(tiny_model, files, tmp_path):
    tuned = make_pipeline(AspectAwareResize(16, on_error="nan"), KINDS["the top"](tiny_model))
    clf = CNNEnsembleClassifier([("a", tuned), ("b", tuned)]).fit(files, LABELS)
    paths = [*files[:-1], str(tmp_path / "gone.png")]
    with pytest.raises(ImageReadError, match=r"1 of 12 images cannot be classified"):
        clf.member_scores(paths, LABELS)
