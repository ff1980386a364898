from __future__ import annotations

import asyncio
import re

import pytest
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs
from tests.support.service.app import Api, Client

from vectorcache_service import Limits

SEARCH = "/v1/collections/glove/search"
ROUTE = "/v1/collections/{collection}/search"


async def metric(client: Client, name: str) -> float:
    text = await (await client.get("/metrics")).text()
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_requests_are_counted_by_route_method_and_status(client: Client) -> None:
    for name in ("glove", "news"):
        await client.post(f"/v1/collections/{name}/search", json={"vector": [1]})
    await client.post(SEARCH, json={})
    await client.request("PUT", "/coffee")
    requests = "vectorcache_http_requests_total"
    assert await metric(client, f'{requests}{{method="POST",route="{ROUTE}",status="200"}}') == 2
    assert await metric(client, f'{requests}{{method="POST",route="{ROUTE}",status="400"}}') == 1
    assert await metric(client, f'{requests}{{method="unmatched",route="unmatched",status="404"}}') == 1
    seconds = "vectorcache_http_request_seconds_count"
    assert await metric(client, f'{seconds}{{method="POST",route="{ROUTE}"}}') == 3
    assert await metric(client, "vectorcache_http_requests_in_flight") == 1  # the one that asks


@pytest.mark.parametrize(("given", "kept"), [("abc-1", True), ("no good", False)])
async def test_a_request_id_is_answered_and_logged(client: Client, given: str, kept: bool) -> None:
    response = await client.get("/healthz", headers={"X-Request-ID": given})
    assert (response.headers["X-Request-ID"] == given) == kept
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", response.headers["X-Request-ID"])


async def test_requests_are_logged_and_probes_are_not() -> None:
    with capture_logs() as logs:
        async with TestClient(TestServer(Api().app())) as client:
            await client.post(SEARCH, json={"vector": [1]})
            await client.get("/healthz")
            await client.get("/nothing")
    lines = [(line["route"], line["method"], line["status"]) for line in logs if line["event"] == "request"]
    assert lines == [(ROUTE, "POST", 200), ("unmatched", "unmatched", 404)]


@pytest.mark.parametrize(
    ("error", "level"), [("bug", "error"), ("unavailable", "warning"), ("invalid", None)]
)
async def test_server_errors_are_logged(error: str, level: str | None) -> None:
    with capture_logs() as logs:
        async with TestClient(TestServer(Api().app())) as client:
            await client.post(f"/v1/fail/{error}")
    failures = [line for line in logs if line["event"] == "request failed"]
    assert [line["log_level"] for line in failures] == ([level] if level else [])
    assert all(line["exc_info"] for line in failures if line["log_level"] == "error")


async def test_one_request_too_many_is_refused_while_probes_answer(api: Api) -> None:
    async with TestClient(TestServer(api.app(Limits(in_flight=1)))) as client:
        running = asyncio.create_task(client.get("/v1/block"))
        await asyncio.wait_for(api.entered.wait(), 10)
        refused = await client.post(SEARCH, json={"vector": [1]})
        assert refused.status == 503
        assert (await refused.json())["type"] == "urn:vectorcache:problem:overloaded"
        assert refused.headers["Retry-After"] == "1"
        assert (await client.get("/healthz")).status == 200
        api.release.set()
        assert (await running).status == 200
        assert (await client.post(SEARCH, json={"vector": [1]})).status == 200
