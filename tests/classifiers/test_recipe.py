"""The recipe for small data sets as one call."""

from __future__ import annotations

import pytest
from sklearn.base import clone

from skcnn import CNNClassifier, FineTunedCNNClassifier, TenCropClassifier, fine_tuning_recipe, from_scratch_recipe

LABELS = ["ant", "bee", "cow"] * 4


def test_photographs_are_averaged_with_their_mirror_images(tiny_model, files, tmp_path):
    clf = fine_tuning_recipe(tiny_model, unfreeze=1, epochs=2, verbose=0, checkpoint_dir=tmp_path, random_state=0)
    assert isinstance(clf, TenCropClassifier)
    assert (clf.resize, clf.crop_size) == ((16, 16), (16, 16))
    assert clf.estimator.augmentation.horizontal_flip is True
    assert clone(clf).fit(files, LABELS).predict(files).shape == (12,)
    assert {"checkpoint.npz", "history.json"} <= {path.name for path in tmp_path.iterdir()}


def test_where_a_mirror_image_is_of_another_class_nothing_is_mirrored():
    clf = fine_tuning_recipe(horizontal_flip=False, epochs=40)
    assert isinstance(clf, FineTunedCNNClassifier)
    assert clf.augmentation.horizontal_flip is False
    assert (clf.epochs, clf.unfreeze, clf.schedule, clf.augmented_views) == (40, 10, "cosine", 10)


def test_other_parameters_and_sizes():
    clf = fine_tuning_recipe(input_size=(96, 128), unfreeze="all", augmentation=None)
    assert clf.crop_size == (96, 128)
    assert clf.estimator.unfreeze == "all"
    assert clf.estimator.augmentation is None
    with pytest.raises(TypeError, match="unfreze"):
        fine_tuning_recipe(unfreze=4)


def test_from_random_weights(files, tmp_path):
    settings = {"epochs": 2, "batch_size": 4, "verbose": 0, "checkpoint_dir": tmp_path, "random_state": 0}
    clf = from_scratch_recipe(input_size=(16, 24), **settings)
    assert isinstance(clf, TenCropClassifier)
    assert clf.crop_size == (16, 24)
    assert (clf.estimator.augmentation.width_shift, clf.estimator.augmentation.horizontal_flip) == (1, "alternate")
    assert clone(clf).fit(files, LABELS).predict(files).shape == (12,)
    assert {"checkpoint.npz", "history.json"} <= {path.name for path in tmp_path.iterdir()}


def test_from_random_weights_where_a_mirror_image_is_of_another_class():
    clf = from_scratch_recipe("lenet", input_size=64, horizontal_flip=False, epochs=40)
    assert isinstance(clf, CNNClassifier)
    assert (clf.architecture, clf.input_size, clf.epochs) == ("lenet", 64, 40)
    assert (clf.augmentation.height_shift, clf.augmentation.horizontal_flip) == (4, False)
    with pytest.raises(ValueError, match="'input_size'"):
        from_scratch_recipe(input_size=0)
