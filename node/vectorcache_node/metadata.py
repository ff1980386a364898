"""Copies of metadata on a node's disk, so that searches continue while the blob store is unavailable."""

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
"""Maximum size of the copies, as a fraction of the disk layer's capacity and in addition to it."""

_REFRESH_SECONDS = 600.0  # until the metadata of a version that is still searched is read again
_CHANGED_SECONDS = 1.0  # between reads for one collection, while searches of two of its versions alternate
_COLLECTIONS = 4096
_MAX_WAITING = 64  # queued collections; for further ones, a later search triggers the read


@asynccontextmanager
async def kept_blobs(blobs: BlobStore, folder: Path, disk_bytes: int) -> AsyncIterator[KeptBlobs]:
    """Open the blob store with copies in a directory. ``disk_bytes`` is the capacity of the node's disk layer."""
    async with DiskFileStore(folder) as files:
        lru = LRU[str, int](max_bytes=max(1 << 20, int(SHARE * disk_bytes)), weigh=file_weight)
        layer = TolerantLayer(DiskLayer(files, lru, BytesCodec(), name="metadata"))
        await layer.open()
        try:
            yield KeptBlobs(blobs, layer)
        finally:
            await layer.close()


class Keeper:
    """A background reader of the metadata of searched versions, which ensures that copies of it are kept.

    Args:
        blobs: the blob store that keeps a copy of every blob read through it.
        versions: opens manifests through ``blobs``.
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
        """Record a search of a version, and schedule a read of its metadata if it is due."""
        seen = self._seen.get(collection)
        if seen is not None:
            pause = _REFRESH_SECONDS if seen[0] == version else _CHANGED_SECONDS
            if self._clock() - seen[1] < pause:
                return
        if collection in self._waiting or len(self._waiting) >= _MAX_WAITING:
            return
        self._waiting.add(collection)
        self._tasks.start(self._keep(collection, version))

    async def close(self) -> None:
        """Cancel running reads."""
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
                for shard in range(len(manifest.lookup)):  # the key has a checksum: a copy is never outdated
                    if not await self._blobs.is_kept(manifest.lookup_key(shard)):
                        await self._blobs.get(manifest.lookup_key(shard))
            self._seen.put(collection, (version, self._clock()))
        except VectorCacheError as error:
            self._log.warning("could not copy metadata", collection=collection, error=str(error))
        finally:
            self._waiting.discard(collection)
