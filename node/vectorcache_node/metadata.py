"""What a node keeps beside chunks, so that searches go on where the blob store does not answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from vectorcache.errors import VectorCacheError
from vectorcache.index.manifest import metadata_keys
from vectorcache.index.versions import Versions
from vectorcache.layers.codec import BytesCodec
from vectorcache.layers.disk import DiskLayer
from vectorcache.layers.diskfile import file_weight
from vectorcache.layers.kept import KeptBlobs
from vectorcache.layers.tasks import Tasks
from vectorcache.layers.tolerant import TolerantLayer
from vectorcache.lru import LRU
from vectorcache.stores.base import BlobStore
from vectorcache.stores.disk import DiskFileStore

SHARE = 0.02
"""Of the disk layer's capacity, on top of it: what all metadata may take."""

_AGAIN = 1.0  # seconds between looks at one collection, while searches of two of its versions alternate
_COLLECTIONS = 4096


@asynccontextmanager
async def kept_blobs(blobs: BlobStore, folder: Path, disk_bytes: int) -> AsyncIterator[KeptBlobs]:
    """The blob store with what was read of it kept in a folder, for a node with so large a disk layer."""
    async with DiskFileStore(folder) as files:
        lru = LRU[str, int](max_bytes=max(1 << 20, int(SHARE * disk_bytes)), weigh=file_weight)
        layer = TolerantLayer(DiskLayer(files, lru, BytesCodec(), name="metadata"))
        await layer.open()
        async with KeptBlobs(blobs, layer) as kept:
            yield kept
        await layer.close()


class Keeper:
    """Reads all metadata of the versions that are searched, once, in the background: so it is kept.

    Args:
        blobs: keeps what is read.
        versions: opens manifests by way of it.
        clock: monotonic seconds.
    """

    def __init__(
        self, blobs: KeptBlobs, versions: Versions, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._blobs = blobs
        self._versions = versions
        self._clock = clock
        self._seen: LRU[str, tuple[int, float]] = LRU(max_items=_COLLECTIONS)
        self._tasks = Tasks()
        self._one = asyncio.Semaphore(1)
        self._log = structlog.get_logger()

    def searched(self, collection: str, version: int) -> None:
        """A version of a collection was searched, or is about to be."""
        seen = self._seen.get(collection)
        if seen is None or (seen[0] != version and self._clock() - seen[1] > _AGAIN):
            self._seen.put(collection, (version, self._clock()))
            self._tasks.start(self._keep(collection, version))

    async def close(self) -> None:
        """Give up what is under way."""
        await self._tasks.cancel()

    async def _keep(self, collection: str, version: int) -> None:
        async with self._one:
            try:
                manifest = (await self._versions.open(collection, version)).manifest
                for key in metadata_keys(manifest):
                    await self._blobs.get(key)
            except VectorCacheError as error:
                self._seen.delete(collection)
                self._log.warning("metadata not kept", collection=collection, error=str(error))
