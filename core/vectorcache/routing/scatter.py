"""Scatter and gather: one search is spread over the nodes that own its chunks, and the answers are merged.

If a node fails, is late, or could not load a chunk, the next node in the ring's order is asked. Any node can search any
cell, because the blob store is the source of truth. An answer states the share of its cells that was searched in time.
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
"""Maximum number of nodes that are asked for the same cells before the cells count as not searched."""

_MERGE_WORK = 1e5  # cost of merging the answers to one query, in multiplications


@dataclass(frozen=True, slots=True)
class _Part:
    """Some cells of some queries: the numbers of the queries in the request, and the cells of each."""

    queries: list[int]
    cells: list[Cells]


@dataclass(slots=True)
class _Outcome:
    """The result for a part: hits by query number, and the cells of each query that could not be searched."""

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
    """The values that all parts of one search share."""

    coarse: CoarseQuantizer
    vectors: Floats
    options: ResolvedOptions
    deadline: float


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of a node, and of the next nodes for its missing cells. ``answered`` is set once the node has answered."""

    name: str
    part: _Part
    task: asyncio.Task[_Outcome]
    answered: asyncio.Event


class ScatterSearch:
    """Search over the nodes of one ring. A new object is created when the membership changes.

    A request to a node that does not return in time is hedged:

    1. The nodes of a search are asked concurrently, and the search waits up to ``hedge_after`` seconds for them.
    2. Node A has not returned by then. It is marked as failed, so that other searches ask it last.
    3. The same cells are asked of the next node in the ring's order, B, while the request to A goes on.
    4. If A or B returns a complete result, it is taken and the other request is cancelled. If both are incomplete or
       the deadline passes, the result with the fewest missing cells is taken.

    The requests in step 3 are hedged in the same way. At most ``MAX_NODES_TRIED`` nodes are asked for the same cells.

    Args:
        ring: assigns chunks to nodes. With ``replication`` above 1, requests take turns among the owners.
        nodes: by name. Those that are not on the ring are not asked.
        shard_bytes: size of the groups of chunks that are placed on the ring together.
        health: remembers nodes that failed recently. They are asked last.
        loads: counts the cells that are in progress on each node. Overloaded nodes are avoided.
        hedge_after: seconds after which a request is hedged.
        offload: runs work that would block the event loop for too long.
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
        """Return all nodes in the order to ask for a chunk. Nodes that failed recently come last."""
        suspects = self._health.suspects()
        return sorted(self._placement.preference(manifest, chunk), key=lambda name: name in suspects)

    async def search(
        self, coarse: CoarseQuantizer, vectors: Floats, options: ResolvedOptions
    ) -> list[Answer]:
        """Return the nearest neighbours of each query: one answer per query.

        Args:
            coarse: the version to search.
            vectors: (b, d) float32, already checked.
            options: an answer that is not complete within their timeout is partial.

        Raises:
            NotFound: the version was deleted.
            Unavailable: none of the cells could be searched.
        """
        if not len(vectors):
            return []
        deadline = self._clock() + options.timeout
        cells = await self._offload.run(coarse.work(len(vectors)), coarse.probe, vectors, options.nprobe)
        request = _Request(coarse, vectors, options, deadline)
        outcome = await self._ask(request, _Part(list(range(len(vectors))), cells), ())
        return await self._offload.run(len(cells) * _MERGE_WORK, _answers, outcome, cells, options.k)

    async def _ask(self, request: _Request, part: _Part, tried: tuple[str, ...]) -> _Outcome:
        """Ask the next nodes in the ring's order for the cells of a part, and hedge the calls that are late."""
        total = _Outcome()
        groups = self._group(request, part, tried)
        if not groups:
            total.missing = list(zip(part.queries, part.cells, strict=True))
            return total
        calls = [self._call(request, name, group, tried) for name, group in groups.items()]
        try:
            await asyncio.wait([call.task for call in calls], timeout=self._hedge_timeout(request))
            outcomes = [call.task.result() for call in calls if call.task.done()]
            hedges = [self._hedge(request, call, tried) for call in calls if not call.task.done()]
            for outcome in [*outcomes, *(await all_of(hedges) if hedges else ())]:
                total.add(outcome)
            return total
        finally:
            _cancel_running(call.task for call in calls)

    def _call(self, request: _Request, name: str, part: _Part, tried: tuple[str, ...]) -> _Call:
        """Ask a node in a task. Its load is counted now, because other nodes are chosen before the task begins."""
        cells = sum(map(len, part.cells))
        self._loads.asked(name, cells)
        answered = asyncio.Event()

        def count(_: object = None) -> None:
            if not answered.is_set():
                answered.set()
                self._loads.done(name, cells)

        task = asyncio.create_task(self._ask_node(request, name, part, (*tried, name), count))
        task.add_done_callback(count)  # it may be cancelled before it begins
        return _Call(name, part, task, answered)

    async def _ask_node(
        self,
        request: _Request,
        name: str,
        part: _Part,
        tried: tuple[str, ...],
        count: Callable[[], None],
    ) -> _Outcome:
        """Ask one node, and then the next ones for its missing cells, while nodes and time are left."""
        outcome = await self._call_node(request, name, part)
        count()
        if not outcome.missing or len(tried) >= MAX_NODES_TRIED or self._remaining(request) <= 0:
            return outcome
        rest = _Part([query for query, _ in outcome.missing], [cells for _, cells in outcome.missing])
        outcome.missing = []
        outcome.add(await self._ask(request, rest, tried))
        return outcome

    async def _hedge(self, request: _Request, late: _Call, tried: tuple[str, ...]) -> _Outcome:
        """Return the better result of a late call and of the nodes that are asked in its place."""
        if not late.answered.is_set():  # otherwise other nodes are late: they are asked for its missing cells
            self._health.failed(late.name)
        waiting = {late.task}
        if len(tried) + 1 < MAX_NODES_TRIED:
            waiting.add(asyncio.create_task(self._ask(request, late.part, (*tried, late.name))))
        calls = tuple(waiting)
        best = _Outcome(missing=list(zip(late.part.queries, late.part.cells, strict=True)))
        try:
            while waiting and best.missing and self._remaining(request) > 0:
                done, waiting = await asyncio.wait(
                    waiting, timeout=self._remaining(request), return_when=asyncio.FIRST_COMPLETED
                )
                best = min([best, *(call.result() for call in done)], key=_Outcome.cells_missing)
            return best
        finally:
            _cancel_running(calls)

    async def _call_node(self, request: _Request, name: str, part: _Part) -> _Outcome:
        """Call one node once. If it fails, all cells are missing."""
        manifest = request.coarse.manifest
        left = self._remaining(request)
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
        self._loads.reported(name, answer.load)
        hits = list(zip(part.queries, answer.hits, strict=True))
        if not len(answer.failed):
            return _Outcome(hits, [], answer.scanned)
        failed = np.array(answer.failed, dtype=np.int32)
        lost = [(query, cells[np.isin(cells, failed)]) for query, cells in everything]
        return _Outcome(hits, [(query, cells) for query, cells in lost if len(cells)], answer.scanned)

    def _hedge_timeout(self, request: _Request) -> float:
        return max(0.0, min(self._hedge_after, self._remaining(request)))

    def _remaining(self, request: _Request) -> float:
        return request.deadline - self._clock()

    def _group(self, request: _Request, part: _Part, tried: tuple[str, ...]) -> dict[str, _Part]:
        """Divide a part by the node to ask next. Return an empty dict if no node is left."""
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


def _cancel_running(calls: Iterable[asyncio.Task[_Outcome]]) -> None:
    """Cancel the calls that are still running, and ignore their results."""
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
        raise Unavailable("no node could search any cell in time")
    scanned = outcome.scanned // max(1, len(cells))
    return [
        answer_of(merge_hits(found, k), 1.0 - count / len(wanted), scanned)
        for found, count, wanted in zip(parts, lost, cells, strict=True)
    ]
