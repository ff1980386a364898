"""The fastest layer: decoded values in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from vectorcache.layers.base import CacheLayer, LayerStats
from vectorcache.layers.counters import Counters
from vectorcache.lru import LRU, Removal

V = TypeVar("V")


class MemoryLayer(CacheLayer[V], Generic[V]):
    """Values as they are, in an LRU. Nothing here waits: ``get_cached`` finds whatever ``get`` finds.

    The LRU belongs to this layer from now on, its removal callback too. A value that outweighs the whole
    capacity is not kept, and an older value of its key is gone.
    """

    def __init__(self, lru: LRU[str, V], *, name: str = "memory") -> None:
        self._lru = lru
        self._lru.on_removal = self._removed
        self._name = name
        self._counters = Counters()

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Drop everything."""
        self._lru.clear()

    def get_cached(self, keys: Iterable[str]) -> dict[str, V]:
        """Those that are there."""
        found = self._lru.get_many(keys)
        self._counters.hits += len(found)
        return found

    async def get(self, key: str) -> V | None:
        """The value, or None."""
        value = self._lru.get(key)
        self._counters.found(value)
        return value

    async def put(self, key: str, value: V) -> V:
        """Keep a value, unless it outweighs the whole capacity."""
        self._lru.put(key, value)
        return value

    async def delete(self, key: str) -> bool:
        """Forget a key; say whether it was there."""
        return self._lru.delete(key)

    async def contains(self, key: str) -> bool:
        """Whether ``get`` would find it now."""
        return key in self._lru

    def stats(self) -> LayerStats:
        """The layer's counters at this moment; no load times, as nothing waits."""
        return self._counters.stats(
            self._name, items=len(self._lru), bytes=self._lru.bytes, capacity_bytes=self._lru.max_bytes
        )

    def _removed(self, key: str, value: V, reason: Removal) -> None:
        if reason is Removal.EVICTED:
            self._counters.evictions += 1
