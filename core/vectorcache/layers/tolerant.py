"""A layer that may break without anybody above noticing more than misses."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import replace
from typing import Generic, TypeVar

from vectorcache.layers.base import CacheLayer, LayerStats

T = TypeVar("T")
V = TypeVar("V")


class TolerantLayer(CacheLayer[V], Generic[V]):
    """Passes over every failure of a layer (a miss, nothing to delete) and counts it in its ``errors``.

    A failed ``put`` is followed by a ``delete``, so that the layer does not go on serving an older value.
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
        """Those that are at hand."""
        try:
            return self._layer.get_cached(keys)
        except Exception:  # noqa: BLE001 - as in _tolerate
            self._errors += 1
            return {}

    async def get(self, key: str) -> V | None:
        """The value, or None."""
        return await self._tolerate(self._layer.get(key), None)

    async def put(self, key: str, value: V) -> V:
        """Keep a value, or at least no older one."""
        try:
            return await self._layer.put(key, value)
        except Exception:  # noqa: BLE001 - as in _tolerate
            self._errors += 1
            await self.delete(key)
            return value

    async def delete(self, key: str) -> bool:
        """Forget a key; False also where that failed."""
        return await self._tolerate(self._layer.delete(key), False)

    async def contains(self, key: str) -> bool:
        """Whether ``get`` would find it now."""
        return await self._tolerate(self._layer.contains(key), False)

    def stats(self) -> LayerStats:
        """The layer's own, with the failures passed over added to its errors."""
        stats = self._layer.stats()
        return replace(stats, errors=stats.errors + self._errors)

    async def _tolerate(self, call: Awaitable[T], otherwise: T) -> T:
        try:
            return await call
        except Exception:  # noqa: BLE001 - a layer may be anybody's; what is below it still has the answer
            self._errors += 1
            return otherwise
