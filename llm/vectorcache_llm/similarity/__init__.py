"""Similarity indexes, which find the most similar entries of a partition.

This package contains the interface (``base``), in-process indexes (``local``, and ``disk``, which persists one in a
store), indexes on servers (``redis``, ``qdrant``, ``router``), and snapshots. It does not contain embedding, thresholds
or replies.
"""

from __future__ import annotations

from typing import Any

from vectorcache.errors import InvalidInput
from vectorcache_llm.similarity.base import (
    IndexEntry,
    IndexStats,
    Lookup,
    Match,
    Partition,
    SimilarityIndex,
)
from vectorcache_llm.similarity.disk import DiskIndex
from vectorcache_llm.similarity.local.faiss import FaissIndex
from vectorcache_llm.similarity.local.memory import MemoryIndex
from vectorcache_llm.similarity.qdrant import QdrantIndex
from vectorcache_llm.similarity.redis.search import RedisSearchIndex
from vectorcache_llm.similarity.redis.vectorset import RedisVectorSetIndex
from vectorcache_llm.similarity.router import RouterIndex, collection_table
from vectorcache_llm.similarity.snapshot import Snapshot, load_snapshot, save_snapshot

__all__ = [
    "INDEXES",
    "DiskIndex",
    "FaissIndex",
    "IndexEntry",
    "IndexStats",
    "Lookup",
    "Match",
    "MemoryIndex",
    "Partition",
    "QdrantIndex",
    "RedisSearchIndex",
    "RedisVectorSetIndex",
    "RouterIndex",
    "SimilarityIndex",
    "Snapshot",
    "collection_table",
    "load_snapshot",
    "open_index",
    "save_snapshot",
]

INDEXES: dict[str, type[SimilarityIndex]] = {
    "memory": MemoryIndex,
    "faiss": FaissIndex,
    "redis": RedisSearchIndex,
    "redis-vectorset": RedisVectorSetIndex,
    "qdrant": QdrantIndex,
    "router": RouterIndex,
}


def open_index(name: str, **settings: Any) -> SimilarityIndex:
    """Construct an index by its name in ``INDEXES``, with the arguments of its class. The caller opens it.

    Raises:
        InvalidInput: there is no index of this name.
        MissingExtra: an optional dependency of the index is not installed.
    """
    try:
        kind = INDEXES[name]
    except KeyError:
        raise InvalidInput("index", name, ", ".join(INDEXES)) from None
    return kind(**settings)
