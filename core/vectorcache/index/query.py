"""The values that an index, nodes and routers exchange to search cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vectorcache.index.options import ResolvedOptions
from vectorcache.vectors.metric import Floats
from vectorcache.vectors.topk import merge_nearest

Cells = NDArray[np.int32]
"""Numbers of cells, ascending."""

Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | str


@dataclass(frozen=True, slots=True)
class CellQuery:
    """A request to search some cells of one version of a collection.

    Attributes:
        collection, version: the version to search.
        vectors: (b, d) float32, the queries.
        cells: for each query, the cells to scan.
        options: ``timeout`` is the time left for this call. Cells that are not loaded by then are reported as failed.
    """

    collection: str
    version: int
    vectors: Floats
    cells: Sequence[Cells]
    options: ResolvedOptions


class Hits(msgspec.Struct, omit_defaults=True):
    """The neighbours of one query, nearest first.

    Attributes:
        rows: m numbers of vectors in the collection, which identify a neighbour.
        distances: m distances.
        ids: m ids.
        payload: m payloads, or None if they were not requested.
    """

    rows: list[int]
    distances: list[float]
    ids: list[Id]
    payload: list[dict[str, Any]] | None = None


class CellAnswer(msgspec.Struct, omit_defaults=True):
    """The answer to a ``CellQuery``: the hits of each query, and the cells that could not be searched.

    Attributes:
        hits: one per query, from the cells that could be searched.
        failed: cells whose chunk could not be loaded, ascending, over all queries.
        reason: the reason why one of them failed; empty if none did.
        scanned: number of rows compared, over all queries.
        load: number of cells of other searches in progress on the node, counted once per query.
    """

    hits: list[Hits]
    failed: list[int] = msgspec.field(default_factory=list)
    reason: str = ""
    scanned: int = 0
    load: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The neighbours of one query, nearest first, and the share of its cells that was searched.

    Attributes:
        ids, distances: m ids and distances (float64), m <= k.
        payload: m payloads, or None if they were not requested.
        searched: share of the probed cells that could be searched; 1.0 if the answer is complete.
        scanned: number of rows compared.
    """

    ids: list[int | str]
    distances: list[float]
    payload: list[dict[str, Any]] | None
    searched: float
    scanned: int = 0

    @property
    def partial(self) -> bool:
        """Whether some of the probed cells could not be searched."""
        return self.searched < 1.0


@dataclass(frozen=True, slots=True)
class StoredVector:
    """A vector of a collection as stored in a chunk: (d,) float32, with its id and payload."""

    id: int | str
    vector: Floats
    payload: dict[str, Any]


def merge_hits(parts: Sequence[Hits], k: int) -> Hits:
    """Return the k nearest distinct hits of several answers to one query."""
    if len(parts) == 1:
        return parts[0]
    rows = [value for part in parts for value in part.rows]
    distances = [value for part in parts for value in part.distances]
    kept = merge_nearest(rows, distances, k)
    ids = [value for part in parts for value in part.ids]
    payloads = [value for part in parts for value in part.payload or ()]
    return Hits(
        rows=[rows[at] for at in kept],
        distances=[distances[at] for at in kept],
        ids=[ids[at] for at in kept],
        payload=[payloads[at] for at in kept] if any(part.payload is not None for part in parts) else None,
    )


def answers_of(found: CellAnswer, cells: Sequence[Cells]) -> list[Answer]:
    """Return one answer per query, from a node that was asked for all of its cells."""
    return [
        answer_of(hits, searched_share(wanted, found.failed), found.scanned // max(1, len(cells)))
        for hits, wanted in zip(found.hits, cells, strict=True)
    ]


def answer_of(hits: Hits, searched: float, scanned: int = 0) -> Answer:
    """Return hits in the form that callers get."""
    return Answer(hits.ids, hits.distances, hits.payload, searched, scanned)


def searched_share(wanted: Cells, failed: Sequence[int]) -> float:
    """Return the share of the wanted cells that did not fail."""
    if not len(failed) or not len(wanted):
        return 1.0
    return 1.0 - float(np.isin(wanted, failed).mean())


def no_cells() -> Cells:
    """Return an empty array of cells."""
    return np.empty(0, dtype=np.int32)
