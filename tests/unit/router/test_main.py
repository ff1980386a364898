from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from tests.support.outcome import outcome
from tests.support.servers import Client, Words, local_router, until

from vectorcache_router import Cluster, RouterSettings, open_cluster
from vectorcache_router.__main__ import router_app
from vectorcache_service.settings import read

ROUTER = "vectorcache_router"
DOWN: web.AppKey[list[bool]] = web.AppKey("down", list)


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
        await until(lambda: has_opened_its_blobs(cluster))
        response = await client.get("/readyz")
        told = {"ready": False, "reasons": ["no cache node is known yet"], "warnings": []}
        assert (response.status, await response.json()) == (503, told)
        assert (await client.get("/healthz")).status == 200
        assert "vectorcache_router_nodes 0.0" in await (await client.get("/metrics")).text()
        await cluster.adopt({"node-0": "http://127.0.0.1:1"})
        assert (await client.get("/readyz")).status == 200


async def has_opened_its_blobs(cluster: Cluster) -> bool:
    return cluster.storage.reached and cluster.collections.warmed


@asynccontextmanager
async def blob_service() -> AsyncIterator[tuple[web.Application, str]]:
    """What looks like Azure to who looks for blobs, failing where ``app[DOWN]`` is not empty; and how to reach it."""
    app = web.Application()
    app[DOWN] = []

    async def answer(request: web.Request) -> web.Response:
        if request.app[DOWN]:
            return web.Response(status=500, headers={"x-ms-error-code": "InternalError"})
        if request.query.get("comp") == "list":
            nothing = "<EnumerationResults><Blobs/></EnumerationResults>"
            return web.Response(text=nothing, content_type="application/xml")
        return web.Response(status=404, headers={"x-ms-error-code": "BlobNotFound"})

    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        endpoint = str(server.make_url("/words")).rstrip("/")
        yield app, f"AccountName=words;AccountKey=d29yZHM=;BlobEndpoint={endpoint}"


async def test_a_router_needs_its_blob_store_once_and_warns_of_an_outage() -> None:
    async with blob_service() as (service, connection_string):
        service[DOWN].append(True)
        flags = ["--blob-url", "azure://words/words", "--nodes", "node-0=http://127.0.0.1:1"]
        environment = {"AZURE_STORAGE_CONNECTION_STRING": connection_string}
        async with (
            open_cluster(settings := read(RouterSettings, {}, flags), environment) as cluster,
            TestClient(TestServer(router_app(cluster, settings))) as client,
        ):

            async def report() -> tuple[int, dict[str, Any]]:
                response = await client.get("/readyz")
                return response.status, await response.json()

            async def reachable() -> bool:
                return "vectorcache_router_blob_reachable 1.0" in await (await client.get("/metrics")).text()

            async def failing() -> bool:
                return bool(cluster.storage.failure)

            await until(failing)
            status, told = await report()
            assert (status, told["reasons"]) == (
                503,
                ["the blob store has not responded yet", "collections are still being opened"],
            )
            assert "500 InternalError" in told["warnings"][0]
            assert not await reachable()
            service[DOWN].clear()
            await cluster.storage.look()
            await cluster.collections.warm()
            assert await report() == (200, {"ready": True, "reasons": [], "warnings": []})
            assert await reachable()
            service[DOWN].append(True)
            await cluster.storage.look()
            status, told = await report()
            assert (status, len(told["warnings"])) == (200, 1)
            assert "the blob store has not responded for 0 s" in told["warnings"][0]
            assert not await reachable()


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
