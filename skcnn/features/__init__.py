"""Features: the store of activations, extraction through it, and the estimator over both."""

from skcnn.features._extractor import CNNFeatureExtractor
from skcnn.features._store import CacheInfo, FeatureStore

__all__ = ["CNNFeatureExtractor", "CacheInfo", "FeatureStore"]
