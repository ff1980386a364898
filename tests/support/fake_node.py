"""A node that answers as the test says, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.support.control import PATIENCE

from vectorcache import wire
from vectorcache_service.request_id import HEADER

Answer = Callable[[wire.NodeSearchRequest], Awaitable[web.Response]]


def told(request: wire.NodeSearchRequest, k: int | None = None) -> web.Response:
    """An answer from which each query knows its own: hit n of query q has id ``first component of q + n``."""
    k = request.k if k is None else k
    firsts = [vector[0] for vector in wire.vectors_of(request.vectors, 2, most=100_000)]
    results = [
        wire.NodeHits(
            rows=list(range(k)),
            distances=[float(n) for n in range(k)],
            ids=[int(first) + n for n in range(k)],
            payload=[{"n": n} for n in range(k)] if request.payload else None,
        )
        for first in firsts
    ]
    body = msgspec.msgpack.encode(wire.NodeSearchResponse(results=results, scanned=10 * len(firsts)))
    return web.Response(body=body, content_type="application/msgpack")


def refused(status: int, **problem: object) -> web.Response:
    body = {"type": "urn:vectorcache:problem:x", "title": "Refused", "status": status} | problem
    return web.json_response(body, status=status, content_type="application/problem+json")


class FakeNode:
    """Searches wait in ``answer``, if ``hold`` was called until ``release``."""

    def __init__(self) -> None:
        self.requests: list[wire.NodeSearchRequest] = []
        self.ids: list[str | None] = []
        self.under_way = 0
        self.most = 0
        self.answer: Answer = _tell
        self._gate = asyncio.Event()
        self._gate.set()
        self._changed = asyncio.Condition()

    def hold(self) -> None:
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()

    async def arrivals(self, count: int) -> None:
        """Wait until so many requests have come here."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(self.requests) >= count)

    async def search(self, request: web.Request) -> web.Response:
        self.ids.append(request.headers.get(HEADER))
        self.requests.append(msgspec.msgpack.decode(await request.read(), type=wire.NodeSearchRequest))
        asked = self.requests[-1]
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            async with self._changed:
                self._changed.notify_all()
            await self._gate.wait()
            return await self.answer(asked)
        finally:
            self.under_way -= 1


async def _tell(request: wire.NodeSearchRequest) -> web.Response:
    return told(request)


@asynccontextmanager
async def fake_node() -> AsyncIterator[tuple[FakeNode, str]]:
    """A fake node and its URL."""
    node, app = FakeNode(), web.Application()
    app.router.add_post("/v1/search", node.search)
    async with TestServer(app, handler_cancellation=True) as server:
        yield node, str(server.make_url("")).rstrip("/")
        node.release()
