"""``ChunkIndex``: search of a collection in this process, without a server."""

from __future__ import annotations

from types import TracebackType
from typing import Self, Unpack

from numpy.typing import ArrayLike

from vectorcache.concurrency import Offload
from vectorcache.index.catalog import Catalog
from vectorcache.index.chunk import Chunk
from vectorcache.index.coarse import CoarseQuantizer, load_coarse
from vectorcache.index.manifest import Manifest
from vectorcache.index.node import LocalNode
from vectorcache.index.options import SearchKeywords, SearchOptions, resolve
from vectorcache.index.query import Answer, CellQuery, answers_of
from vectorcache.index.scan import CellScan
from vectorcache.index.versions import OpenVersion, Versions
from vectorcache.layers.nlayer import NLayerCache
from vectorcache.stores.base import BlobStore
from vectorcache.vectors.exact import as_queries


class ChunkIndex:
    """One version of a collection, searched through a cache of its chunks.

    The caller opens and closes the cache; several indexes may share it.
    """

    def __init__(
        self,
        coarse: CoarseQuantizer,
        version: OpenVersion,
        versions: Versions,
        node: LocalNode,
        offload: Offload,
    ) -> None:
        self._coarse = coarse
        self._offload = offload
        self._version = version
        self._versions = versions
        self._node = node

    @classmethod
    async def open(
        cls,
        blobs: BlobStore,
        collection: str,
        chunks: NLayerCache[Chunk],
        *,
        version: int | None = None,
        scan: CellScan | None = None,
    ) -> Self:
        """Open a collection.

        Args:
            blobs: the blob store of the collection.
            collection: its name.
            chunks: the cache, usually an ``EfficientVectorStorage`` over the same blobs.
            version: its number; None takes the version that is served now. The index does not follow later ones.
            scan: compares queries with the rows of cells.

        Raises:
            NotFound: the collection or the version does not exist.
        """
        manifest = await Catalog(blobs).manifest(collection, version)
        versions, offload = Versions(blobs), Offload()
        node = LocalNode("local", versions, chunks, scan=scan, offload=offload)
        opened = await versions.open(manifest.collection, manifest.version)
        return cls(await load_coarse(blobs, manifest), opened, versions, node, offload)

    @property
    def manifest(self) -> Manifest:
        """Manifest of the version."""
        return self._coarse.manifest

    async def search(
        self, queries: ArrayLike, k: int | None = None, **options: Unpack[SearchKeywords]
    ) -> list[Answer]:
        """Return the k nearest neighbours of one query (d,) or of each of a batch (b, d): one answer per query.

        Args:
            queries: finite numbers.
            k: number of neighbours, by default 10.
            options: see ``SearchOptions``; the timeout is 30 seconds by default.

        Raises:
            InvalidInput: a query or an option is not allowed.
        """
        vectors, _ = as_queries(queries, self.manifest.dimension)
        resolved = resolve(SearchOptions(k=k, **options), vectors, self.manifest)
        cells = await self._offload.run(
            self._coarse.work(len(vectors)), self._coarse.probe, vectors, resolved.nprobe
        )
        query = CellQuery(self.manifest.collection, self.manifest.version, vectors, cells, resolved)
        found = await self._node.search_version(self._version, query)
        return answers_of(found, cells)

    async def close(self) -> None:
        """Wait for the reads in progress. The cache stays open."""
        await self._versions.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
