from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.support.servers import METRICS, MSGPACK, Client, Words, local_cluster, local_router

from vectorcache.wire import public
from vectorcache_router import Cluster, RouterSettings
from vectorcache_service import Problem
from vectorcache_service.settings import read

SEARCH = "/v1/collections/euclidean/search"
VECTORS = "/v1/collections/euclidean/vectors"


async def ask(client: Client, path: str, message: object) -> Any:
    response = await client.post(path, json=message)
    assert response.status == 200, await response.text()
    return await response.json()


async def get(client: Client, path: str) -> Any:
    response = await client.get(path)
    assert response.status == 200, await response.text()
    return await response.json()


async def refusal(client: Client, path: str, message: object, status: int = 400) -> Problem:
    response = await client.post(path, json=message)
    assert response.status == status, await response.text()
    assert response.content_type == "application/problem+json"
    problem = msgspec.json.decode(await response.read(), type=Problem)
    assert problem.request_id == response.headers["X-Request-ID"]
    return problem


@pytest.mark.parametrize("metric", METRICS)
async def test_a_search_of_all_cells_is_exact(client: Client, words: Words, metric: str) -> None:
    queries = words.queries(4)
    request = {"vectors": queries.tolist(), "nprobe": 200, "k": 7}
    answer = await ask(client, f"/v1/collections/{metric}/search", request)
    assert (answer["collection"], answer["version"]) == (metric, 1)
    words.assert_exact(answer, queries, 7)


async def test_numbers_base64_and_raw_bytes_are_the_same_search(client: Client, words: Words) -> None:
    queries = words.queries(3)
    raw = queries.astype("<f4").tobytes()
    numbers = await ask(client, SEARCH, {"vectors": queries.tolist()})
    assert await ask(client, SEARCH, {"vectors": base64.b64encode(raw).decode()}) == numbers
    for vectors in (raw, queries.tolist()):
        body = msgspec.msgpack.encode({"vectors": vectors})
        response = await client.post(SEARCH, data=body, headers=MSGPACK)
        assert (response.status, response.content_type) == (200, "application/msgpack")
        assert msgspec.msgpack.decode(await response.read()) == numbers


async def test_payload_comes_on_request_only(client: Client, words: Words) -> None:
    query = {"vectors": words.vectors[7:8].tolist(), "k": 2}
    plain = (await ask(client, SEARCH, query))["results"][0]["hits"]
    full = (await ask(client, SEARCH, query | {"payload": True}))["results"][0]["hits"]
    assert plain[0] == {"id": "word-7", "distance": 0.0}
    assert full[0] == {"id": "word-7", "distance": 0.0, "payload": {"row": 7}}
    assert [hit["payload"]["row"] for hit in full] == [int(hit["id"].removeprefix("word-")) for hit in plain]


async def test_probes_follow_the_request_or_the_measured_curve(
    client: Client, cluster: Cluster, words: Words
) -> None:
    async def scanned(**more: Any) -> int:
        before = await scanned_rows(client)
        await ask(client, SEARCH, {"vectors": words.queries(2)[:1].tolist()} | more)
        return await scanned_rows(client) - before

    async def scanned_rows(_client: Client) -> int:
        urls = [f"{node.url}/v1/stats" for node in cluster.nodes.values()]
        session = client.session
        return sum([(await (await session.get(url)).json())["scanned"] for url in urls])

    manifest = words.manifests["euclidean"]
    every = await scanned(nprobe=60)
    assert every == manifest.rows
    assert await scanned(nprobe=1) < await scanned() <= every
    assert await scanned() == await scanned(nprobe=manifest.search.nprobe)
    least = manifest.search.nprobe_for(0.5)
    assert await scanned(recall=0.5) == await scanned(nprobe=least)


async def test_k_defaults_to_the_setting_of_the_router(client: Client, words: Words) -> None:
    answer = await ask(client, SEARCH, {"vectors": words.queries(1).tolist(), "nprobe": 60})
    assert len(answer["results"][0]["hits"]) == 7


async def test_a_version_can_be_named(client: Client, words: Words) -> None:
    query = {"vectors": words.queries(1).tolist()}
    assert await ask(client, SEARCH, query | {"version": 1}) == await ask(client, SEARCH, query)
    problem = await refusal(client, SEARCH, query | {"version": 2}, 404)
    assert "euclidean/v2" in (problem.detail or "")


BAD_SEARCHES: list[tuple[dict[str, Any], str, str]] = [
    ({"k": 0}, "k", "`int` >= 1"),
    ({"k": 101}, "k", "from 1 to 100"),
    ({"k": 10**5}, "k", "`int` <= 10000"),
    ({"nprobe": 0}, "nprobe", "`int` >= 1"),
    ({"nprobe": 201}, "nprobe", "from 1 to 200"),
    ({"nprobe": 2**31}, "nprobe", "`int` <= 2147483647"),
    ({"recall": 0}, "recall", "`float` > 0"),
    ({"recall": 1.1}, "recall", "`float` <= 1"),
    ({"recall": 0.9, "nprobe": 3}, "recall", "together with nprobe"),
    ({"version": -1}, "version", "`int` >= 1"),
    ({"timeout": 0}, "timeout", "`float` > 0"),
    ({"timeout": 601}, "timeout", "`float` <= 600"),
    ({"payload": 1}, "payload", "`bool`"),
    ({"exact": "yes"}, "exact", "`bool`"),
    ({"vectors": []}, "vectors", "1 to 50 queries"),
    ({"vectors": [[0.0] * 16] * 51}, "vectors", "1 to 50 queries"),
    ({"vectors": [[0.0] * 16, [0.0] * 17]}, "vectors[1]", "16 numbers"),
    ({"vectors": "AAAA"}, "vectors", "multiple of 64"),
    ({"vectors": "A"}, "vectors", ""),
    ({"vectors": [[1e17] * 16]}, "vectors[0][0]", "finite numbers"),
    ({"vectors": [[None] * 16]}, "vectors[0][0]", "`float`"),
    ({"k ": 1}, "k ", ""),
]


@pytest.mark.parametrize(("change", "field", "allowed"), BAD_SEARCHES)
async def test_an_invalid_search_is_refused_with_field_value_and_allowed_values(
    client: Client, words: Words, change: dict[str, Any], field: str, allowed: str
) -> None:
    problem = await refusal(client, SEARCH, {"vectors": words.queries(1).tolist()} | change)
    assert problem.type == "urn:vectorcache:problem:invalid-input"
    assert problem.field == field
    assert allowed in (problem.allowed or "")


async def test_nan_travels_in_bytes_only_and_is_refused(client: Client) -> None:
    raw = np.full((1, 16), np.nan, dtype="<f4").tobytes()
    problem = await refusal(client, SEARCH, {"vectors": base64.b64encode(raw).decode()})
    assert (problem.field, problem.value) == ("vectors[0][0]", "nan")


async def test_under_cosine_a_query_needs_a_direction(client: Client) -> None:
    problem = await refusal(client, "/v1/collections/cosine/search", {"vectors": [[1.0] * 16, [0.0] * 16]})
    assert (problem.field, problem.allowed) == ("vectors[1]", "a non-zero vector")


async def test_a_body_beyond_the_limit_is_refused(client: Client) -> None:
    response = await client.post(
        SEARCH, data=b" " * (100 * 1024 + 1), headers={"Content-Type": "application/json"}
    )
    assert response.status == 413


@pytest.mark.parametrize("name", ["nowhere", "x" * 129, ".hidden", "a%2Fb"])
async def test_an_unknown_collection_is_not_found(client: Client, words: Words, name: str) -> None:
    for response in (
        await client.get(f"/v1/collections/{name}"),
        await client.post(f"/v1/collections/{name}/search", json={"vectors": words.queries(1).tolist()}),
        await client.post(f"/v1/collections/{name}/vectors", json={"ids": ["a"]}),
    ):
        assert response.status == 404
        assert (await response.json())["type"] == "urn:vectorcache:problem:not-found"


async def test_vectors_by_their_ids(client: Client, words: Words) -> None:
    ids = ["word-5", "word-2999", "nobody", "word-5"]
    answer = await ask(client, VECTORS, {"ids": ids})
    assert (answer["collection"], answer["version"], answer["missing"]) == ("euclidean", 1, ["nobody"])
    assert [one["id"] for one in answer["vectors"]] == ["word-5", "word-2999", "word-5"]
    assert [one["payload"] for one in answer["vectors"]] == [{"row": 5}, {"row": 2999}, {"row": 5}]
    found = np.array([one["vector"] for one in answer["vectors"]], dtype=np.float32)
    np.testing.assert_array_equal(found, words.vectors[[5, 2999, 5]])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ids": []}, "ids"),
        ({"ids": ["a"] * 1001}, "ids"),
        ({"ids": ["a", 7]}, "ids[1]"),
        ({"ids": [2**70]}, "ids[0]"),
        ({"ids": [None]}, "ids[0]"),
        ({}, "ids"),
        ({"ids": ["a"], "version": 0}, "version"),
    ],
)
async def test_bad_ids_are_refused(client: Client, change: dict[str, Any], field: str) -> None:
    assert (await refusal(client, VECTORS, change)).field == field


async def test_collections_are_described(client: Client, words: Words) -> None:
    everything = await get(client, "/v1/collections")
    assert [one["name"] for one in everything["collections"]] == ["cosine", "dot", "euclidean"]
    for metric, described in zip(("cosine", "dot", "euclidean"), everything["collections"], strict=True):
        assert await get(client, f"/v1/collections/{metric}") == described
        info = msgspec.convert(described, public.CollectionInfo)
        manifest = words.manifests[metric]
        assert (info.metric, info.version, info.vectors, info.dimension) == (metric, 1, 3000, 16)
        assert (info.cells, info.chunks) == (manifest.cells, len(manifest.chunks))
        assert info.bytes == sum(chunk.bytes for chunk in manifest.chunks)
        assert (info.nprobe, info.built_at) == (manifest.search.nprobe, manifest.built_at)
        assert info.recall >= 0.95


async def test_the_ring_is_returned(client: Client, cluster: Cluster) -> None:
    ring = msgspec.convert(await get(client, "/v1/ring"), public.RingInfo)
    assert (ring.version, ring.virtual_nodes, ring.replication) == (cluster.ring.version, 10_000, 1)
    assert ring.shard_bytes == 512 << 20
    assert [node.name for node in ring.nodes] == ["node-0", "node-1"]
    assert sum(node.slots for node in ring.nodes) == 10_000
    assert [node.address for node in ring.nodes] == [node.url for node in cluster.nodes.values()]
    assert not any(node.suspect for node in ring.nodes)
    cluster.health.failed("node-1")
    assert [node["suspect"] for node in (await get(client, "/v1/ring"))["nodes"]] == [False, True]


async def test_a_fixed_list_of_nodes_cannot_be_resized(client: Client) -> None:
    assert await get(client, "/v1/nodes/count") == {"desired": 2, "ready": 2}
    problem = await refusal(client, "/v1/nodes/count", {"count": 3}, 409)
    assert "--nodes-file" in (problem.detail or "")


@pytest.fixture
async def by_file(words: Words, tmp_path: Path) -> Any:
    flags = ("--blob-url", words.url, "--nodes-file", str(tmp_path / "nodes.json"))
    async with local_router(read(RouterSettings, {}, flags)) as served:
        yield served


async def test_a_file_of_nodes_can_be_resized(by_file: tuple[Cluster, Client], tmp_path: Path) -> None:
    _, client = by_file
    assert await get(client, "/v1/nodes/count") == {"desired": 0, "ready": 0}
    response = await client.post("/v1/nodes/count", json={"count": 4})
    assert (response.status, await response.json()) == (202, {"desired": 4, "ready": 0})
    assert await get(client, "/v1/nodes/count") == {"desired": 4, "ready": 0}
    assert (tmp_path / "wanted.json").read_bytes() == b'{"count":4}'
    for count in (0, 1001, "4"):
        assert (await refusal(client, "/v1/nodes/count", {"count": count})).field == "count"


async def test_without_nodes_searches_are_unavailable(by_file: tuple[Cluster, Client], words: Words) -> None:
    _, client = by_file
    query = {"vectors": words.queries(1).tolist()}
    assert (await client.get("/v1/ring")).status == 503
    for path, message in ((SEARCH, query), (VECTORS, {"ids": ["word-1"]})):
        response = await client.post(path, json=message)
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert (await client.get("/v1/collections")).status == 200


async def test_a_late_answer_is_a_deadline_error(words: Words, tmp_path: Path) -> None:
    async with local_cluster(words, tmp_path, "--timeout", "1ms") as (_, client):
        response = await client.post(VECTORS, json={"ids": [f"word-{row}" for row in range(500)]})
        assert response.status in (503, 504)
        assert (
            await client.post(SEARCH, json={"vectors": words.queries(1).tolist(), "timeout": 5})
        ).status == 200


async def test_limits_on_probes_refuse_requests_and_clip_defaults(words: Words, tmp_path: Path) -> None:
    async with local_cluster(words, tmp_path, "--max-probes", "20", "--max-nprobe", "5") as (_, client):
        vectors = words.queries(5).tolist()
        problem = await refusal(client, SEARCH, {"vectors": vectors, "nprobe": 5})
        assert (problem.field, problem.allowed) == (
            "nprobe",
            "at most 20 cells over all queries of a request",
        )
        assert len((await ask(client, SEARCH, {"vectors": vectors[:4], "nprobe": 5}))["results"]) == 4
        for more in ({}, {"recall": 1.0}):  # values measured by the build are clipped instead
            assert len((await ask(client, SEARCH, {"vectors": vectors[:4], **more}))["results"]) == 4


async def test_settings_are_the_defaults_of_requests(words: Words, tmp_path: Path) -> None:
    query = {"vectors": words.queries(2)[:1].tolist()}
    async with local_cluster(words, tmp_path, "--nprobe", "2") as (cluster, client):

        async def scanned(**more: Any) -> int:
            before = [await rows_of(node.url) for node in cluster.nodes.values()]
            await ask(client, SEARCH, query | more)
            return sum([await rows_of(node.url) for node in cluster.nodes.values()]) - sum(before)

        async def rows_of(url: str) -> int:
            return int((await (await client.session.get(f"{url}/v1/stats")).json())["scanned"])

        assert 0 < await scanned() == await scanned(nprobe=2) < await scanned(nprobe=4)
        measured = words.manifests["euclidean"].search.nprobe_for(0.9)
        assert await scanned(recall=0.9) == await scanned(nprobe=measured)


async def test_answers_that_are_not_complete_are_counted(words: Words, tmp_path: Path) -> None:
    damaged = Words(tmp_path / "damaged", words.vectors, words.manifests)
    shutil.copytree(words.folder, damaged.folder)
    (damaged.folder / words.manifests["euclidean"].chunk_key(3)).unlink()
    query = {"vectors": words.queries(2).tolist(), "nprobe": 60}
    async with local_cluster(damaged, tmp_path) as (cluster, client):
        await ask(client, "/v1/collections/dot/search", query)
        assert cluster.partial_answers == 0
        assert (await ask(client, SEARCH, query))["partial"]
        text = await (await client.get("/metrics")).text()
        assert "vectorcache_router_partial_answers_total 1.0" in text
