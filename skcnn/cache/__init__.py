"""The store: features of images on disk, under the digests of the images' bytes."""

from skcnn.cache._contents import CacheEntry
from skcnn.cache._directory import default_cache_dir
from skcnn.cache._feature_cache import FeatureCache
from skcnn.cache._manifest import Label
from skcnn.cache._store import CacheInfo, FeatureStore

__all__ = ["CacheEntry", "CacheInfo", "FeatureCache", "FeatureStore", "Label", "default_cache_dir"]
