"""The layer that is the source of truth: values as blobs in an object store."""

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
    """Layer of blobs, encoded by a codec. It has no bound and evicts nothing.

    The caller closes the store, which may be shared. ``clock`` returns seconds, for the load times. Errors of the
    store are raised unchanged. So is ``CorruptData``, because there is no layer below to load the value from.
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
        """See ``CacheLayer.open``."""

    async def close(self) -> None:
        """See ``CacheLayer.close``."""

    def get_cached(self, keys: Iterable[str]) -> dict[str, V]:
        """Return an empty dict: a blob is never available without awaiting."""
        return {}

    async def get(self, key: str) -> V | None:
        """Return the value, or None if there is no blob.

        Raises:
            Unavailable: the store did not answer; a retry may succeed.
            CorruptData: the checksum of the blob is wrong, or the codec cannot decode it.
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
        """Delete the blob. Return whether there was one."""
        return await self._blobs.delete(key)

    async def contains(self, key: str) -> bool:
        """Return whether there is a blob."""
        return await self._blobs.head(key) is not None

    def stats(self) -> LayerStats:
        """Return a snapshot of the layer's counters. The size of the store is not known."""
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
