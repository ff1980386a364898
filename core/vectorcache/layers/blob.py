"""The layer that is the truth: values as blobs in an object store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from vectorcache.errors import CorruptData, NotFound
from vectorcache.layers.base import CacheLayer, LayerStats
from vectorcache.layers.codec import Codec
from vectorcache.layers.counters import Counters
from vectorcache.stores.base import BlobStore

V = TypeVar("V")


class BlobLayer(CacheLayer[V], Generic[V]):
    """Values as blobs, through a codec. It has no bound and evicts nothing.

    The store stays its maker's to close: others may use it too. ``clock`` gives seconds for the load times.
    Errors of the store pass through; ``CorruptData`` does too, since there is nothing below to load from
    again.
    """

    def __init__(
        self,
        blobs: BlobStore,
        codec: Codec[V],
        *,
        name: str = "blob",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._blobs = blobs
        self._codec = codec
        self._name = name
        self._clock = clock
        self._counters = Counters()

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing is held."""

    def get_cached(self, keys: Iterable[str]) -> dict[str, V]:
        """Nothing: a blob is never at hand."""
        return {}

    async def get(self, key: str) -> V | None:
        """The value, or None where there is no blob.

        Raises:
            Unavailable: the store did not answer; try again.
            CorruptData: the blob is not what was written, or not what the codec writes.
        """
        start = self._clock()
        value = await self._read(key)
        self._counters.waited(self._clock() - start)
        self._counters.found(value)
        return value

    async def put(self, key: str, value: V) -> V:
        """Write the blob, replacing one of the same key."""
        await self._blobs.put(key, self._codec.encode(key, value))
        return value

    async def delete(self, key: str) -> bool:
        """Delete the blob; say whether there was one."""
        return await self._blobs.delete(key)

    async def contains(self, key: str) -> bool:
        """Whether there is a blob."""
        return await self._blobs.head(key) is not None

    def stats(self) -> LayerStats:
        """The layer's counters at this moment; what the store holds is not known."""
        return self._counters.stats(self._name)

    async def _read(self, key: str) -> V | None:
        try:
            blob = await self._blobs.get(key)
        except NotFound:
            return None
        try:
            self._codec.check_blob(key, blob.data)
            return self._codec.decode(key, blob.data)
        except CorruptData:
            self._counters.corrupt += 1
            raise
