"""The layers of a cache, each cheaper, larger and slower than the one above, and the cache made of them.

This package decides where a value is stored, loaded from and dropped. It does not contain the access to a medium
(``vectorcache.stores``), the format of the values (defined by a ``Codec``), or any server.
"""

from vectorcache.layers.base import LOAD_TIME_BOUNDS, CacheLayer, LayerStats, LoadTimes
from vectorcache.layers.blob import BlobLayer
from vectorcache.layers.codec import BytesCodec, Codec
from vectorcache.layers.disk import DiskLayer
from vectorcache.layers.diskfile import file_weight
from vectorcache.layers.memory import MemoryLayer
from vectorcache.layers.nlayer import Loaded, NLayerCache
from vectorcache.layers.storage import EfficientVectorStorage

__all__ = [
    "LOAD_TIME_BOUNDS",
    "BlobLayer",
    "BytesCodec",
    "CacheLayer",
    "Codec",
    "DiskLayer",
    "EfficientVectorStorage",
    "LayerStats",
    "LoadTimes",
    "Loaded",
    "MemoryLayer",
    "NLayerCache",
    "file_weight",
]
