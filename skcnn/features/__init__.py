"""Features: extraction through the cache, and the estimator over it."""

from skcnn.features._extractor import CNNFeatureExtractor

__all__ = ["CNNFeatureExtractor"]
