"""Copies of metadata on a node's disk, so that searches go on while the blob store fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from vectorcache.concurrency import Tasks
from vectorcache.errors import VectorCacheError
from vectorcache.index.manifest import current_key, manifest_key
from vectorcache.index.versions import Versions
from vectorcache.layers.codec import BytesCodec
from vectorcache.layers.disk import DiskLayer
from vectorcache.layers.diskfile import file_weight
from vectorcache.layers.kept import KeptBlobs
from vectorcache.layers.tolerant import TolerantLayer
from vectorcache.lru import LRU
from vectorcache.stores.base import BlobStore
from vectorcache.stores.disk import DiskFileStore

SHARE = 0.02
"""What copies may take, as a share of the disk layer's capacity and on top of it."""

_AGAIN = 600.0  # seconds until a version that goes on being searched is looked at again
_CHANGED = 1.0  # seconds between looks at one collection, while searches of two of its versions alternate
_COLLECTIONS = 4096
_WAITING = 64  # collections that may wait for their look; others are looked at after a later search


@asynccontextmanager
async def kept_blobs(blobs: BlobStore, folder: Path, disk_bytes: int) -> AsyncIterator[KeptBlobs]:
    """The blob store, with copies in a folder; ``disk_bytes`` is the capacity of the node's disk layer."""
    async with DiskFileStore(folder) as files:
        lru = LRU[str, int](max_bytes=max(1 << 20, int(SHARE * disk_bytes)), weigh=file_weight)
        layer = TolerantLayer(DiskLayer(files, lru, BytesCodec(), name="metadata"))
        await layer.open()
        try:
            yield KeptBlobs(blobs, layer)
        finally:
            await layer.close()


class Keeper:
    """Reads all metadata of the versions that are searched, now and then and in the background, so that it is kept.

    Args:
        blobs: keeps copies of what is read.
        versions: opens manifests through it.
        clock: monotonic seconds.
    """

    def __init__(
        self, blobs: KeptBlobs, versions: Versions, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._blobs = blobs
        self._versions = versions
        self._clock = clock
        self._seen: LRU[str, tuple[int, float]] = LRU(max_items=_COLLECTIONS)
        self._waiting: set[str] = set()
        self._tasks = Tasks()
        self._one = asyncio.Semaphore(1)
        self._log = structlog.get_logger()

    def searched(self, collection: str, version: int) -> None:
        """A version of a collection was searched, or is about to be."""
        seen = self._seen.get(collection)
        if seen is not None:
            pause = _AGAIN if seen[0] == version else _CHANGED
            if self._clock() - seen[1] < pause:
                return
        if collection in self._waiting or len(self._waiting) >= _WAITING:
            return
        self._waiting.add(collection)
        self._tasks.start(self._keep(collection, version))

    async def close(self) -> None:
        """Give up what is under way."""
        await self._tasks.cancel()

    async def _keep(self, collection: str, version: int) -> None:
        try:
            async with self._one:
                manifest = (await self._versions.open(collection, version)).manifest
                for key in (
                    current_key(collection),
                    manifest_key(collection, version),
                    manifest.centroids_key,
                ):
                    await self._blobs.get(key)
                for shard in range(len(manifest.lookup)):  # their keys tell what they hold
                    if not await self._blobs.is_kept(manifest.lookup_key(shard)):
                        await self._blobs.get(manifest.lookup_key(shard))
            self._seen.put(collection, (version, self._clock()))
        except VectorCacheError as error:
            self._log.warning("metadata not kept", collection=collection, error=str(error))
        finally:
            self._waiting.discard(collection)
