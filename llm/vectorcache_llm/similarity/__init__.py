"""Similarity indexes: the most similar entries of a partition.

What lives here: the interface (``base``), indexes in process (``local``, and ``disk``, which keeps them in a store),
on servers (``redis``, ``qdrant``, ``router``), and snapshots. What never does: embedding, thresholds, replies.
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
    """Make an index by its name in ``INDEXES``, with its constructor's settings; it is not opened yet.

    Raises:
        InvalidInput: there is no index of this name.
        MissingExtra: what it needs is not installed.
    """
    try:
        kind = INDEXES[name]
    except KeyError:
        raise InvalidInput("index", name, ", ".join(INDEXES)) from None
    return kind(**settings)
