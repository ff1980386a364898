from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from vectorcache_operator.names import Key
from vectorcache_operator.routers import PATIENCE, Routers, RouterView, session

KEY = Key("shop", "products")


class FakeRouter:
    """A router whose responses a test sets."""

    def __init__(self) -> None:
        self.ready: dict[str, Any] = {"ready": True, "reasons": []}
        self.status = 200
        self.collections: list[dict[str, Any]] = []
        self.looks = 0
        self.url = ""

    async def readyz(self, _request: web.Request) -> web.Response:
        return web.json_response(self.ready, status=self.status)

    async def list(self, _request: web.Request) -> web.Response:
        self.looks += 1
        return web.json_response({"collections": self.collections})


@pytest.fixture
async def router() -> AsyncIterator[FakeRouter]:
    fake, app = FakeRouter(), web.Application()
    app.router.add_get("/readyz", fake.readyz)
    app.router.add_get("/v1/collections", fake.list)
    async with TestServer(app) as server:
        fake.url = str(server.make_url("")).rstrip("/")
        yield fake


@pytest.fixture
async def changed() -> list[Key]:
    return []


@pytest.fixture
async def routers(router: FakeRouter, changed: list[Key]) -> AsyncIterator[Routers]:
    async with session() as connections:
        made = Routers(connections, 10.0, changed.append)
        made.follow(KEY, router.url)
        yield made


async def test_a_report_of_the_routers(router: FakeRouter, routers: Routers, changed: list[Key]) -> None:
    router.collections = [
        {"name": "words", "version": 3, "vectors": 400, "dimension": 50},
        {"name": "books", "version": 1, "vectors": 7},
    ]
    assert routers.view(KEY) is None
    await routers.poll(KEY)
    assert routers.view(KEY) == RouterView(True, "", (("books", 1, 7), ("words", 3, 400)))
    assert changed == [KEY]
    await routers.poll(KEY)
    assert changed == [KEY]


async def test_only_reasons_about_the_blob_store_are_reported(router: FakeRouter, routers: Routers) -> None:
    router.ready, router.status = {"ready": False, "reasons": ["no cache node is known yet"]}, 503
    await routers.poll(KEY)
    assert routers.view(KEY) == RouterView(True)
    router.ready = {"ready": True, "reasons": [], "warnings": ["the blob store is unreachable: refused"]}
    await routers.poll(KEY)
    assert routers.view(KEY) == RouterView(False, "the blob store is unreachable: refused")


async def test_routers_are_silent_after_several_failed_polls(router: FakeRouter, routers: Routers) -> None:
    router.collections = [{"name": "words", "version": 3, "vectors": 400}]
    await routers.poll(KEY)
    before, good = routers.view(KEY), router.ready
    router.ready = []  # type: ignore[assignment] # no answer of a router
    for _ in range(PATIENCE - 1):
        await routers.poll(KEY)
        assert routers.view(KEY) == before
    await routers.poll(KEY)
    assert routers.view(KEY) == RouterView(None, "", (("words", 3, 400),))
    router.ready = good
    await routers.poll(KEY)
    assert routers.view(KEY) == before


async def test_routers_that_never_answer_are_silent(routers: Routers, changed: list[Key]) -> None:
    routers.follow(KEY, "http://127.0.0.1:9")
    for _ in range(PATIENCE):
        assert routers.view(KEY) is None
        await routers.poll(KEY)
    assert (routers.view(KEY), changed) == (RouterView(), [KEY])


async def test_collections_are_polled_less_often(router: FakeRouter, routers: Routers) -> None:
    router.collections = [{"name": "words", "version": 3, "vectors": 400}]
    for _ in range(9):
        await routers.poll(KEY)
    assert router.looks == 3


async def test_forgotten_routers_are_not_polled(
    router: FakeRouter, routers: Routers, changed: list[Key]
) -> None:
    routers.forget(KEY)
    await routers.poll(KEY)
    assert (routers.view(KEY), changed, router.looks) == (None, [], 0)


def test_the_number_of_listed_collections_is_bounded() -> None:
    many = RouterView(True, "", tuple((f"c{number:04}", 1, 1) for number in range(500)))
    assert len(many.collection_list()) == 100
