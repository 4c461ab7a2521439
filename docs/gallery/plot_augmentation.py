"""
Augmentation
============

The views of an image that a network is trained on, for several settings of
`Augmentation`.
"""

from pathlib import Path

import sklearn.datasets

from skcnn import Augmentation, AugmentationDisplay

photo = Path(sklearn.datasets.__file__).parent / "images" / "flower.jpg"

# %%
# The defaults: turned, moved, sheared, zoomed, mirrored. What moves in is filled with
# the nearest pixels.

AugmentationDisplay.from_image(photo, Augmentation())

# %%
# The recipe for photographs: random boxes of half the area to all of it, a little
# rotation, light and contrast.

recipe = Augmentation(
    rotation=20,
    width_shift=0,
    height_shift=0,
    shear=0,
    zoom=0,
    crop=(0.5, 1),
    brightness=20,
    contrast=0.2,
)
AugmentationDisplay.from_image(photo, recipe)

# %%
# For what has no up and down and no colour that counts, such as photographs through a
# microscope.

AugmentationDisplay.from_image(
    photo, Augmentation(rotation=180, vertical_flip=True, channel_shift=30, shear=0)
)
