"""A node that answers as the test says, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer
from tests.support.core.control import PATIENCE

from vectorcache.index.query import CellAnswer, Hits
from vectorcache.wire import internal, types
from vectorcache_service.app import STREAM_PATH
from vectorcache_service.stream import Call

Answer = Callable[[internal.NodeSearchRequest], Awaitable[tuple[int, object]]]
"""Status and body of the answer; bytes go out as they are, as the whole message."""


def told(request: internal.NodeSearchRequest, k: int | None = None) -> tuple[int, object]:
    """An answer from which each query knows its own: hit n of query q has id ``first component of q + n``."""
    k = request.options.k if k is None else k
    firsts = [vector[0] for vector in types.vectors_of(request.vectors, 2, most=100_000)]
    results = [
        Hits(
            rows=list(range(k)),
            distances=[float(n) for n in range(k)],
            ids=[int(first) + n for n in range(k)],
            payload=[{"n": n} for n in range(k)] if request.options.payload else None,
        )
        for first in firsts
    ]
    return 200, CellAnswer(hits=results, scanned=10 * len(firsts))


def refused(status: int, **problem: object) -> tuple[int, object]:
    return status, {"type": "urn:vectorcache:problem:x", "title": "Refused", "status": status} | problem


class FakeNode:
    """Searches wait in ``answer``, if ``hold`` was called until ``release``; a deaf node does not even send pongs."""

    def __init__(self) -> None:
        self.requests: list[internal.NodeSearchRequest] = []
        self.ids: list[str | None] = []
        self.connections = 0
        self.deaf = False
        self.in_flight = 0
        self.most = 0
        self.answer: Answer = _tell
        self._sockets: list[web.WebSocketResponse] = []
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

    async def hang_up(self) -> None:
        for socket in self._sockets:
            await socket.close()

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        self.connections += 1
        socket = web.WebSocketResponse(autoping=not self.deaf)
        await socket.prepare(request)
        self._sockets.append(socket)
        async with asyncio.TaskGroup() as group:
            while (message := await socket.receive()).type in (WSMsgType.BINARY, WSMsgType.PING):
                if not self.deaf:
                    group.create_task(self._answer(socket, message.data))
        return socket

    async def _answer(self, socket: web.WebSocketResponse, data: bytes) -> None:
        call = msgspec.msgpack.decode(data, type=Call)
        self.ids.append(call.request_id)
        self.requests.append(msgspec.msgpack.decode(call.request, type=internal.NodeSearchRequest))
        asked = self.requests[-1]
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            async with self._changed:
                self._changed.notify_all()
            await self._gate.wait()
            status, body = await self.answer(asked)
        finally:
            self.in_flight -= 1
        message = body if isinstance(body, bytes) else msgspec.msgpack.encode((call.number, status, body))
        if not socket.closed:
            await socket.send_bytes(message)


async def _tell(request: internal.NodeSearchRequest) -> tuple[int, object]:
    return told(request)


@asynccontextmanager
async def fake_node() -> AsyncIterator[tuple[FakeNode, str]]:
    """A fake node and its URL."""
    node, app = FakeNode(), web.Application()
    app.router.add_get(STREAM_PATH, node.connect)
    async with TestServer(app, handler_cancellation=True) as server:
        yield node, str(server.make_url("")).rstrip("/")
        node.release()
