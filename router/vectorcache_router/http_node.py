"""A node behind HTTP. Searches that arrive while others are under way travel together.

At most a few requests are under way to a node; what comes in the meantime waits and leaves as one request when
one of them returns. An idle node is asked at once, so a single caller waits for nothing; a busy one gets fewer,
larger requests, which cost both sides less.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
import msgspec
import numpy as np

from vectorcache import wire
from vectorcache.errors import InvalidInput, NotFound, Overloaded, Unavailable
from vectorcache.index.query import CellAnswer, CellQuery, Cells, Hits, StoredVector
from vectorcache.routing.node import SearchNode
from vectorcache_service import request_id
from vectorcache_service.codec import MSGPACK
from vectorcache_service.problem import Problem

MAX_WAITING = 4096
"""Searches that may wait for a node; more than a busy one could answer in time."""

MAX_TOGETHER = 256
"""Queries that travel in one request."""

_encode = msgspec.msgpack.Encoder().encode
_search_response = msgspec.msgpack.Decoder(wire.NodeSearchResponse).decode
_prefetch_response = msgspec.msgpack.Decoder(wire.PrefetchResponse).decode
_fetch_response = msgspec.msgpack.Decoder(wire.FetchResponse).decode
_problem = msgspec.json.Decoder(Problem).decode


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A search that has not left yet. Searches of one ``kind`` may travel together."""

    query: CellQuery
    answer: asyncio.Future[CellAnswer]

    @property
    def kind(self) -> tuple[str, int, bool]:
        return (self.query.collection, self.query.version, self.query.payload)


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
        self._session = session
        self._free = requests
        self._waiting: deque[_Waiting] = deque()
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
        if len(self._waiting) >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} searches wait for node {self._name!r} already")
        waiting = _Waiting(query, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        return await waiting.answer

    async def prefetch(self, collection: str, version: int, chunks: Sequence[int], timeout: float) -> int:
        """See ``SearchNode.prefetch``."""
        request = wire.PrefetchRequest(
            collection=collection, version=version, chunks=list(chunks), timeout=timeout
        )
        return _prefetch_response(await self._post("/v1/prefetch", request, timeout + 1)).loaded

    async def fetch(
        self, collection: str, version: int, chunk: int, positions: Sequence[int], timeout: float = 10.0
    ) -> list[StoredVector]:
        """See ``SearchNode.fetch``."""
        request = wire.FetchRequest(
            collection=collection, version=version, chunk=chunk, positions=list(positions)
        )
        found = _fetch_response(await self._post("/v1/vectors", request, timeout)).vectors
        return [StoredVector(one.id, np.array(one.vector, dtype=np.float32), one.payload) for one in found]

    async def close(self) -> None:
        """Give up what waits and what is under way for those that wait."""
        while self._waiting:
            self._waiting.popleft().answer.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _search(self, query: CellQuery) -> CellAnswer:
        data = await self._post("/v1/search", wire.node_request(query), query.timeout / 0.9)
        return wire.cell_answer(_search_response(data))

    def _returned(self) -> None:
        """A request came back: those that wait may leave, else its place is free."""
        together = self._take()
        if not together:
            self._free += 1
            return
        task = asyncio.get_running_loop().create_task(self._travel(together))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _take(self) -> list[_Waiting]:
        """Those at the head of the queue that may travel together; callers that gave up are left out."""
        taken: list[_Waiting] = []
        queries = 0
        while self._waiting:
            head = self._waiting[0]
            if head.answer.done():
                self._waiting.popleft()
                continue
            queries += len(head.query.cells)
            if taken and (head.kind != taken[0].kind or queries > MAX_TOGETHER):
                break
            taken.append(self._waiting.popleft())
        return taken

    async def _travel(self, together: list[_Waiting]) -> None:
        try:
            answer = await self._search(_joined([one.query for one in together]))
            for one, part in zip(together, _parted(answer, [one.query for one in together]), strict=True):
                if not one.answer.done():
                    one.answer.set_result(part)
        except Exception as error:  # noqa: BLE001 - whatever it is, it goes to those who wait
            for one in together:
                if not one.answer.done():
                    one.answer.set_exception(error)
        finally:
            for one in together:
                one.answer.cancel()  # does nothing to those that are done
            self._returned()

    async def _post(self, path: str, message: object, timeout: float) -> bytes:
        headers = {"Content-Type": MSGPACK, "Accept": MSGPACK, **request_id.outgoing_headers()}
        try:
            async with self._session.post(
                self._url + path,
                data=_encode(message),
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=timeout, connect=min(timeout, 1.0)),
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"node {self._name!r} does not answer: {type(error).__name__}") from error
        if response.status != 200:
            raise self._error(response.status, body)
        return body

    def _error(self, status: int, body: bytes) -> Exception:
        try:
            problem = _problem(body)
        except msgspec.MsgspecError:
            return Unavailable(f"node {self._name!r} answered {status}")
        if status == 400:
            return InvalidInput(
                problem.field or "request", problem.value, problem.allowed or str(problem.detail)
            )
        if status == 404:
            return NotFound("version", problem.detail or "")
        return Unavailable(f"node {self._name!r} answered {status}: {problem.title}")


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
