from __future__ import annotations

from aiohttp.test_utils import TestClient, TestServer
from tests.support.service.app import Api, Client

from vectorcache_service import READINESS, Readiness


async def test_a_server_is_alive_and_ready(client: Client) -> None:
    assert (await client.get("/healthz")).status == 200
    ready = await client.get("/readyz")
    assert ready.status == 200
    assert await ready.json() == {"ready": True, "reasons": [], "warnings": []}


async def test_readiness_gives_its_reasons_and_liveness_does_not_care() -> None:
    reasons = ["no manifest yet"]

    async def check() -> list[str]:
        return reasons

    async with TestClient(TestServer(Api().app(readiness=check))) as client:
        waiting = await client.get("/readyz")
        assert waiting.status == 503
        assert await waiting.json() == {"ready": False, "reasons": reasons, "warnings": []}
        assert (await client.get("/healthz")).status == 200
        reasons.clear()
        assert (await client.get("/readyz")).status == 200


async def test_a_draining_server_is_not_ready() -> None:
    app = Api().app()
    async with TestClient(TestServer(app)) as client:
        app[READINESS].drain()
        draining = await client.get("/readyz")
        assert draining.status == 503
        assert await draining.json() == {"ready": False, "reasons": ["shutting down"], "warnings": []}


async def test_warnings_are_reported_and_do_not_affect_readiness() -> None:
    app = Api().app()
    app[READINESS].warn_of(lambda: ["the cellar is wet"])
    async with TestClient(TestServer(app)) as client:
        ready = await client.get("/readyz")
        assert ready.status == 200
        assert await ready.json() == {"ready": True, "reasons": [], "warnings": ["the cellar is wet"]}


async def test_requests_may_come_to_a_server_that_is_ready_or_was() -> None:
    reasons = ["starting"]

    async def check() -> list[str]:
        return reasons

    readiness = Readiness(check)
    assert not await readiness.may_get_requests()
    reasons.clear()
    assert await readiness.may_get_requests()
    reasons.append("overloaded")
    assert await readiness.may_get_requests(), "some clients have not noticed yet"


async def test_metrics_are_in_the_format_of_prometheus(client: Client) -> None:
    response = await client.get("/metrics")
    assert response.content_type == "text/plain"
    assert "# TYPE vectorcache_http_requests_in_flight gauge" in await response.text()
