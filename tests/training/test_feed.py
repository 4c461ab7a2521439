import numpy as np
import pytest

from skcnn import AspectAwareResize, Augmentation
from skcnn.images import as_image_sequence
from skcnn.training._feed import size_to_warp_from

PIXELS = np.zeros((3, 20, 24, 3), np.uint8)


@pytest.mark.parametrize(
    ("images", "settings", "expected"),
    [
        # In memory already.
        (PIXELS, {}, None),
        # Of one size: stored as they are.
        ("resized", {"crop": (0.5, 1)}, (30, 30)),
        # Files of other sizes: as large as the largest zoom needs, if they are that large.
        ("files", {"zoom": 0.25}, (20, 20)),
        ("files", {"zoom": 0.5}, (24, 24)),
        ("files", {"zoom": (1, 4)}, None),
        ("files", {"crop": (0.5, 1)}, None),
    ],
)
def test_the_size_that_views_are_warped_from(images, settings, expected, image_paths):
    sources = {"resized": AspectAwareResize(30).transform(image_paths), "files": image_paths}
    images = as_image_sequence(sources[images] if isinstance(images, str) else images)
    assert size_to_warp_from(images, Augmentation(**settings).views(1, (16, 16))) == expected
