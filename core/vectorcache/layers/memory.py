"""The fastest layer: decoded values in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from vectorcache.layers.base import CacheLayer, LayerStats
from vectorcache.layers.counters import Counters
from vectorcache.lru import LRU, Removal

V = TypeVar("V")


class MemoryLayer(CacheLayer[V], Generic[V]):
    """Layer of decoded values in an LRU. ``get_cached`` finds every value that ``get`` finds.

    The layer takes ownership of the LRU and of its removal callback. A value that is larger than the whole capacity
    is not stored, and an older value of its key is removed.
    """

    def __init__(self, lru: LRU[str, V], *, name: str = "memory") -> None:
        self._lru = lru
        self._lru.on_removal = self._removed
        self._name = name
        self._counters = Counters()

    async def open(self) -> None:
        """See ``CacheLayer.open``."""

    async def close(self) -> None:
        """Drop all values."""
        self._lru.clear()

    def get_cached(self, keys: Iterable[str]) -> dict[str, V]:
        """See ``CacheLayer.get_cached``."""
        found = self._lru.get_many(keys)
        self._counters.hits += len(found)
        return found

    async def get(self, key: str) -> V | None:
        """See ``CacheLayer.get``."""
        value = self._lru.get(key)
        self._counters.found(value)
        return value

    async def put(self, key: str, value: V) -> V:
        """Store a value, unless it is larger than the whole capacity."""
        self._lru.put(key, value)
        return value

    async def delete(self, key: str) -> bool:
        """See ``CacheLayer.delete``."""
        return self._lru.delete(key)

    async def contains(self, key: str) -> bool:
        """See ``CacheLayer.contains``."""
        return key in self._lru

    def stats(self) -> LayerStats:
        """Return a snapshot of the layer's counters. There are no load times, because no read waits."""
        return self._counters.stats(
            self._name, items=len(self._lru), bytes=self._lru.bytes, capacity_bytes=self._lru.max_bytes
        )

    def _removed(self, key: str, value: V, reason: Removal) -> None:
        if reason is Removal.EVICTED:
            self._counters.evictions += 1
