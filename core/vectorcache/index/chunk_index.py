"""ChunkIndex: a collection opened for search in this process, without any server."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from numpy.typing import ArrayLike

from vectorcache.concurrency import Offload
from vectorcache.index.catalog import Catalog
from vectorcache.index.chunk import Chunk
from vectorcache.index.coarse import CoarseQuantizer, load_coarse
from vectorcache.index.manifest import Manifest
from vectorcache.index.query import Answer, CellQuery, answers_of
from vectorcache.index.scan import CellScan
from vectorcache.index.searcher import CellSearcher
from vectorcache.index.versions import OpenVersion, Versions, check_queries
from vectorcache.layers.nlayer import NLayerCache
from vectorcache.stores.base import BlobStore
from vectorcache.vectors.exact import as_queries, check_k


class ChunkIndex:
    """One version of a collection, searched through a cache of its chunks.

    The caller opens and closes the cache; several indexes may share it.
    """

    def __init__(
        self,
        coarse: CoarseQuantizer,
        version: OpenVersion,
        versions: Versions,
        searcher: CellSearcher,
        offload: Offload,
    ) -> None:
        self._coarse = coarse
        self._offload = offload
        self._version = version
        self._versions = versions
        self._searcher = searcher

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
            blobs: where it lives.
            collection: its name.
            chunks: the cache, usually an ``EfficientVectorStorage`` over the same blobs.
            version: which one; None takes the one that is served now. The index stays with it.
            scan: how cells are compared.

        Raises:
            NotFound: there is no such collection or version.
        """
        manifest = await Catalog(blobs).manifest(collection, version)
        versions, offload = Versions(blobs), Offload()
        searcher = CellSearcher(versions, chunks, scan=scan, offload=offload)
        opened = await versions.open(manifest.collection, manifest.version)
        return cls(await load_coarse(blobs, manifest), opened, versions, searcher, offload)

    @property
    def manifest(self) -> Manifest:
        """What the version is made of."""
        return self._coarse.manifest

    async def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        nprobe: int | None = None,
        payload: bool = False,
        exact: bool = False,
        timeout: float = 30.0,
    ) -> list[Answer]:
        """The k nearest neighbours of one query (d,) or of each of a batch (b, d): one answer per query.

        Args:
            queries: finite numbers.
            k: how many neighbours.
            nprobe: how many cells to scan; None takes what the build measured for its recall target, and the
                number of all cells makes the search exact.
            payload: whether to return the neighbours' payload.
            exact: whether to compare all vectors of these cells, where the collection has codes.
            timeout: seconds for loading; what is missing by then makes the answer partial.

        Raises:
            InvalidInput: a query, ``k`` or ``nprobe`` that is not allowed.
        """
        vectors, _ = as_queries(queries, self.manifest.dimension)
        check_queries(vectors, self.manifest)
        probes = self.manifest.search.nprobe if nprobe is None else nprobe
        cells = await self._offload.run(self._coarse.work(len(vectors)), self._coarse.probe, vectors, probes)
        manifest = self.manifest
        query = CellQuery(
            *(manifest.collection, manifest.version, vectors, cells, check_k(k)),
            payload=payload,
            exact=exact or probes >= manifest.cells,
            timeout=timeout,
        )
        found = await self._searcher.search_in(self._version, query)
        return answers_of(found, cells)

    async def close(self) -> None:
        """Wait for what is being read; the cache stays open."""
        await self._versions.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
