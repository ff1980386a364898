"""The VectorCache library: search over vector collections that are kept in blob storage and are larger than memory.

It contains stores (files, blobs), cache layers, the chunk index and its build, the hash ring and routers, and the
types of the HTTP APIs. It contains no server, no client and nothing of Kubernetes. Every public name can be imported
from here. Building a collection needs the extra ``vectorcache[build]``, and Azure needs ``vectorcache[azure]``.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.2.0"

_PUBLIC = {
    "errors": "Conflict CorruptData DeadlineExceeded InvalidInput NotFound Overloaded Unavailable VectorCacheError",
    "lru": "LRU Removal",
    "vectors.metric": "Cosine DotProduct Euclidean Metric",
    "vectors.exact": "ExactVectorSearch SearchResult VectorSearch",
    "index.scan": "CellScan NumpyScan",
    "index.chunk": "Chunk ChunkCodec",
    "stores": (
        "Blob BlobInfo BlobStore DiskFileStore FileInfo FileStore FolderBlobStore MemoryBlobStore MemoryFileStore"
        " RetryPolicy RetryingBlobStore open_blob_store"
    ),
    "stores.azure": "AzureBlobStore",
    "layers": (
        "BlobLayer BytesCodec CacheLayer Codec DiskLayer EfficientVectorStorage LayerStats LoadTimes Loaded"
        " MemoryLayer NLayerCache"
    ),
    "index.build": "BuildResult build_collection",
    "index.catalog": "Catalog VersionInfo",
    "index.chunk_index": "ChunkIndex",
    "index.coarse": "CoarseQuantizer load_coarse",
    "index.layout": "BuildSettings",
    "index.manifest": "Calibration Manifest Tradeoff",
    "index.node": "LocalNode SearchNode",
    "index.options": "SearchLimits SearchOptions",
    "index.progress": "Progress progress_bars",
    "index.query": "Answer CellAnswer CellQuery Hits StoredVector",
    "index.sources": "Columns",
    "index.versions": "Versions",
    "routing.ring": "HashRing",
    "routing.router": "RingRouter Router",
    "routing.scatter": "ScatterSearch",
    "routing.batcher": "Batcher",
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names.split()}

__all__ = sorted([*_MODULE_OF, "__version__"])


def __getattr__(name: str) -> Any:
    """Import a public name on first use: a node needs neither faiss nor the Azure SDK."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
