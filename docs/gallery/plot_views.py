"""
Steps and ten crops
===================

What the steps of `skcnn.images` do to a photograph, and the ten crops that
`TenCropClassifier` averages over.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import sklearn.datasets

from skcnn.images import FlipHorizontal, ResizeCrop, TenCrop, ToGrey, as_image_sequence

photo = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"
images = as_image_sequence([photo])

# %%
# A network takes a square: the image is shrunk until it covers it, and the middle is
# cut out. Nothing is distorted.

square = images.with_step(ResizeCrop(224, 224))
steps = {
    "the photograph": images,
    "ResizeCrop": square,
    "FlipHorizontal": square.with_step(FlipHorizontal()),
    "ToGrey": square.with_step(ToGrey()),
}
figure, axes = plt.subplots(
    1, 4, figsize=(6.5, 1.8), layout="constrained", width_ratios=[1.5, 1, 1, 1]
)
for axis, (name, changed) in zip(axes, steps.items(), strict=True):
    axis.imshow(changed[0], cmap="gray")
    axis.set_title(name, fontsize="small")
    axis.set_axis_off()

# %%
# Ten crops of one image: the four corners and the centre, and the same mirrored. The
# image is decoded once for all.

crops = images.with_step(ResizeCrop(256, 256)).with_step(TenCrop(160, 160))
figure, axes = plt.subplots(2, 5, figsize=(6.5, 2.8), layout="constrained")
for axis, crop in zip(axes.flat, crops[0], strict=True):
    axis.imshow(crop)
    axis.set_axis_off()
