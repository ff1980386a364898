"""Scatter and gather: one search spread over the nodes that own its chunks, and merged.

A node that fails, is late, or could not load a chunk is replaced by the next one in the ring's order: any node
can search any cell, because the blob is the truth. What nobody could search in time is told, never hidden.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from vectorcache.concurrency import Offload, all_of
from vectorcache.errors import CorruptData, Unavailable
from vectorcache.index.coarse import CoarseQuantizer
from vectorcache.index.manifest import Manifest
from vectorcache.index.node import SearchNode
from vectorcache.index.options import CALLEE_SHARE, ResolvedOptions
from vectorcache.index.query import Answer, CellQuery, Cells, Hits, answer_of, merge_hits
from vectorcache.routing.health import NodeHealth
from vectorcache.routing.load import NodeLoads
from vectorcache.routing.placement import SHARD_BYTES, Placement
from vectorcache.routing.ring import HashRing
from vectorcache.vectors.metric import Floats

MAX_NODES_TRIED = 3
"""How many nodes are asked for the same cells, one after the other, before they count as not searched."""

_MERGE_WORK = 1e5  # merging the answers to one query takes as long as so many multiplications


@dataclass(frozen=True, slots=True)
class _Part:
    """Some cells of some queries: numbers of the queries in the request, and the cells of each."""

    queries: list[int]
    cells: list[Cells]


@dataclass(slots=True)
class _Outcome:
    """What came back for a part: hits by query number, and what could not be searched."""

    hits: list[tuple[int, Hits]] = field(default_factory=list)
    missing: list[tuple[int, Cells]] = field(default_factory=list)
    scanned: int = 0

    def add(self, other: _Outcome) -> None:
        self.hits += other.hits
        self.missing += other.missing
        self.scanned += other.scanned

    def cells_missing(self) -> int:
        return sum(len(cells) for _, cells in self.missing)


@dataclass(frozen=True, slots=True)
class _Request:
    """What stays the same for all parts of one search."""

    coarse: CoarseQuantizer
    vectors: Floats
    options: ResolvedOptions
    deadline: float


class ScatterSearch:
    """Searches a collection over the nodes of one ring. Made anew when the membership changes.

    Args:
        ring: says which nodes own a chunk. With ``replication`` above 1, requests take turns among the owners.
        nodes: by name; those that the ring does not name are not asked.
        shard_bytes: of the chunks that have their place on the ring together.
        health: remembers nodes that failed lately; they are asked last.
        loads: counts what nodes have in hand; those with too much are spared.
        hedge_after: seconds after which the next node is asked too, and the first good answer is taken.
        offload: runs what would hold the event loop for long.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        ring: HashRing,
        nodes: Mapping[str, SearchNode],
        *,
        shard_bytes: int = SHARD_BYTES,
        health: NodeHealth | None = None,
        loads: NodeLoads | None = None,
        hedge_after: float = 0.5,
        offload: Offload | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ring = ring
        self._nodes = nodes
        self._health = health or NodeHealth(clock)
        self._loads = loads or NodeLoads(clock)
        self._placement = Placement(ring, shard_bytes, self._loads)
        self._hedge_after = hedge_after
        self._offload = offload or Offload()
        self._clock = clock

    def preference(self, manifest: Manifest, chunk: int) -> list[str]:
        """Every node, in the order to ask for a chunk: those that failed lately come last."""
        suspects = self._health.suspects()
        return sorted(self._placement.preference(manifest, chunk), key=lambda name: name in suspects)

    async def search(
        self, coarse: CoarseQuantizer, vectors: Floats, options: ResolvedOptions
    ) -> list[Answer]:
        """Return the nearest neighbours of each query: one answer per query.

        Args:
            coarse: the version to search.
            vectors: (b, d) float32, checked already.
            options: an answer that is not complete within their timeout is partial.

        Raises:
            NotFound: the version was deleted.
            Unavailable: no query could be searched at all.
        """
        if not len(vectors):
            return []
        deadline = self._clock() + options.timeout
        cells = await self._offload.run(coarse.work(len(vectors)), coarse.probe, vectors, options.nprobe)
        request = _Request(coarse, vectors, options, deadline)
        outcome = await self._ask(request, _Part(list(range(len(vectors))), cells), ())
        return await self._offload.run(len(cells) * _MERGE_WORK, _answers, outcome, cells, options.k)

    async def _ask(self, request: _Request, part: _Part, tried: tuple[str, ...]) -> _Outcome:
        """Ask the nodes that are next in the ring's order for each chunk of a part."""
        total = _Outcome()
        groups = self._group(request, part, tried)
        if not groups:
            total.missing = list(zip(part.queries, part.cells, strict=True))
            return total
        calls = {
            self._call(request, name, group, (*tried, name)): (name, group) for name, group in groups.items()
        }
        try:
            _, late = await asyncio.wait(calls, timeout=self._patience(request))
            outcomes = [call.result() for call in calls if call not in late]
            hedges = [self._hedged(request, *calls[call], tried, call) for call in late]
            for outcome in [*outcomes, *(await all_of(hedges) if hedges else ())]:
                total.add(outcome)
            return total
        finally:
            _abandon(calls)

    def _call(
        self, request: _Request, name: str, part: _Part, tried: tuple[str, ...]
    ) -> asyncio.Task[_Outcome]:
        """Ask a node in a task. It counts as loaded from now on, since others are asked before the task begins."""
        cells = sum(map(len, part.cells))
        self._loads.asked(name, cells)

        def answered(_: object = None) -> None:
            nonlocal cells
            self._loads.done(name, cells)
            cells = 0

        call = asyncio.create_task(self._ask_node(request, name, part, tried, answered))
        call.add_done_callback(answered)  # it may be cancelled before it begins
        return call

    async def _ask_node(
        self,
        request: _Request,
        name: str,
        part: _Part,
        tried: tuple[str, ...],
        answered: Callable[[], None],
    ) -> _Outcome:
        """Ask one node, and the next ones for what it misses, while nodes and time are left."""
        outcome = await self._once(request, name, part)
        answered()
        if not outcome.missing or len(tried) >= MAX_NODES_TRIED or self._left(request) <= 0:
            return outcome
        rest = _Part([query for query, _ in outcome.missing], [cells for _, cells in outcome.missing])
        outcome.missing = []
        outcome.add(await self._ask(request, rest, tried))
        return outcome

    async def _hedged(
        self, request: _Request, name: str, part: _Part, tried: tuple[str, ...], first: asyncio.Task[_Outcome]
    ) -> _Outcome:
        """The better answer of a late node and of those that are asked in its place."""
        self._health.failed(name)
        waiting = {first}
        if len(tried) + 1 < MAX_NODES_TRIED:
            waiting.add(asyncio.create_task(self._ask(request, part, (*tried, name))))
        calls = tuple(waiting)
        best = _Outcome(missing=list(zip(part.queries, part.cells, strict=True)))
        try:
            while waiting and best.missing and self._left(request) > 0:
                done, waiting = await asyncio.wait(
                    waiting, timeout=self._left(request), return_when=asyncio.FIRST_COMPLETED
                )
                best = min([best, *(call.result() for call in done)], key=_Outcome.cells_missing)
            return best
        finally:
            _abandon(calls)

    async def _once(self, request: _Request, name: str, part: _Part) -> _Outcome:
        """One call of one node; a node that fails has searched nothing."""
        manifest = request.coarse.manifest
        left = self._left(request)
        everything = list(zip(part.queries, part.cells, strict=True))
        if left <= 0:
            return _Outcome(missing=everything)
        query = CellQuery(
            manifest.collection,
            manifest.version,
            request.vectors if len(part.queries) == len(request.vectors) else request.vectors[part.queries],
            part.cells,
            msgspec.structs.replace(request.options, timeout=left * CALLEE_SHARE),
        )
        try:
            answer = await self._nodes[name].search(query)
        except (Unavailable, CorruptData):
            self._health.failed(name)
            return _Outcome(missing=everything)
        self._health.worked(name)
        self._loads.told(name, answer.load)
        hits = list(zip(part.queries, answer.hits, strict=True))
        if not len(answer.failed):
            return _Outcome(hits, [], answer.scanned)
        lost = [(query, cells[np.isin(cells, answer.failed)]) for query, cells in everything]
        return _Outcome(hits, [(query, cells) for query, cells in lost if len(cells)], answer.scanned)

    def _patience(self, request: _Request) -> float:
        return max(0.0, min(self._hedge_after, self._left(request)))

    def _left(self, request: _Request) -> float:
        return request.deadline - self._clock()

    def _group(self, request: _Request, part: _Part, tried: tuple[str, ...]) -> dict[str, _Part]:
        """Cut a part by the node to ask next. Empty when no node is left."""
        nodes = self._placement.nodes_for(
            request.coarse.manifest, part.cells, tried=tried, suspects=self._health.suspects()
        )
        if nodes is None:
            return {}
        names = self.ring.nodes
        if (nodes == nodes[0]).all():
            return {names[nodes[0]]: part}
        cells = np.concatenate(part.cells)
        query_of = np.repeat(np.arange(len(part.cells)), [len(one) for one in part.cells])
        groups = {}
        for node in np.flatnonzero(np.bincount(nodes)).tolist():
            places = np.flatnonzero(nodes == node)
            queries = query_of[places]
            starts = np.flatnonzero(np.diff(queries, prepend=-1))
            groups[names[node]] = _Part(
                [part.queries[query] for query in queries[starts].tolist()],
                np.split(cells[places], starts[1:]),
            )
        return groups


def _abandon(calls: Iterable[asyncio.Task[_Outcome]]) -> None:
    """Cancel what still runs; nobody looks at what becomes of it."""
    for call in calls:
        if not call.done():
            call.add_done_callback(lambda done: done.cancelled() or done.exception())
            call.cancel()


def _answers(outcome: _Outcome, cells: Sequence[Cells], k: int) -> list[Answer]:
    parts: list[list[Hits]] = [[] for _ in cells]
    for query, hits in outcome.hits:
        parts[query].append(hits)
    lost = [0] * len(cells)
    for query, missing in outcome.missing:
        lost[query] += len(missing)
    if cells and all(count == len(wanted) for count, wanted in zip(lost, cells, strict=True)):
        raise Unavailable("no node could search anything in time")
    scanned = outcome.scanned // max(1, len(cells))
    return [
        answer_of(merge_hits(found, k), 1.0 - count / len(wanted), scanned)
        for found, count, wanted in zip(parts, lost, cells, strict=True)
    ]
