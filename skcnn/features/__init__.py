"""Features: extraction through the cache, and the estimator over it."""

from skcnn.cache._stored_features import StoredFeatures
from skcnn.features._extract import extract
from skcnn.features._extractor import CNNFeatureExtractor
from skcnn.features._trunk import RawPixels, Trunk

__all__ = ["CNNFeatureExtractor", "RawPixels", "StoredFeatures", "Trunk", "extract"]
