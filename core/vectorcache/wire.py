"""The types of both HTTP APIs: what clients say to a router, and what a router says to nodes.

Every type travels as JSON or as msgpack. Where vectors or cells go in, msgpack may carry them raw, as
little-endian float32 or int32 (in JSON the same bytes in base64); lists of numbers work in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from vectorcache.errors import InvalidInput
from vectorcache.index.query import CellAnswer, CellQuery, Cells, Hits, StoredVector
from vectorcache.metric import Floats, as_vectors

MAX_K = 10_000
MAX_TIMEOUT = 600.0
MAX_CHUNKS = 100_000
MAX_POSITIONS = 10_000
MAX_IDS = 1000

_INT32 = 2**31 - 1

Vectors = bytes | list[list[float]]
Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | str
K = Annotated[int, msgspec.Meta(ge=1, le=MAX_K, description="How many neighbours each query wants.")]
Probes = Annotated[
    int, msgspec.Meta(ge=1, le=_INT32, description="Cells to scan; more finds more and takes longer.")
]
Recall = Annotated[float, msgspec.Meta(gt=0, le=1, description="Recall@10 to reach, instead of nprobe.")]
Exact = Annotated[
    bool,
    msgspec.Meta(description="Compare all vectors of the probed cells instead of their codes first."),
]
Timeout = Annotated[float, msgspec.Meta(gt=0, le=MAX_TIMEOUT, description="Seconds.")]
Version = Annotated[int, msgspec.Meta(ge=1, le=_INT32, description="Number of a version.")]
Index = Annotated[int, msgspec.Meta(ge=0, le=_INT32)]
Name = Annotated[
    str,
    msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", description="Name of a collection."),
]


class Message(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of what clients send: an unknown field is an error, because it is a mistake."""


class Reply(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Base of what servers send: clients ignore fields that they do not know."""


# What clients say to a router


class SearchRequest(Message):
    """Search a collection for the nearest neighbours of one or more vectors."""

    vectors: Annotated[
        Vectors,
        msgspec.Meta(description="One list of numbers a query, or all queries as raw little-endian float32."),
    ]
    k: K | None = None
    nprobe: Probes | None = None
    recall: Recall | None = None
    version: Version | None = None
    payload: bool = False
    exact: Exact = False
    timeout: Timeout | None = None


class Hit(Reply):
    """One neighbour. ``payload`` is there where it was asked for."""

    id: Id
    distance: float
    payload: dict[str, Any] | None = None


class QueryResult(Reply):
    """The neighbours of one query, nearest first, and the share of its cells that was searched."""

    hits: list[Hit]
    searched: float


class SearchResponse(Reply):
    """One result per query. ``partial`` says that some of what should have been searched was not."""

    collection: str
    version: int
    partial: bool
    searched: float
    """The smallest ``searched`` of the results."""
    results: list[QueryResult]


class VectorsRequest(Message):
    """Ask for vectors by their ids."""

    ids: Annotated[
        list[Id],
        msgspec.Meta(min_length=1, max_length=MAX_IDS, description="Ids of the collection's own type."),
    ]
    version: Version | None = None


class VectorItem(Reply):
    """A vector of the collection."""

    id: Id
    vector: list[float]
    payload: dict[str, Any]


class VectorsResponse(Reply):
    """The vectors that exist, in the order of the ids, and the ids that do not."""

    collection: str
    version: int
    vectors: list[VectorItem]
    missing: list[Id]


class CollectionInfo(Reply):
    """A collection as it is served now."""

    name: str
    version: int
    vectors: int
    dimension: int
    metric: str
    cells: int
    chunks: int
    bytes: int
    """Size of all chunks."""
    nprobe: int
    """Cells that a search scans unless it says otherwise."""
    recall: float
    """Recall@10 that this was measured to give."""
    built_at: str


class UnreadableCollection(Reply):
    """A collection that cannot be served, because what describes it is damaged."""

    name: str
    problem: str


class CollectionList(Reply):
    """All collections, by name."""

    collections: list[CollectionInfo]
    unreadable: list[UnreadableCollection] = []


class NodeInfo(Reply):
    """A node, its share of the slots, and whether it failed lately."""

    name: str
    address: str
    slots: int
    suspect: bool


class RingInfo(Reply):
    """The ring as this router sees it; routers of the same version and shard size agree on every chunk."""

    version: str
    virtual_nodes: int
    replication: int
    shard_bytes: int
    nodes: list[NodeInfo]


class NodeCountRequest(Message):
    """The number of nodes that there should be."""

    count: Annotated[int, msgspec.Meta(ge=1, le=1000)]


class NodeCount(Reply):
    """How many nodes there should be and how many there are; they differ while a resize is under way."""

    desired: int
    ready: int


# What a router says to nodes


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
    failed: list[int] = []
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


# Between wire and domain


def vectors_of(value: Vectors, dimension: int, *, most: int, field: str = "vectors") -> Floats:
    """Queries (b, d) float32 from lists of numbers or raw little-endian float32.

    Raises:
        InvalidInput: none or more than ``most``, a wrong dimension or length, NaN or infinity.
    """
    if isinstance(value, bytes):
        if not value or len(value) % (4 * dimension):
            raise InvalidInput(
                field, f"{len(value)} bytes", f"a multiple of {4 * dimension}: float32 x {dimension}"
            )
        vectors = np.frombuffer(value, dtype="<f4").reshape(-1, dimension)
    else:
        for place, vector in enumerate(value):
            if len(vector) != dimension:
                raise InvalidInput(f"{field}[{place}]", f"{len(vector)} numbers", f"{dimension} numbers")
        vectors = np.asarray(value, dtype=np.float64)
    if not 1 <= len(vectors) <= most:
        raise InvalidInput(field, f"{len(vectors)} queries", f"1 to {most} queries in a request")
    return as_vectors(vectors, field, dimension=dimension)


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


def vector_item(stored: StoredVector) -> VectorItem:
    """A vector as it travels."""
    return VectorItem(id=stored.id, vector=stored.vector.tolist(), payload=stored.payload)
