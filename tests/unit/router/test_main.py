from __future__ import annotations

from pathlib import Path

from tests.support.outcome import outcome
from tests.support.servers import Client, Words, local_router

from vectorcache_router import RouterSettings
from vectorcache_service.settings import read

ROUTER = "vectorcache_router"


def test_a_bad_setting_is_one_line_and_exit_code_two() -> None:
    code, said = outcome(ROUTER, "--replication", "none")
    assert code == 2
    assert said.startswith("error: --replication: 'none' is not allowed; allowed: a whole number")
    assert len(said.splitlines()) == 1


def test_a_missing_setting_is_one_line_and_exit_code_one() -> None:
    code, said = outcome(ROUTER, "--nodes", "node-0=http://127.0.0.1:1")
    assert code == 1
    assert "--blob-url" in said
    assert len(said.splitlines()) == 1


async def test_a_router_is_ready_once_it_knows_a_node(words: Words, tmp_path: Path) -> None:
    flags = ["--blob-url", words.url, "--nodes-file", str(tmp_path / "nodes.json")]
    async with local_router(read(RouterSettings, {}, flags)) as (cluster, client):
        response = await client.get("/readyz")
        reasons = ["no cache node is known yet"]
        assert (response.status, await response.json()) == (503, {"ready": False, "reasons": reasons})
        assert (await client.get("/healthz")).status == 200
        assert "vectorcache_router_nodes 0.0" in await (await client.get("/metrics")).text()
        await cluster.adopt({"node-0": "http://127.0.0.1:1"})
        assert (await client.get("/readyz")).status == 200


async def test_the_application_has_metrics_and_a_document(client: Client) -> None:
    metrics = await (await client.get("/metrics")).text()
    for name in (
        "vectorcache_router_nodes",
        "vectorcache_router_node_slots",
        "vectorcache_http_requests_in_flight",
    ):
        assert name in metrics
    document = await (await client.get("/openapi.json")).json()
    collection = "/v1/collections/{name}"
    assert set(document["paths"]) == {
        "/v1/collections",
        collection,
        f"{collection}/search",
        f"{collection}/vectors",
        "/v1/ring",
        "/v1/nodes/count",
    }
    assert set(document["paths"]["/v1/nodes/count"]) == {"get", "post"}
