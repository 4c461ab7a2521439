"""`fine_tuning_recipe`: the settings that do well on small sets of photographs, as one classifier."""

from __future__ import annotations

from typing import Any

from skcnn.classifiers._fine_tuned import FineTunedCNNClassifier
from skcnn.classifiers._ten_crop import TenCropClassifier
from skcnn.images import Augmentation
from skcnn.training import LinearHead


def fine_tuning_recipe(
    backbone: Any = "efficientnet_lite0", *, horizontal_flip: bool = True, **parameters: Any
) -> TenCropClassifier | FineTunedCNNClassifier:
    """Make a classifier for up to a few thousand photographs: augmentation, a deep cut, a schedule, mirror images.

    Ten random views of each image are taken through the frozen layers once and stored, so a fit takes minutes on a
    processor, and a later one on the same images less. It says how many passes that are, and how much is stored, before
    it begins.

    Parameters
    ----------
    backbone : str, path or keras.Model, default="efficientnet_lite0"
        As for `FineTunedCNNClassifier`.
    horizontal_flip : bool, default=True
        Whether the mirror image of an image is of the same class. False for letters, digits, road signs, left and right
        hands.
    **parameters
        Of `FineTunedCNNClassifier`, in place of those of the recipe; such as ``checkpoint_dir="run"``, from where a fit
        goes on after it was ended, with curves to look at while it runs, or ``random_state=0``, ``epochs=40``.

    Returns
    -------
    TenCropClassifier or FineTunedCNNClassifier
        Not fitted. With ``horizontal_flip=True`` each image is averaged with its mirror image when it is predicted, by
        a `TenCropClassifier` around the network. Give either photographs that were not resized before.

    Notes
    -----
    ``benchmarks/bench_accuracy.py`` compares it with the linear probe, on photographs and on digits.

    Examples
    --------
    >>> from skcnn import fine_tuning_recipe
    >>> clf = fine_tuning_recipe(checkpoint_dir="run", random_state=0)
    >>> clf.crop_size, clf.estimator.unfreeze
    ((224, 224), 10)
    >>> fine_tuning_recipe(horizontal_flip=False).augmentation.horizontal_flip
    False
    """
    augmentation = Augmentation(
        rotation=20,
        width_shift=0,
        height_shift=0,
        shear=0,
        zoom=0,
        crop=(0.5, 1),
        horizontal_flip=horizontal_flip,
        brightness=20,
        contrast=0.2,
    )
    recipe = {
        "unfreeze": 10,
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "shrinkage": None,
        "label_smoothing": 0.1,
        "head": LinearHead(dropout=0.3),
        "augmentation": augmentation,
        "augmented_views": 10,
        "verbose": 1,
    }
    clf = FineTunedCNNClassifier(backbone, **{**recipe, **parameters})
    if not horizontal_flip:
        return clf
    size = clf._frozen_network().input_shape[:2]
    return TenCropClassifier(clf, resize=size, crop_size=size)
