"""Nodes, which search cells. ``LocalNode`` scans chunks that it loads through a cache."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from vectorcache.concurrency import Offload
from vectorcache.errors import InvalidInput, NotFound, VectorCacheError
from vectorcache.index.chunk import Chunk
from vectorcache.index.query import CellAnswer, CellQuery, Cells, Hits, StoredVector, no_cells
from vectorcache.index.scan import CellScan, CellTable, Found, best_scan
from vectorcache.index.versions import OpenVersion, Versions
from vectorcache.layers.nlayer import NLayerCache
from vectorcache.vectors.metric import Floats


class SearchNode(ABC):
    """A node that searches cells of any collection. Ownership is only a hint: any node can search any cell."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the node on the ring. It does not change with restarts or a new address."""

    @abstractmethod
    async def search(self, query: CellQuery) -> CellAnswer:
        """Search the cells of each query, within the timeout of its options.

        Raises:
            Unavailable: the node does not answer, or not in time; another node may.
            NotFound: the version is not published; no node can search it.
            InvalidInput: a query has another dimension, or the version does not have a cell.
        """

    @abstractmethod
    async def prefetch(self, collection: str, version: int, chunks: Sequence[int], timeout: float) -> int:
        """Load chunks into the node's cache. Return how many of them are in it now. Raises as ``search`` does."""

    @abstractmethod
    async def fetch(
        self, collection: str, version: int, chunk: int, positions: Sequence[int]
    ) -> list[StoredVector]:
        """Return the vectors at some positions of a chunk. Raises as ``search`` does."""

    @abstractmethod
    async def close(self) -> None:
        """Release all resources. A second call does nothing."""


class LocalNode(SearchNode):
    """A node in this process: it loads the chunks of cells through a cache, and scans them.

    Args:
        name: the name on the ring.
        versions: opens manifests.
        chunks: the cache; its last layer is the blob store. ``open`` and ``close`` open and close it.
        scan: compares vectors.
        offload: runs scans that would block the event loop for too long.
    """

    def __init__(
        self,
        name: str,
        versions: Versions,
        chunks: NLayerCache[Chunk],
        *,
        scan: CellScan | None = None,
        offload: Offload | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._clock = clock
        self._versions = versions
        self._chunks = chunks
        self._scan = scan or best_scan()
        self._offload = offload or Offload()
        self._in_progress = 0  # cells, counted once per query

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

    async def search(self, query: CellQuery) -> CellAnswer:
        """See ``SearchNode.search``."""
        cells = sum(map(len, query.cells))
        self._in_progress += cells
        try:
            version = await self._versions.open(query.collection, query.version)
            answer = await self.search_version(version, query)
        finally:
            self._in_progress -= cells
        answer.load = self._in_progress
        return answer

    async def search_version(self, version: OpenVersion, query: CellQuery) -> CellAnswer:
        """Search a version that is already open."""
        vectors = _of_shape(query.vectors, len(query.cells), version.manifest.dimension)
        wanted = _distinct_cells(query.cells, version)
        table, failed, reason = await self._load(version, wanted, query)
        pairs = sum(map(len, query.cells))
        found = await self._offload.run(
            version.work(len(query.cells), pairs, exact=query.options.exact),
            self._scan.scan,
            *(vectors, query.cells, table, query.options.k),
        )
        hits = [_hits_of(one, query.options.payload) for one in found]
        return CellAnswer(hits, failed, reason, sum(one.scanned for one in found))

    async def prefetch(self, collection: str, version: int, chunks: Sequence[int], timeout: float) -> int:
        """See ``SearchNode.prefetch``."""
        opened = await self._versions.open(collection, version)
        for number in chunks:
            _check_chunk(opened, number, "chunks")
        loaded = await self._chunks.get_many(
            [opened.keys[n] for n in chunks], [opened.sizes[n] for n in chunks], timeout=timeout
        )
        return len(loaded.found)

    async def fetch(
        self, collection: str, version: int, chunk: int, positions: Sequence[int]
    ) -> list[StoredVector]:
        """See ``SearchNode.fetch``."""
        opened = await self._versions.open(collection, version)
        _check_chunk(opened, chunk, "chunk")
        value = await self._chunks.get(opened.keys[chunk], opened.sizes[chunk])
        if value is None:
            raise NotFound("chunk", opened.keys[chunk])
        if not all(0 <= at < len(value) for at in positions):
            raise InvalidInput("positions", list(positions), f"rows from 0 to {len(value) - 1}")
        return [StoredVector(value.id_at(at), value.vectors[at], value.payload_at(at)) for at in positions]

    async def close(self) -> None:
        """Close the cache."""
        await self._chunks.close()

    async def _load(
        self, version: OpenVersion, wanted: Cells, query: CellQuery
    ) -> tuple[CellTable, list[int], str]:
        """Return the chunks of cells, the cells whose chunk is missing, and why one is."""
        deadline = self._clock() + query.options.timeout
        numbers = version.chunks_of(wanted)
        usable = [n for n in numbers if n not in version.broken] if version.broken else numbers
        present, chunks, errors = await self._read(version, usable, query)
        if mismatches := version.mismatches(present, chunks):
            found = dict(zip(present, chunks, strict=True))
            left = msgspec.structs.replace(query.options, timeout=max(0.0, deadline - self._clock()))
            await self._reload(version, found, mismatches, replace(query, options=left))
            present, chunks = sorted(found), [found[number] for number in sorted(found)]
        table = version.table(present, chunks, exact=query.options.exact)
        if len(present) == len(numbers):
            return table, [], ""
        lost = wanted[~np.isin(version.chunk_of_cell[wanted], present)]
        broken = [version.broken[n] for n in numbers if n in version.broken]
        return table, lost.tolist(), _reason([*errors.values(), *mismatches.values(), *broken])

    async def _reload(
        self, version: OpenVersion, found: dict[int, Chunk], mismatches: Iterable[int], query: CellQuery
    ) -> None:
        """Replace chunks that contradict their manifest by those in the source of truth, or leave them out.

        The copy on this node may be damaged. If the blob contradicts the manifest too, the chunk is broken.
        """
        numbers = sorted(mismatches)
        for number in numbers:
            await self._chunks.discard(version.keys[number], found.pop(number))
        present, chunks, _ = await self._read(version, numbers, query)
        version.broken |= version.mismatches(present, chunks)
        found |= {n: chunk for n, chunk in zip(present, chunks, strict=True) if n not in version.broken}

    async def _read(
        self, version: OpenVersion, numbers: list[int], query: CellQuery
    ) -> tuple[list[int], list[Chunk], dict[str, VectorCacheError]]:
        """Return the numbers of the chunks that could be read, these chunks, and the errors of others by key.

        If vectors are compared, the chunks are measured.
        """
        keys = [version.keys[n] for n in numbers]
        found, errors = self._chunks.get_cached(keys), {}
        present, chunks = numbers, list(found.values())
        if len(found) < len(keys):
            absent = [n for n in numbers if version.keys[n] not in found]
            loaded = await self._chunks.get_many(
                [version.keys[n] for n in absent],
                [version.sizes[n] for n in absent],
                timeout=query.options.timeout,
            )
            found, errors = found | loaded.found, loaded.failed
            present = [n for n in numbers if version.keys[n] in found]
            chunks = [found[version.keys[n]] for n in present]
        reads_vectors = query.options.exact or version.code_width == 0
        if reads_vectors and any(chunk.terms is None for chunk in chunks):
            cells = sum(version.manifest.chunks[n].cells for n in present)
            await self._offload.run(version.work(1, cells, exact=True), _measure, chunks)
        return present, chunks, errors


def _of_shape(vectors: Floats, queries: int, dimension: int) -> Floats:
    """Check the shape of vectors, and return them C-contiguous, because a scan reads by address."""
    if vectors.shape != (queries, dimension):
        allowed = f"{queries} vectors of dimension {dimension}"
        raise InvalidInput("vectors", "x".join(map(str, vectors.shape)), allowed)
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _distinct_cells(cells: Sequence[Cells], version: OpenVersion) -> Cells:
    """Check the cells of all queries, and return them without duplicates, ascending."""
    if not cells:
        return no_cells()
    distinct = cells[0] if len(cells) == 1 else np.unique(np.concatenate(cells))
    if len(distinct) and (distinct[0] < 0 or distinct[-1] >= version.manifest.cells):
        bad = distinct[0] if distinct[0] < 0 else distinct[-1]
        raise InvalidInput("cells", int(bad), f"cells from 0 to {version.manifest.cells - 1}")
    return distinct


def _measure(chunks: Sequence[Chunk]) -> None:
    for chunk in chunks:
        chunk.measure()


def _check_chunk(version: OpenVersion, number: int, field: str) -> None:
    if not 0 <= number < len(version.keys):
        raise InvalidInput(field, number, f"chunks from 0 to {len(version.keys) - 1}")


def _reason(errors: Sequence[VectorCacheError]) -> str:
    return str(errors[0]) if errors else "a chunk's blob does not exist: its version was deleted"


def _hits_of(found: Found, payload: bool) -> Hits:
    ids = [chunk.id_at(position) for chunk, position in found.places]
    payloads = [chunk.payload_at(position) for chunk, position in found.places] if payload else None
    return Hits(found.rows.tolist(), found.distances.tolist(), ids, payloads)
