"""`AugmentationDisplay`: an image, and the views that training sees of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from skcnn._optional import check_matplotlib
from skcnn._validation import check_int, check_size
from skcnn.images import Augmentation, ResizeCrop, as_image_sequence
from skcnn.images._augmentation import check_levels_of

COLUMNS = 6
INCHES = 6.5 / COLUMNS  # of each picture


class AugmentationDisplay:
    """An image as a network gets it without augmentation, and views of it.

    `from_image` makes one. `plot` draws it again.

    Parameters
    ----------
    image : ndarray of shape (height, width, 1 | 3)
        Levels in [0, 255].
    views : ndarray of shape (n_views, height, width, 1 | 3)

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
    axes_ : ndarray of shape (1 + n_views,)
        Of the image and of its views.

    Examples
    --------
    >>> from skcnn import Augmentation
    >>> from skcnn.inspection import AugmentationDisplay
    >>> display = AugmentationDisplay.from_image("daisy.jpg", Augmentation(rotation=20))  # doctest: +SKIP
    >>> display.figure_.savefig("augmentation.png")  # doctest: +SKIP
    """

    def __init__(self, image: np.ndarray, views: np.ndarray):
        self.image = image
        self.views = views

    @classmethod
    def from_image(
        cls, image: Any, augmentation: Augmentation, *, n_views: int = 11, size: int | tuple[int, int] = 224
    ) -> AugmentationDisplay:
        """Plot an image, and the first views that a training with stored views sees of it.

        Parameters
        ----------
        image : path, bytes or ndarray of shape (height, width, 1 | 3)
        augmentation : skcnn.Augmentation
        n_views : int, default=11
        size : int or (int, int), default=224
            Height and width in pixels that the network takes.

        Returns
        -------
        AugmentationDisplay

        Raises
        ------
        ImageReadError
            When the image cannot be read.
        ImportError
            When matplotlib is not installed.
        """
        if not isinstance(augmentation, Augmentation):
            raise TypeError(f"augmentation must be a skcnn.Augmentation; got {augmentation!r}")
        check_int("n_views", n_views)
        height, width = check_size("size", size)
        images = as_image_sequence([image])
        check_levels_of(images, augmentation)
        views = images.with_step(augmentation.views(n_views, (height, width))).with_views_apart()
        return cls(images.with_step(ResizeCrop(height, width))[0], np.asarray(views)).plot()

    def plot(self) -> AugmentationDisplay:
        """Plot the image and its views in a new figure.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            When matplotlib is not installed.
        """
        check_matplotlib("AugmentationDisplay")
        import matplotlib.pyplot as plt

        pictures = [self.image, *self.views]
        columns = min(COLUMNS, len(pictures))
        rows = -(-len(pictures) // columns)
        size = INCHES * columns, (INCHES + 0.2) * rows
        self.figure_, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
        self.axes_ = axes.ravel()[: len(pictures)]
        for axis in axes.ravel():
            axis.set_axis_off()
        for number, (axis, picture) in enumerate(zip(self.axes_, pictures, strict=True)):
            levels = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
            axis.imshow(np.broadcast_to(levels, (*levels.shape[:2], 3)))
            axis.set_title(f"view {number}" if number else "without", fontsize="small")
        return self
