"""VectorCache, the library: search over vector collections that live in blob storage and outgrow memory.

What lives here: stores (files, blobs), cache layers, the chunk index and its build, the hash ring and routers, the
types of the HTTP APIs. What never does: a server, a client, Kubernetes. Every public name is importable from here;
building a collection needs the extra ``vectorcache[build]``, Azure ``vectorcache[azure]``.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

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
    """Import a public name when it is first asked for: a node needs neither faiss nor what Azure needs."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
