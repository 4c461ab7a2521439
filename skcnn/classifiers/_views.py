"""Images as a classifier takes them: one view of each."""

from __future__ import annotations

from typing import Any

from skcnn.images._sequence import ImageSequence
from skcnn.images._transformer import check_images


def check_one_view(X: Any, y: Any = None) -> ImageSequence:
    """Return `X` as an `ImageSequence` of one view of each image.

    Raises
    ------
    ValueError
        When `X` holds no images, `y` is of another length, or there are several views and none is chosen.
    """
    images = check_images(X, y)
    if images.n_views > 1 and images.picks is None:
        msg = f"a step makes {images.n_views} views of each image; choose the one to classify: images.with_view(0)"
        raise ValueError(msg)
    return images


def check_not_views(images: ImageSequence, augmentation: Any) -> None:
    """Refuse to augment images that a step already makes several views of."""
    if augmentation is not None and images.n_views > 1:
        msg = f"a step already makes {images.n_views} views of each image"
        raise ValueError(f"{msg}; give the images themselves, or augmentation=None")
