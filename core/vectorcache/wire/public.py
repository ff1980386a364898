"""The public API: what clients send to a router, and what it answers."""

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
        msgspec.Meta(description="One list of numbers a query, or all queries as raw little-endian float32."),
    ]


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
    unreadable: list[UnreadableCollection] = msgspec.field(default_factory=list)


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
