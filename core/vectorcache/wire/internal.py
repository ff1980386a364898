"""The protocol between routers and nodes. Both must have the same release, because it may change with each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np

from vectorcache.errors import InvalidInput
from vectorcache.index.options import MAX_TIMEOUT, ResolvedOptions, Timeout, Version
from vectorcache.index.query import CellQuery, Cells
from vectorcache.vectors.metric import Floats
from vectorcache.wire.types import Index, Message, Name, Reply, VectorItem, Vectors, vectors_of

MAX_CHUNKS = 100_000
MAX_POSITIONS = 10_000


class NodeSearchRequest(Message):
    """Search cells of one version, with a list of cells for each query. The answer is a ``CellAnswer``."""

    collection: Name
    version: Version
    vectors: Vectors
    cells: list[bytes | list[Index]]
    options: ResolvedOptions


class PrefetchRequest(Message):
    """Load chunks into the node's cache."""

    collection: Name
    version: Version
    chunks: Annotated[list[Index], msgspec.Meta(max_length=MAX_CHUNKS)]
    timeout: Timeout = 30.0


class PrefetchResponse(Reply):
    """Number of the requested chunks that are in the cache now."""

    loaded: int


class FetchRequest(Message):
    """Read vectors by their place: a chunk, and positions in it."""

    collection: Name
    version: Version
    chunk: Index
    positions: Annotated[list[Index], msgspec.Meta(max_length=MAX_POSITIONS)]


class FetchResponse(Reply):
    """The vectors, in the order of the positions."""

    vectors: list[VectorItem]


class KeptRequest(Message):
    """Read the copy of a metadata blob, or of the list of folders below a prefix that ends in a slash."""

    key: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class KeptResponse(Reply):
    """The bytes of the blob."""

    data: bytes


class LayerInfo(Reply):
    """The counters of a layer since the node started, and its current size."""

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
    """The counters of a node since it started, and those of its layers."""

    name: str
    uptime_seconds: float
    searches: int
    queries: int
    scanned: int
    layers: list[LayerInfo]


def cells_of(value: Sequence[bytes | list[int]], queries: int) -> list[Cells]:
    """Return the distinct cells of each query, ascending, from lists of numbers or raw little-endian int32."""
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
    """Return the message for a query."""
    options = msgspec.structs.replace(
        query.options, version=None, timeout=min(query.options.timeout, MAX_TIMEOUT)
    )
    return NodeSearchRequest(
        collection=query.collection,
        version=query.version,
        vectors=np.ascontiguousarray(query.vectors, dtype="<f4").tobytes(),
        cells=[cells.astype("<i4", copy=False).tobytes() for cells in query.cells],
        options=options,
    )


def cell_query(request: NodeSearchRequest, *, most: int) -> CellQuery:
    """Return the query of a message.

    Raises:
        InvalidInput: there is no query, or more than ``most``, or the numbers of vectors and of lists of cells differ.
    """
    vectors = _vectors(request.vectors, len(request.cells), most)
    cells = cells_of(request.cells, len(vectors))
    return CellQuery(request.collection, request.version, vectors, cells, request.options)


def _vectors(value: Vectors, queries: int, most: int) -> Floats:
    """Return the vectors (queries, d). The dimension of raw bytes follows from the number of queries."""
    if not isinstance(value, bytes):
        return vectors_of(value, len(value[0]) if value else 1, most=most)
    if not queries or not value or len(value) % (4 * queries):
        raise InvalidInput(
            "vectors", f"{len(value)} bytes", f"{queries} vectors of float32, one per list of cells"
        )
    return vectors_of(value, len(value) // (4 * queries), most=most)
