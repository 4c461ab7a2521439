"""Load image data sets: a folder per class, tables in CSV or JSON, packed HDF5 files, scikit-learn's digits."""

from skcnn.datasets._digits import load_digits_images
from skcnn.datasets._folder import find_images, load_image_folder
from skcnn.datasets._open_hdf5 import open_hdf5
from skcnn.datasets._pack import pack_hdf5
from skcnn.datasets._tables import load_image_csv, load_image_json

__all__ = [
    "find_images",
    "load_digits_images",
    "load_image_csv",
    "load_image_folder",
    "load_image_json",
    "open_hdf5",
    "pack_hdf5",
]
