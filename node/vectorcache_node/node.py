"""The wiring of a node: the blob store, the cache on top of it, and the searcher that uses the cache."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from vectorcache.concurrency import Offload
from vectorcache.errors import InvalidInput
from vectorcache.index.chunk import Chunk, ChunkCodec
from vectorcache.index.node import LocalNode
from vectorcache.index.query import CellAnswer, CellQuery
from vectorcache.index.versions import Versions
from vectorcache.layers.base import LayerStats
from vectorcache.layers.kept import KeptBlobs
from vectorcache.layers.storage import EfficientVectorStorage
from vectorcache.stores.base import BlobStore, FileStore
from vectorcache.stores.disk import DiskFileStore
from vectorcache.stores.url import open_blob_store
from vectorcache_node.metadata import Keeper, kept_blobs
from vectorcache_node.settings import NodeSettings

_CLOSE_SECONDS = 2.0


class CacheNode(LocalNode):
    """A search node with its stores, copies of metadata, and counters.

    Attributes:
        blobs: the blob store, with copies of metadata on disk.
        versions: the versions whose manifests are open.
        storage: the cache of chunks.
        keeper: keeps copies of the metadata of searched versions.
        searches, queries, scanned: number of search requests, their queries, and compared rows since the start.
    """

    def __init__(
        self,
        name: str,
        blobs: KeptBlobs,
        versions: Versions,
        storage: EfficientVectorStorage[Chunk],
        keeper: Keeper,
        *,
        offload: Offload | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name, versions, storage, offload=offload)
        self.blobs = blobs
        self.versions = versions
        self.storage = storage
        self.keeper = keeper
        self.searches = 0
        self.queries = 0
        self.scanned = 0
        self._clock = clock
        self._started = clock()

    async def search(self, query: CellQuery) -> CellAnswer:
        """Search, and update the counters."""
        answer = await super().search(query)
        self.searches += 1
        self.queries += len(query.cells)
        self.scanned += answer.scanned
        self.keeper.searched(query.collection, query.version)
        return answer

    @property
    def uptime_seconds(self) -> float:
        """Seconds since the start of the node."""
        return self._clock() - self._started

    def layers(self) -> tuple[LayerStats, ...]:
        """Return the counters of the memory, disk and blob layers."""
        return self.storage.layer_stats()


@asynccontextmanager
async def open_node(settings: NodeSettings, environment: Mapping[str, str]) -> AsyncIterator[CacheNode]:
    """Open stores and cache, and close them in reverse order.

    Raises:
        InvalidInput: a setting is missing or not allowed.
        VectorCacheError: the blob store cannot be opened.
    """
    for field, value, allowed in (
        ("--blob-url", settings.blob_url, "the URL of a blob store"),
        ("--data", settings.data, "a directory"),
    ):
        if not value:
            raise InvalidInput(field, value, allowed)
    data = Path(settings.data)
    executor = ThreadPoolExecutor(settings.scan_threads, thread_name_prefix="scan")
    try:
        async with (
            open_blob_store(settings.blob_url, environment) as blobs,
            DiskFileStore(data / "chunks") as files,
            kept_blobs(blobs, data / "metadata", settings.disk) as kept,
        ):
            versions, storage = Versions(kept), _storage(settings, blobs, files)
            keeper = Keeper(kept, versions)
            node = CacheNode(settings.name, kept, versions, storage, keeper, offload=Offload(executor))
            await node.open()
            try:
                yield node
            finally:
                await keeper.close()
                await _close(node)
    finally:
        executor.shutdown(cancel_futures=True)


async def _close(node: CacheNode) -> None:
    """Close the node and its versions. Loads that still wait for the blob store are abandoned."""
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await node.close()
            await node.versions.close()
    except TimeoutError:
        structlog.get_logger().warning("running loads were abandoned", seconds=_CLOSE_SECONDS)


def _storage(settings: NodeSettings, blobs: BlobStore, files: FileStore) -> EfficientVectorStorage[Chunk]:
    return EfficientVectorStorage(
        blobs,
        files,
        ChunkCodec(),
        memory_bytes=settings.memory,
        disk_bytes=settings.disk,
        weigh=lambda chunk: chunk.nbytes,
        max_loads=settings.max_loads,
        max_load_bytes=settings.max_load_bytes,
    )
