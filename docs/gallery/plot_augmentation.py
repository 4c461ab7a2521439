"""
Augmentation
============

The views of an image that a network is trained on, for several settings of
`Augmentation`.
"""

from pathlib import Path

import sklearn.datasets

from skcnn import Augmentation, AugmentationDisplay, fine_tuning_recipe

photo = Path(sklearn.datasets.__file__).parent / "images" / "flower.jpg"

# %%
# The defaults: turned, moved, sheared, zoomed, mirrored. What moves in is filled with
# the nearest pixels.

AugmentationDisplay.from_image(photo, Augmentation())

# %%
# The recipe for photographs: random boxes of half the area to all of it, a little
# rotation, light and contrast.

recipe = fine_tuning_recipe().estimator.augmentation
print(recipe)
AugmentationDisplay.from_image(photo, recipe)

# %%
# For what has no up and down and no colour that counts, such as photographs through a
# microscope.

AugmentationDisplay.from_image(
    photo, Augmentation(rotation=180, vertical_flip=True, channel_shift=30, shear=0)
)
