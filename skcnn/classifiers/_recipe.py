"""The settings that do well: for fine-tuning on small sets of photographs, and for networks from random weights."""

from __future__ import annotations

from typing import Any

from skcnn._validation import check_size
from skcnn.classifiers._cnn import CNNClassifier
from skcnn.classifiers._fine_tuned import FineTunedCNNClassifier
from skcnn.classifiers._ten_crop import TenCropClassifier
from skcnn.images import Augmentation
from skcnn.training import LinearHead, OneCycle


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
    augmentation = Augmentation.only(
        rotation=20, crop=(0.5, 1), horizontal_flip=horizontal_flip, brightness=20, contrast=0.2
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


# A picture is moved by up to one pixel for so many of its shorter side.
PIXELS_FOR_A_SHIFT = 16


def from_scratch_recipe(
    architecture: Any = "whitened_vgg",
    *,
    input_size: int | tuple[int, int] = 32,
    horizontal_flip: bool = True,
    **parameters: Any,
) -> TenCropClassifier | CNNClassifier:
    """Make a classifier that trains a small network from random weights, in 30 epochs.

    It does much of what the fastest trainings of CIFAR-10 do: a network that whitens the image first, a learning rate
    that rises and falls once, smoothed labels, pictures that are moved by whole pixels and mirrored in every other
    epoch.

    Parameters
    ----------
    architecture : str, callable, Architecture or keras.Model, default="whitened_vgg"
        As for `CNNClassifier`.
    input_size : int or (int, int), default=32
        Height and width in pixels. An epoch takes four times as long for twice of both.
    horizontal_flip : bool, default=True
        Whether the mirror image of an image is of the same class. False for letters, digits, road signs, left and right
        hands.
    **parameters
        Of `CNNClassifier`, in place of those of the recipe; such as ``epochs=100``, ``random_state=0``, or
        ``checkpoint_dir="run"``, from where a fit goes on after it was ended.

    Returns
    -------
    TenCropClassifier or CNNClassifier
        Not fitted. With ``horizontal_flip=True`` each image is averaged with its mirror image when it is predicted, by
        a `TenCropClassifier` around the network.

    See Also
    --------
    fine_tuning_recipe : Begins with a network that was trained on other images.

    Notes
    -----
    ``benchmarks/bench_scratch_accuracy.py`` compares it with the published training of MiniVGGNet.

    Source: Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, arXiv 2404.00498.

    Examples
    --------
    >>> from skcnn import from_scratch_recipe
    >>> clf = from_scratch_recipe(input_size=64, epochs=50, random_state=0)
    >>> clf.crop_size, clf.estimator.architecture
    ((64, 64), 'whitened_vgg')
    >>> from_scratch_recipe(horizontal_flip=False).augmentation.horizontal_flip
    False
    """
    size = check_size("input_size", input_size)
    shift = max(1, round(min(size) / PIXELS_FOR_A_SHIFT))
    augmentation = Augmentation.only(
        width_shift=shift,
        height_shift=shift,
        horizontal_flip="alternate" if horizontal_flip else False,
        fill_mode="reflect",
    )
    recipe = {
        "epochs": 30,
        "learning_rate": 1e-2,
        "schedule": OneCycle(warmup=0.25, start=0.2, final=0.0),
        "label_smoothing": 0.2,
        "augmentation": augmentation,
        "batch_size": 128,
    }
    clf = CNNClassifier(architecture, input_size=input_size, **{**recipe, **parameters})
    return TenCropClassifier(clf, resize=size, crop_size=size) if horizontal_flip else clf
