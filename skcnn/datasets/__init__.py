"""Load image data sets: a folder per class, tables in CSV or JSON, and scikit-learn's digits as image files."""

from skcnn.datasets._digits import load_digits_images
from skcnn.datasets._folder import find_images, load_image_folder
from skcnn.datasets._tables import load_image_csv, load_image_json

__all__ = ["find_images", "load_digits_images", "load_image_csv", "load_image_folder", "load_image_json"]
