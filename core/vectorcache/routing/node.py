"""A node: something that searches cells. In this process, or behind HTTP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from vectorcache.concurrency import Offload
from vectorcache.index.chunk import Chunk
from vectorcache.index.query import CellAnswer, CellQuery, StoredVector
from vectorcache.index.scan import CellScan
from vectorcache.index.searcher import CellSearcher
from vectorcache.index.versions import Versions
from vectorcache.layers.nlayer import NLayerCache


class SearchNode(ABC):
    """Searches cells of any collection. Ownership is a hint: any node can search any cell."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What the ring knows the node by; it outlives restarts and changes of address."""

    @abstractmethod
    async def search(self, query: CellQuery) -> CellAnswer:
        """Search the cells of each query, within ``query.timeout``.

        Raises:
            Unavailable: the node does not answer, or not in time: ask another.
            NotFound, InvalidInput: another node would say the same.
        """

    @abstractmethod
    async def prefetch(self, collection: str, version: int, chunks: Sequence[int], timeout: float) -> int:
        """Bring chunks into the node's cache; return how many are there now. Raises as ``search`` does."""

    @abstractmethod
    async def fetch(
        self, collection: str, version: int, chunk: int, positions: Sequence[int]
    ) -> list[StoredVector]:
        """Vectors by their place. Raises as ``search`` does."""

    @abstractmethod
    async def close(self) -> None:
        """Release what is held; a second call does nothing."""


class LocalNode(SearchNode):
    """A node in this process. It owns its cache: ``open`` and ``close`` open and close it."""

    def __init__(
        self,
        name: str,
        versions: Versions,
        chunks: NLayerCache[Chunk],
        *,
        scan: CellScan | None = None,
        offload: Offload | None = None,
    ) -> None:
        self._name = name
        self._chunks = chunks
        self._searcher = CellSearcher(versions, chunks, scan=scan, offload=offload)

    @property
    def name(self) -> str:
        """See ``SearchNode.name``."""
        return self._name

    @property
    def chunks(self) -> NLayerCache[Chunk]:
        """The node's cache."""
        return self._chunks

    async def open(self) -> None:
        """Open the cache."""
        await self._chunks.open()

    async def dimension(self, collection: str, version: int) -> int:
        """Components of a vector of a version; ``NotFound`` where it is not published."""
        return await self._searcher.dimension(collection, version)

    async def search(self, query: CellQuery) -> CellAnswer:
        """See ``SearchNode.search``."""
        return await self._searcher.search(query)

    async def prefetch(self, collection: str, version: int, chunks: Sequence[int], timeout: float) -> int:
        """See ``SearchNode.prefetch``."""
        return await self._searcher.prefetch(collection, version, chunks, timeout)

    async def fetch(
        self, collection: str, version: int, chunk: int, positions: Sequence[int]
    ) -> list[StoredVector]:
        """See ``SearchNode.fetch``."""
        return await self._searcher.fetch(collection, version, chunk, positions)

    async def close(self) -> None:
        """Close the cache."""
        await self._chunks.close()
