"""The protocol between routers and nodes. Both are of one release; it may change with each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from vectorcache.errors import InvalidInput
from vectorcache.index.query import CellAnswer, CellQuery, Cells, Hits
from vectorcache.wire.types import (
    MAX_TIMEOUT,
    Exact,
    Id,
    Index,
    K,
    Message,
    Name,
    Reply,
    Timeout,
    VectorItem,
    Vectors,
    Version,
)

MAX_CHUNKS = 100_000
MAX_POSITIONS = 10_000


class NodeSearchRequest(Message):
    """Search named cells of one version: every query has its own list of cells."""

    collection: Name
    version: Version
    k: K
    vectors: Vectors
    cells: list[bytes | list[Index]]
    payload: bool = False
    exact: Exact = False
    timeout: Timeout = 30.0


class NodeHits(Reply):
    """The neighbours of one query: numbers of the vectors in the collection, distances, ids, payloads."""

    rows: list[int]
    distances: list[float]
    ids: list[Id]
    payload: list[dict[str, Any]] | None = None


class NodeSearchResponse(Reply):
    """One result per query, the cells whose chunk could not be loaded, and the cells of other searches in hand."""

    results: list[NodeHits]
    scanned: int
    failed: list[int] = msgspec.field(default_factory=list)
    reason: str = ""
    load: int = 0


class PrefetchRequest(Message):
    """Bring chunks into the node's cache."""

    collection: Name
    version: Version
    chunks: Annotated[list[Index], msgspec.Meta(max_length=MAX_CHUNKS)]
    timeout: Timeout = 30.0


class PrefetchResponse(Reply):
    """How many of the chunks are in the cache now."""

    loaded: int


class FetchRequest(Message):
    """Ask for vectors by their place: a chunk, and rows in it."""

    collection: Name
    version: Version
    chunk: Index
    positions: Annotated[list[Index], msgspec.Meta(max_length=MAX_POSITIONS)]


class FetchResponse(Reply):
    """The vectors, in the order of the positions."""

    vectors: list[VectorItem]


class KeptRequest(Message):
    """Ask for the copy of a metadata blob, or of the list of folders below a prefix that ends in a slash."""

    key: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class KeptResponse(Reply):
    """The blob's bytes."""

    data: bytes


class LayerInfo(Reply):
    """One layer's counters since the node started, and what it holds now."""

    name: str
    hits: int
    misses: int
    evictions: int
    errors: int
    corrupt: int
    loads: int
    load_seconds: float
    items: int | None = None
    bytes: int | None = None
    capacity_bytes: int | None = None


class NodeStats(Reply):
    """What a node holds and has done."""

    name: str
    uptime_seconds: float
    searches: int
    queries: int
    scanned: int
    layers: list[LayerInfo]


def cells_of(value: Sequence[bytes | list[int]], queries: int) -> list[Cells]:
    """For each query its cells, ascending and distinct, from lists of numbers or raw little-endian int32."""
    if len(value) != queries:
        raise InvalidInput("cells", f"{len(value)} lists", f"{queries}, one per query")
    return [_cells(one, f"cells[{place}]") for place, one in enumerate(value)]


def _cells(value: bytes | list[int], field: str) -> Cells:
    if isinstance(value, bytes):
        if len(value) % 4:
            raise InvalidInput(field, f"{len(value)} bytes", "a multiple of 4: int32")
        cells: Cells = np.frombuffer(value, dtype="<i4").astype(np.int32, copy=False)
    else:
        cells = np.array(value, dtype=np.int32)
    ascending = len(cells) < 2 or bool((cells[1:] > cells[:-1]).all())
    return cells if ascending else np.unique(cells)


def node_request(query: CellQuery) -> NodeSearchRequest:
    """A query as it travels to a node."""
    return NodeSearchRequest(
        collection=query.collection,
        version=query.version,
        k=query.k,
        vectors=np.ascontiguousarray(query.vectors, dtype="<f4").tobytes(),
        cells=[cells.astype("<i4", copy=False).tobytes() for cells in query.cells],
        payload=query.payload,
        exact=query.exact,
        timeout=min(query.timeout, MAX_TIMEOUT),
    )


def node_response(answer: CellAnswer) -> NodeSearchResponse:
    """An answer as it travels back."""
    return NodeSearchResponse(
        results=[
            NodeHits(rows=hits.rows, distances=hits.distances, ids=hits.ids, payload=hits.payload)
            for hits in answer.hits
        ],
        scanned=answer.scanned,
        failed=answer.failed.tolist(),
        reason=answer.reason,
        load=answer.load,
    )


def cell_answer(response: NodeSearchResponse) -> CellAnswer:
    """The answer that a node sent."""
    return CellAnswer(
        hits=[Hits(one.rows, one.distances, one.ids, one.payload) for one in response.results],
        failed=np.array(response.failed, dtype=np.int32),
        reason=response.reason,
        scanned=response.scanned,
        load=response.load,
    )
