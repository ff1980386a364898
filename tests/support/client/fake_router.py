"""A router of a few lines: exact search over a handful of vectors, with failures that a test orders."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import TypeVar

import msgspec
import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from vectorcache import ExactVectorSearch
from vectorcache.wire import public, types

T = TypeVar("T")

PROBLEM = "urn:vectorcache:problem:"


def problem(status: int, slug: str, **fields: str) -> web.Response:
    body = msgspec.json.encode({"type": PROBLEM + slug, "title": slug, "status": status, **fields})
    return web.Response(status=status, body=body, content_type="application/problem+json")


class FakeRouter:
    """``failures`` answer the next requests in turn; ``requests`` are the bodies that came."""

    def __init__(self, vectors: np.ndarray, ids: list[int] | list[str]) -> None:
        self.vectors = np.asarray(vectors, dtype=np.float32)
        self.ids = ids
        self.failures: deque[web.StreamResponse] = deque()
        self.requests: list[public.SearchRequest] = []
        self.calls = 0
        self.ready = True
        self.searched = 1.0
        self.count = public.NodeCount(desired=3, ready=3)
        self.hold: asyncio.Event | None = None

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._fail])
        app.router.add_post("/v1/collections/words/search", self._search)
        app.router.add_post("/v1/collections/words/vectors", self._vectors)
        app.router.add_get("/v1/collections", self._collections)
        app.router.add_get("/v1/collections/words", self._collection)
        app.router.add_get("/v1/ring", self._ring)
        app.router.add_get("/v1/nodes/count", self._count)
        app.router.add_post("/v1/nodes/count", self._set_count)
        app.router.add_get("/readyz", self._readyz)
        return app

    @web.middleware
    async def _fail(self, request: web.Request, handler) -> web.StreamResponse:
        self.calls += 1
        if self.hold is not None:
            await self.hold.wait()
        return self.failures.popleft() if self.failures else await handler(request)

    async def _search(self, request: web.Request) -> web.Response:
        asked = await _body(request, public.SearchRequest)
        self.requests.append(asked)
        queries = types.vectors_of(asked.vectors, self.vectors.shape[1], most=100)
        found = ExactVectorSearch(self.vectors).search(queries, asked.k)
        payloads = [{"place": place} if asked.payload else None for place in range(len(self.ids))]
        results = [
            public.QueryResult(
                hits=[
                    public.Hit(id=self.ids[row], distance=float(distance), payload=payloads[row])
                    for row, distance in zip(rows, distances, strict=True)
                ],
                searched=self.searched,
            )
            for rows, distances in zip(found.indices.tolist(), found.distances, strict=True)
        ]
        partial = self.searched < 1
        return _answer(
            public.SearchResponse(
                collection="words", version=7, partial=partial, searched=self.searched, results=results
            )
        )

    async def _vectors(self, request: web.Request) -> web.Response:
        asked = await _body(request, public.VectorsRequest)
        if not all(isinstance(one, type(self.ids[0])) for one in asked.ids):
            return problem(400, "invalid-input", field="ids[0]", value="'x'", allowed="an id of its type")
        items = [
            types.VectorItem(id=one, vector=self.vectors[self.ids.index(one)].tolist(), payload={})
            for one in asked.ids
            if one in self.ids
        ]
        missing = [one for one in asked.ids if one not in self.ids]
        return _answer(public.VectorsResponse(collection="words", version=7, vectors=items, missing=missing))

    async def _collections(self, _request: web.Request) -> web.Response:
        return _answer(public.CollectionList(collections=[self.info]))

    async def _collection(self, _request: web.Request) -> web.Response:
        return _answer(self.info)

    @property
    def info(self) -> public.CollectionInfo:
        return public.CollectionInfo(
            name="words",
            version=7,
            vectors=len(self.ids),
            dimension=self.vectors.shape[1],
            metric="euclidean",
            cells=2,
            chunks=1,
            bytes=1000,
            nprobe=1,
            recall=0.95,
            built_at="2026-01-01T00:00:00+00:00",
        )

    async def _ring(self, _request: web.Request) -> web.Response:
        node = public.NodeInfo(name="node-0", address="http://127.0.0.1:1", slots=10, suspect=False)
        return _answer(
            public.RingInfo(
                version="0f", virtual_nodes=10, replication=1, shard_bytes=128 << 20, nodes=[node]
            )
        )

    async def _count(self, _request: web.Request) -> web.Response:
        return _answer(self.count)

    async def _set_count(self, request: web.Request) -> web.Response:
        asked = await _body(request, public.NodeCountRequest)
        self.count = public.NodeCount(desired=asked.count, ready=self.count.ready)
        return _answer(self.count, 202)

    async def _readyz(self, _request: web.Request) -> web.Response:
        return web.json_response({"ready": self.ready, "reasons": []}, status=200 if self.ready else 503)


async def _body(request: web.Request, kind: type[T]) -> T:
    assert request.content_type == "application/msgpack"
    return msgspec.msgpack.decode(await request.read(), type=kind)


def _answer(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.msgpack.encode(value), status=status, content_type="application/msgpack")


@contextmanager
def in_thread(app: web.Application) -> Iterator[str]:
    """Serve on loopback from a thread of its own, for callers that block; hands out the URL."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def begin() -> str:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return "http://{}:{}".format(*runner.addresses[0])

    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(begin(), loop).result(10)
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


WORDS = ["north", "east", "south", "west"]
VECTORS = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]], dtype=np.float32)


@pytest.fixture
def router() -> FakeRouter:
    return FakeRouter(VECTORS, WORDS)


@pytest.fixture
async def url(router: FakeRouter) -> AsyncIterator[str]:
    async with TestServer(router.app()) as server:
        yield str(server.make_url("/"))


@pytest.fixture
def thread_url(router: FakeRouter) -> Iterator[str]:
    with in_thread(router.app()) as running:
        yield running
