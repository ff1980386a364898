"""A node behind its stream of calls. Searches that arrive while others are under way travel together.

At most a few requests are under way to a node; what comes in the meantime waits and leaves as one request when
one of them returns. An idle node is asked at once, so a single caller waits for nothing; a busy one gets fewer,
larger requests, which cost both sides less.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import aiohttp
import msgspec
import numpy as np

from vectorcache import wire
from vectorcache.errors import InvalidInput, NotFound, Overloaded, Unavailable
from vectorcache.index.query import CellAnswer, CellQuery, Cells, Hits, StoredVector
from vectorcache.routing.node import SearchNode
from vectorcache_router.channel import Channel
from vectorcache_service.app import STREAM_PATH
from vectorcache_service.problem import Problem
from vectorcache_service.stream import OK, Reply

MAX_WAITING = 4096
"""Searches that may wait for a node; more than a busy one could answer in time."""

MAX_TOGETHER = 256
"""Queries that travel in one request."""

SEARCH, PREFETCH, VECTORS = "/v1/search", "/v1/prefetch", "/v1/vectors"
_PATIENCE = 1 / 0.9  # a node gets nine tenths of its caller's time, see ``vectorcache.routing.scatter``

_search_response = msgspec.msgpack.Decoder(wire.NodeSearchResponse).decode
_prefetch_response = msgspec.msgpack.Decoder(wire.PrefetchResponse).decode
_fetch_response = msgspec.msgpack.Decoder(wire.FetchResponse).decode
_problem = msgspec.msgpack.Decoder(Problem).decode

R = TypeVar("R")
_Kind: TypeAlias = tuple[str, int, bool]
_Request: TypeAlias = wire.NodeSearchRequest | wire.PrefetchRequest | wire.FetchRequest


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A search that has not left yet. Those that travel together go in the context, and request id, of the first."""

    query: CellQuery
    answer: asyncio.Future[CellAnswer]
    context: Context = field(default_factory=copy_context)


class HttpNode(SearchNode):
    """The client of one node's API.

    Args:
        name: the node's name on the ring.
        url: its base URL.
        session: shared by all nodes of a router, which closes it.
        requests: how many searches may be under way at the same time.
    """

    def __init__(self, name: str, url: str, session: aiohttp.ClientSession, *, requests: int = 2) -> None:
        self._name = name
        self._url = url.rstrip("/")
        self._channel = Channel(self._url + STREAM_PATH, session)
        self._free = requests
        self._waiting: dict[_Kind, deque[_Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """See ``SearchNode.name``."""
        return self._name

    @property
    def url(self) -> str:
        """The base URL."""
        return self._url

    async def search(self, query: CellQuery) -> CellAnswer:
        """See ``SearchNode.search``."""
        if self._free > 0:
            self._free -= 1
            try:
                return await self._search(query)
            finally:
                self._returned()
        if sum(map(len, self._waiting.values())) >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} searches wait for node {self._name!r} already")
        waiting = _Waiting(query, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(_kind_of(query), deque()).append(waiting)
        return await waiting.answer

    async def prefetch(self, collection: str, version: int, chunks: Sequence[int], timeout: float) -> int:
        """See ``SearchNode.prefetch``."""
        request = wire.PrefetchRequest(
            collection=collection, version=version, chunks=list(chunks), timeout=timeout
        )
        return (await self._call(PREFETCH, request, _prefetch_response, timeout * _PATIENCE)).loaded

    async def fetch(
        self, collection: str, version: int, chunk: int, positions: Sequence[int], timeout: float = 10.0
    ) -> list[StoredVector]:
        """See ``SearchNode.fetch``."""
        request = wire.FetchRequest(
            collection=collection, version=version, chunk=chunk, positions=list(positions)
        )
        found = (await self._call(VECTORS, request, _fetch_response, timeout)).vectors
        return [StoredVector(one.id, np.array(one.vector, dtype=np.float32), one.payload) for one in found]

    async def close(self) -> None:
        """Let what is under way finish. For what waits, or comes later, it is ``Unavailable``."""
        for queue in self._waiting.values():
            self._fail(queue, Unavailable(f"the client of node {self._name!r} was closed"))
        self._waiting.clear()
        await self._channel.close()
        await asyncio.gather(*self._tasks)

    async def _search(self, query: CellQuery) -> CellAnswer:
        request = wire.node_request(query)
        response = await self._call(SEARCH, request, _search_response, query.timeout * _PATIENCE)
        if len(response.results) != len(query.cells):
            raise Unavailable(f"node {self._name!r} did not answer each query")
        return wire.cell_answer(response)

    def _returned(self) -> None:
        """A request came back: those that wait may leave, else its place is free."""
        together = self._take()
        if not together:
            self._free += 1
            return
        task = asyncio.get_running_loop().create_task(self._travel(together), context=together[0].context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _take(self) -> list[_Waiting]:
        """Those of one kind that leave next, in turn with other kinds; callers that gave up are left out."""
        while self._waiting:
            kind = next(iter(self._waiting))
            queue = self._waiting.pop(kind)
            taken = _head(queue)
            if queue:
                self._waiting[kind] = queue
            if taken:
                return taken
        return []

    async def _travel(self, together: list[_Waiting]) -> None:
        try:
            answer = await self._search(_joined([one.query for one in together]))
            for one, part in zip(together, _parted(answer, [one.query for one in together]), strict=True):
                if not one.answer.done():
                    one.answer.set_result(part)
        except Exception as error:  # noqa: BLE001 - whatever it is, it goes to those who wait
            self._fail(together, error)
        finally:
            self._returned()

    def _fail(self, waiting: Iterable[_Waiting], error: Exception) -> None:
        for one in waiting:
            if not one.answer.done():
                one.answer.set_exception(error)
                one.answer.exception()  # retrieved, for the case that its caller gives up right now

    async def _call(
        self, path: str, request: _Request, decode: Callable[[msgspec.Raw], R], timeout: float
    ) -> R:
        try:
            reply = await self._channel.call(path, request, timeout)
        except (Unavailable, TimeoutError) as error:
            told = str(error) or type(error).__name__
            raise Unavailable(f"node {self._name!r} does not answer: {told}") from error
        if reply.status != OK:
            raise self._error(reply, f"{request.collection}/v{request.version}")
        try:
            return decode(reply.response)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unavailable(f"node {self._name!r} answered what is no answer: {error}") from error

    def _error(self, reply: Reply, version: str) -> Exception:
        status = reply.status
        try:
            problem = _problem(reply.response)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return Unavailable(f"node {self._name!r} answered {status}")
        if status in (400, 413):
            allowed = problem.allowed or problem.detail or problem.title
            return InvalidInput(problem.field or "request", problem.value, allowed)
        if status == 404:
            return NotFound("version", version)
        return Unavailable(f"node {self._name!r} answered {status}: {problem.title}")


def _kind_of(query: CellQuery) -> _Kind:
    """Queries of one kind may travel together."""
    return (query.collection, query.version, query.payload)


def _head(queue: deque[_Waiting]) -> list[_Waiting]:
    """Take those from a queue who may travel together: any one, or as many as ``MAX_TOGETHER`` allows."""
    taken: list[_Waiting] = []
    queries = 0
    while queue:
        queries += 0 if queue[0].answer.done() else len(queue[0].query.cells)
        if taken and queries > MAX_TOGETHER:
            break
        one = queue.popleft()
        if not one.answer.done():
            taken.append(one)
    return taken


def _joined(queries: Sequence[CellQuery]) -> CellQuery:
    """Queries of one kind as one; it asks for as many neighbours as the most demanding one."""
    first = queries[0]
    cells: list[Cells] = [cells for query in queries for cells in query.cells]
    return CellQuery(
        first.collection,
        first.version,
        np.concatenate([query.vectors for query in queries]),
        cells,
        max(query.k for query in queries),
        first.payload,
        max(query.timeout for query in queries),
    )


def _parted(answer: CellAnswer, queries: Sequence[CellQuery]) -> list[CellAnswer]:
    """One answer as the answers to the queries that travelled together."""
    parts, start = [], 0
    for query in queries:
        stop = start + len(query.cells)
        hits = [_first(one, query.k) for one in answer.hits[start:stop]]
        share = answer.scanned * len(query.cells) // max(1, len(answer.hits))
        parts.append(CellAnswer(hits, answer.failed, answer.reason, share))
        start = stop
    return parts


def _first(hits: Hits, k: int) -> Hits:
    if len(hits.ids) <= k:
        return hits
    payload = None if hits.payload is None else hits.payload[:k]
    return Hits(hits.rows[:k], hits.distances[:k], hits.ids[:k], payload)
