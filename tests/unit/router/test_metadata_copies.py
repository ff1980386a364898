from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.support.servers import METRICS, Words, begin_outage, local_node, local_router, node_settings, until

from vectorcache.errors import NotFound, Unavailable
from vectorcache_router import RouterSettings
from vectorcache_router.metadata_copies import MAX_NODES_ASKED, NodesMemory
from vectorcache_service.settings import read

KEY, POINTER = "words/v1/manifest.json", "words/current.json"


class Node:
    def __init__(self, told: bytes | Exception) -> None:
        self.told = told
        self.asked: list[str] = []

    async def kept(self, key: str, timeout: float) -> bytes:
        self.asked.append(key)
        if isinstance(self.told, Exception):
            raise self.told
        return self.told


def memory_of(nodes: Mapping[str, Node]) -> NodesMemory:
    return NodesMemory(lambda _: list(nodes.values()))  # type: ignore[arg-type, return-value]


async def test_the_first_copy_is_returned() -> None:
    nodes = {
        "a": Node(NotFound("blob", KEY)),
        "b": Node(Unavailable("down")),
        "c": Node(b"one"),
        "d": Node(b"two"),
    }
    assert await memory_of(nodes).contains(KEY)
    assert await memory_of(nodes).get(KEY) == b"one"


async def test_without_a_copy_there_is_none() -> None:
    assert await memory_of({}).get(KEY) is None
    assert not await memory_of({}).contains(KEY)
    nodes = {f"node-{number}": Node(NotFound("blob", KEY)) for number in range(MAX_NODES_ASKED + 5)}
    assert await memory_of(nodes).get(KEY) is None
    assert sum(len(node.asked) for node in nodes.values()) == MAX_NODES_ASKED


async def test_no_more_nodes_are_asked_than_needed() -> None:
    nodes = {f"node-{number}": Node(b"one") for number in range(30)}
    assert await memory_of(nodes).get(KEY) == b"one"
    assert sum(len(node.asked) for node in nodes.values()) == 1


async def test_for_pointers_the_highest_version_is_returned() -> None:
    nodes = {
        str(number): Node(told)
        for number, told in enumerate(
            (b'{"version": 3}', NotFound("blob", POINTER), b'{"version": 12}', b"torn", b'{"version": 4}')
        )
    }
    assert await memory_of(nodes).get(POINTER) == b'{"version": 12}'


async def test_a_router_that_starts_in_an_outage_uses_copies_of_nodes(
    words: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with local_node(node_settings(words, tmp_path / "data", "--name", "node-0")) as (node, client):
        url = str(client.make_url("")).rstrip("/")
        settings = read(RouterSettings, {}, ["--blob-url", words.url, "--nodes", f"node-0={url}"])
        queries, id_ = words.queries(3), "word-7"

        async def answers() -> list[object]:
            """Hits and a vector by its id, of each collection."""
            told: list[object] = []
            async with local_router(settings) as (_, router):
                await until(lambda: is_ready(router))
                for metric in METRICS:
                    body = {"vectors": queries.tolist(), "k": 5, "nprobe": 60}
                    found = await router.post(f"/v1/collections/{metric}/search", json=body)
                    placed = await router.post(f"/v1/collections/{metric}/vectors", json={"ids": [id_]})
                    assert (found.status, placed.status) == (200, 200)
                    told += [(await found.json())["results"], (await placed.json())["vectors"]]
            return told

        before = await answers()

        async def kept() -> bool:
            keys: list[str] = []
            for name, manifest in words.manifests.items():
                keys += [f"{name}/current.json", f"{name}/v1/manifest.json"]
                keys += [manifest.centroids_key, manifest.lookup_key(0)]
            return all([await node.blobs.recall(key) for key in keys])

        await until(kept)
        await node.blobs.list_folders()
        begin_outage(monkeypatch)
        assert await answers() == before


async def is_ready(client: object) -> bool:
    response = await client.get("/readyz")  # type: ignore[attr-defined]
    return bool(response.status == 200)
