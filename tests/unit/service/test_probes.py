from __future__ import annotations

from aiohttp.test_utils import TestClient, TestServer
from tests.support.service import Api, Client

from vectorcache_service import READINESS


async def test_a_server_is_alive_and_ready(client: Client) -> None:
    assert (await client.get("/healthz")).status == 200
    ready = await client.get("/readyz")
    assert ready.status == 200
    assert await ready.json() == {"ready": True, "reasons": []}


async def test_readiness_gives_its_reasons_and_liveness_does_not_care() -> None:
    reasons = ["no manifest yet"]

    async def check() -> list[str]:
        return reasons

    async with TestClient(TestServer(Api().app(readiness=check))) as client:
        waiting = await client.get("/readyz")
        assert waiting.status == 503
        assert await waiting.json() == {"ready": False, "reasons": reasons}
        assert (await client.get("/healthz")).status == 200
        reasons.clear()
        assert (await client.get("/readyz")).status == 200


async def test_a_draining_server_is_not_ready() -> None:
    app = Api().app()
    async with TestClient(TestServer(app)) as client:
        app[READINESS].drain()
        draining = await client.get("/readyz")
        assert draining.status == 503
        assert await draining.json() == {"ready": False, "reasons": ["shutting down"]}


async def test_metrics_are_in_the_format_of_prometheus(client: Client) -> None:
    response = await client.get("/metrics")
    assert response.content_type == "text/plain"
    assert "# TYPE vectorcache_http_requests_in_flight gauge" in await response.text()
