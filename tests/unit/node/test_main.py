from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from tests.support.outcome import outcome
from tests.support.servers import Client, Words, local_node, node_settings, until

from vectorcache_service.codec import JSON

NODE = "vectorcache_node"


def test_a_bad_setting_is_one_line_and_exit_code_two() -> None:
    code, said = outcome(NODE, environment={"VECTORCACHE_MEMORY": "lots"})
    assert code == 2
    assert said.startswith("error: VECTORCACHE_MEMORY: 'lots' is not allowed; allowed: bytes such as")
    assert len(said.splitlines()) == 1


def test_a_missing_setting_is_one_line_and_exit_code_one() -> None:
    code, said = outcome(NODE, "--data", "x")
    assert code == 1
    assert "--blob-url" in said
    assert len(said.splitlines()) == 1


async def test_the_application_has_probes_metrics_and_a_document(client: Client) -> None:
    assert (await client.get("/healthz")).status == 200
    ready = await client.get("/readyz")
    assert (ready.status, await ready.json()) == (200, {"ready": True, "reasons": [], "warnings": []})
    metrics = await (await client.get("/metrics")).text()
    for name in (
        "vectorcache_node_queries_total",
        "vectorcache_layer_bytes",
        "vectorcache_http_requests_total",
    ):
        assert name in metrics
    document = await (await client.get("/openapi.json")).json()
    assert set(document["paths"]) == {
        f"/v1/{name}" for name in ("search", "prefetch", "vectors", "kept", "stats")
    }


async def test_a_request_above_the_limit_gets_a_503(words: Words, tmp_path: Path) -> None:
    arrived, finish = asyncio.Event(), asyncio.Event()

    async def slow_body() -> AsyncIterator[bytes]:
        yield b'{"collection": "dot", "version": 1, '
        arrived.set()
        await finish.wait()
        yield b'"chunks": []}'

    settings = node_settings(words, tmp_path, "--max-in-flight", "1")
    async with local_node(settings) as (_, client):
        first = asyncio.create_task(
            client.post("/v1/prefetch", data=slow_body(), headers={"Content-Type": JSON})
        )
        await asyncio.wait_for(arrived.wait(), 5)

        async def overloaded() -> bool:
            refused = await client.get("/v1/stats")
            return refused.status == 503 and refused.headers["Retry-After"] == "1"

        await until(overloaded)
        assert (await client.get("/healthz")).status == 200, "probes do not count"
        finish.set()
        assert (await first).status == 200
        assert (await client.get("/v1/stats")).status == 200
