"""The public API: the requests of clients to a router, and its responses."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from vectorcache.index.options import SearchOptions, Version
from vectorcache.index.query import Id
from vectorcache.wire.types import Message, Reply, VectorItem, Vectors

MAX_IDS = 1000


class SearchRequest(SearchOptions, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Search a collection for the nearest neighbours of one or more vectors."""

    vectors: Annotated[
        Vectors,
        msgspec.Meta(
            description="One list of numbers per query, or all queries as raw little-endian float32."
        ),
    ]


class Hit(Reply):
    """One neighbour. ``payload`` is present if it was requested."""

    id: Id
    distance: float
    payload: dict[str, Any] | None = None


class QueryResult(Reply):
    """The neighbours of one query, nearest first, and the share of its cells that was searched."""

    hits: list[Hit]
    searched: float


class SearchResponse(Reply):
    """One result per query. ``partial`` is true if some of the cells could not be searched."""

    collection: str
    version: int
    partial: bool
    searched: float
    """Smallest ``searched`` of the results."""
    results: list[QueryResult]


class VectorsRequest(Message):
    """Read vectors by their ids."""

    ids: Annotated[
        list[Id],
        msgspec.Meta(min_length=1, max_length=MAX_IDS, description="Ids of the collection's id type."),
    ]
    version: Version | None = None


class VectorsResponse(Reply):
    """The vectors that exist, in the order of the ids, and the ids that do not."""

    collection: str
    version: int
    vectors: list[VectorItem]
    missing: list[Id]


class CollectionInfo(Reply):
    """The version of a collection that is served now."""

    name: str
    version: int
    vectors: int
    dimension: int
    metric: str
    cells: int
    chunks: int
    bytes: int
    """Total size of the chunks in bytes."""
    nprobe: int
    """Default number of cells that a search scans."""
    recall: float
    """Recall@10 measured for the default ``nprobe``."""
    built_at: str


class UnreadableCollection(Reply):
    """A collection that cannot be served because its metadata is damaged."""

    name: str
    problem: str


class CollectionList(Reply):
    """All collections, sorted by name."""

    collections: list[CollectionInfo]
    unreadable: list[UnreadableCollection] = msgspec.field(default_factory=list)


class NodeInfo(Reply):
    """A node, its number of slots, and whether it failed recently."""

    name: str
    address: str
    slots: int
    suspect: bool


class RingInfo(Reply):
    """The ring of this router. Routers with the same ring version and shard size agree on the nodes of every chunk."""

    version: str
    virtual_nodes: int
    replication: int
    shard_bytes: int
    nodes: list[NodeInfo]


class NodeCountRequest(Message):
    """The desired number of nodes."""

    count: Annotated[int, msgspec.Meta(ge=1, le=1000)]


class NodeCount(Reply):
    """The desired number of nodes, and the number of ready nodes. They differ while a resize is in progress."""

    desired: int
    ready: int
