"""A wrapper that turns the failures of a layer into misses."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import replace
from typing import Generic, TypeVar

from vectorcache.layers.base import CacheLayer, LayerStats

T = TypeVar("T")
V = TypeVar("V")


class TolerantLayer(CacheLayer[V], Generic[V]):
    """Wrapper of a layer that treats every failure as a miss, and counts it in ``errors``.

    After a failed ``put`` the key is deleted, so that the layer cannot serve an older value.
    """

    def __init__(self, layer: CacheLayer[V]) -> None:
        self._layer = layer
        self._errors = 0

    async def open(self) -> None:
        """Open the layer."""
        await self._tolerate(self._layer.open(), None)

    async def close(self) -> None:
        """Close the layer."""
        await self._tolerate(self._layer.close(), None)

    def get_cached(self, keys: Iterable[str]) -> dict[str, V]:
        """See ``CacheLayer.get_cached``."""
        try:
            return self._layer.get_cached(keys)
        except Exception:  # noqa: BLE001 - as in _tolerate
            self._errors += 1
            return {}

    async def get(self, key: str) -> V | None:
        """See ``CacheLayer.get``."""
        return await self._tolerate(self._layer.get(key), None)

    async def put(self, key: str, value: V) -> V:
        """Store a value, or delete the key if that fails."""
        try:
            return await self._layer.put(key, value)
        except Exception:  # noqa: BLE001 - as in _tolerate
            self._errors += 1
            await self.delete(key)
            return value

    async def delete(self, key: str) -> bool:
        """Delete a key. Return False also if that failed."""
        return await self._tolerate(self._layer.delete(key), False)

    async def contains(self, key: str) -> bool:
        """See ``CacheLayer.contains``."""
        return await self._tolerate(self._layer.contains(key), False)

    def stats(self) -> LayerStats:
        """Return the layer's counters, with the failures added to its errors."""
        stats = self._layer.stats()
        return replace(stats, errors=stats.errors + self._errors)

    async def _tolerate(self, call: Awaitable[T], otherwise: T) -> T:
        try:
            return await call
        except Exception:  # noqa: BLE001 - the layer may raise anything, and a layer below has the value
            self._errors += 1
            return otherwise
