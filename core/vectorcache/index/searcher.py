"""Search of named cells over a cache of chunks: what a node does, and what ChunkIndex does in process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vectorcache.concurrency import Offload
from vectorcache.errors import InvalidInput, NotFound, VectorCacheError
from vectorcache.index.chunk import Chunk
from vectorcache.index.query import CellAnswer, CellQuery, Cells, Hits, StoredVector, no_cells
from vectorcache.index.scan import CellScan, CellTable, Found, best_scan
from vectorcache.index.versions import OpenVersion, Versions
from vectorcache.layers.nlayer import NLayerCache
from vectorcache.vectors.metric import Floats


class CellSearcher:
    """Loads the chunks of cells through a cache and scans them.

    Args:
        versions: opens manifests.
        chunks: the cache; its last layer is the blob store.
        scan: compares vectors.
        offload: runs scans that would hold the event loop for long.
    """

    def __init__(
        self,
        versions: Versions,
        chunks: NLayerCache[Chunk],
        *,
        scan: CellScan | None = None,
        offload: Offload | None = None,
    ) -> None:
        self._versions = versions
        self._chunks = chunks
        self._scan = scan or best_scan()
        self._offload = offload or Offload()
        self._in_hand = 0

    async def search(self, query: CellQuery) -> CellAnswer:
        """The nearest neighbours of each query among its cells.

        Raises:
            NotFound: the version is not published.
            InvalidInput: a query of another dimension, or a cell that the version does not have.
        """
        cells = sum(map(len, query.cells))
        self._in_hand += cells
        try:
            version = await self._versions.open(query.collection, query.version)
            answer = await self.search_in(version, query)
        finally:
            self._in_hand -= cells
        return replace(answer, load=self._in_hand)

    async def search_in(self, version: OpenVersion, query: CellQuery) -> CellAnswer:
        """The same, where the version is open already."""
        vectors = _of_shape(query.vectors, len(query.cells), version.manifest.dimension)
        wanted = _distinct_cells(query.cells, version)
        table, failed, reason = await self._load(version, wanted, query)
        pairs = sum(map(len, query.cells))
        found = await self._offload.run(
            version.work(len(query.cells), pairs, exact=query.exact),
            self._scan.scan,
            *(vectors, query.cells, table, query.k),
        )
        hits = [_hits_of(one, query.payload) for one in found]
        return CellAnswer(hits, failed, reason, sum(one.scanned for one in found))

    async def dimension(self, collection: str, version: int) -> int:
        """Components of a vector of a version; ``NotFound`` where it is not published."""
        return (await self._versions.open(collection, version)).manifest.dimension

    async def prefetch(self, collection: str, version: int, chunks: Sequence[int], timeout: float) -> int:
        """Bring chunks into the cache; return how many are there now."""
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
        """Vectors by their place: a chunk, and rows in it.

        Raises:
            NotFound: the version is not published, or its chunk is gone.
            InvalidInput: there is no such chunk or row.
        """
        opened = await self._versions.open(collection, version)
        _check_chunk(opened, chunk, "chunk")
        value = await self._chunks.get(opened.keys[chunk], opened.sizes[chunk])
        if value is None:
            raise NotFound("chunk", opened.keys[chunk])
        if not all(0 <= at < len(value) for at in positions):
            raise InvalidInput("positions", list(positions), f"rows from 0 to {len(value) - 1}")
        return [StoredVector(value.id_at(at), value.vectors[at], value.payload_at(at)) for at in positions]

    async def _load(
        self, version: OpenVersion, wanted: Cells, query: CellQuery
    ) -> tuple[CellTable, Cells, str]:
        """The chunks of cells, the cells whose chunk is missing, and why."""
        numbers = version.chunks_of(wanted)
        keys = [version.keys[n] for n in numbers]
        found, errors = self._chunks.get_cached(keys), {}
        present, chunks = numbers, list(found.values())
        if len(found) < len(keys):
            absent = [n for n in numbers if version.keys[n] not in found]
            loaded = await self._chunks.get_many(
                [version.keys[n] for n in absent], [version.sizes[n] for n in absent], timeout=query.timeout
            )
            found, errors = found | loaded.found, loaded.failed
            present = [n for n in numbers if version.keys[n] in found]
            chunks = [found[version.keys[n]] for n in present]
        reads_vectors = query.exact or version.code_width == 0
        if reads_vectors and any(chunk.terms is None for chunk in chunks):
            await self._offload.run(version.work(1, len(wanted), exact=True), _measure, chunks)
        table = version.table(present, chunks, exact=query.exact)
        if len(present) == len(numbers):
            return table, no_cells(), ""
        return table, wanted[~np.isin(version.chunk_of_cell[wanted], present)], _reason(errors)


def _of_shape(vectors: Floats, queries: int, dimension: int) -> Floats:
    """The vectors, C-contiguous: a scan reads by address. Their values were checked where they came in."""
    if vectors.shape != (queries, dimension):
        allowed = f"{queries} vectors of dimension {dimension}"
        raise InvalidInput("vectors", "x".join(map(str, vectors.shape)), allowed)
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _distinct_cells(cells: Sequence[Cells], version: OpenVersion) -> Cells:
    """All cells that are named, once each, ascending, and checked."""
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


def _reason(errors: dict[str, VectorCacheError]) -> str:
    if errors:
        return str(next(iter(errors.values())))
    return "a chunk's blob does not exist: its version was deleted"


def _hits_of(found: Found, payload: bool) -> Hits:
    ids = [chunk.id_at(position) for chunk, position in found.places]
    payloads = [chunk.payload_at(position) for chunk, position in found.places] if payload else None
    return Hits(found.rows.tolist(), found.distances.tolist(), ids, payloads)
