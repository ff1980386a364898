"""Construction of stores and indexes by name, each with file or key names of its cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vectorcache_llm.config.settings import Settings
from vectorcache_llm.embedders.base import Embedder
from vectorcache_llm.kv import KeyValueStore, MemoryStore, RedisStore, SQLiteStore
from vectorcache_llm.metrics import Metrics
from vectorcache_llm.similarity import (
    MemoryIndex,
    QdrantIndex,
    RedisSearchIndex,
    RedisVectorSetIndex,
    RouterIndex,
    SimilarityIndex,
)
from vectorcache_llm.similarity.disk import DiskIndex


@dataclass(frozen=True, slots=True)
class Parts:
    """Factory of stores and indexes. Each cache gets separate files and key names, so entries never mix."""

    settings: Settings
    folder: Path
    embedder: Embedder
    metrics: Metrics
    clock: Callable[[], float]

    def store(self, name: str, cache: str) -> KeyValueStore:
        """Return the store for a name in ``StoreName``."""
        return _STORES[name](self, cache)

    def index(self, name: str, cache: str) -> SimilarityIndex:
        """Return the index for a name in ``TierName``."""
        return _INDEXES[name](self, cache)

    def _memory_store(self, cache: str) -> KeyValueStore:
        limits = self.settings.limits
        return MemoryStore(limits.entries, limits.bytes, clock=self.clock)

    def _disk_store(self, cache: str) -> KeyValueStore:
        limits = self.settings.limits
        return SQLiteStore(self.folder / f"{cache}.db", limits.entries, limits.bytes, clock=self.clock)

    def _redis_store(self, cache: str) -> KeyValueStore:
        redis = self.settings.redis
        return RedisStore(redis.url, f"{redis.prefix}-{cache}", deadline=redis.deadline, clock=self.clock)

    def _memory_index(self, cache: str, tier: str = "memory") -> SimilarityIndex:
        limits = self.settings.limits
        return MemoryIndex(
            self.embedder.fingerprint,
            self.embedder.dimension,
            max_entries=limits.entries,
            max_bytes=limits.bytes,
            clock=self.clock,
            on_removed=lambda count, reason: self.metrics.removed(cache, tier, count, reason),
        )

    def _disk_index(self, cache: str) -> SimilarityIndex:
        return DiskIndex(self._memory_index(cache, "disk"), self._disk_store(f"{cache}-index"))

    def _redis_index(self, cache: str) -> SimilarityIndex:
        return self._on_redis(RedisSearchIndex, cache)

    def _vector_set_index(self, cache: str) -> SimilarityIndex:
        return self._on_redis(RedisVectorSetIndex, cache)

    def _on_redis(self, kind: type[RedisSearchIndex | RedisVectorSetIndex], cache: str) -> SimilarityIndex:
        redis, embedder = self.settings.redis, self.embedder
        return kind(
            redis.url,
            embedder.fingerprint,
            embedder.dimension,
            prefix=f"{redis.prefix}-{cache}-index",
            deadline=redis.deadline,
            clock=self.clock,
        )

    def _qdrant_index(self, cache: str) -> SimilarityIndex:
        qdrant, embedder = self.settings.qdrant, self.embedder
        return QdrantIndex(
            qdrant.url,
            embedder.fingerprint,
            embedder.dimension,
            collection=f"{qdrant.prefix}-{cache}",
            deadline=qdrant.deadline,
            clock=self.clock,
            api_key=qdrant.api_key or None,
        )

    def _router_index(self, cache: str) -> SimilarityIndex:
        router, embedder = self.settings.router, self.embedder
        return RouterIndex(
            router.url,
            router.collection,
            embedder.fingerprint,
            embedder.dimension,
            deadline=router.deadline,
            clock=self.clock,
        )


_STORES = {"memory": Parts._memory_store, "disk": Parts._disk_store, "redis": Parts._redis_store}
_INDEXES = {
    "memory": Parts._memory_index,
    "disk": Parts._disk_index,
    "redis": Parts._redis_index,
    "redis-vectorset": Parts._vector_set_index,
    "qdrant": Parts._qdrant_index,
    "router": Parts._router_index,
}
