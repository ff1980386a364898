from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import numpy as np
import pytest
from tests.support.core.queries import cell_query
from tests.support.router.fake_node import FakeNode, fake_node
from tests.support.servers import Client, Words, local_node, local_router, node_settings, until

from vectorcache.errors import InvalidInput, Unavailable
from vectorcache_router import Cluster, RouterSettings, open_cluster
from vectorcache_router.membership import Members, StaticMembership
from vectorcache_service.settings import read

Parts = tuple[Cluster, FakeNode, str]


@pytest.fixture
async def parts(words: Words, tmp_path: Path) -> AsyncIterator[Parts]:
    """A cluster whose membership file the test writes, and a fake node."""
    settings = read(
        RouterSettings, {}, ["--blob-url", words.url, "--nodes-file", str(tmp_path / "nodes.json")]
    )
    async with fake_node() as (fake, url), open_cluster(settings, {}) as cluster:
        yield cluster, fake, url


async def has(cluster: Cluster, *names: str) -> None:
    async def there() -> bool:
        return set(cluster.nodes) == set(names)

    await until(there)


async def test_the_ring_follows_the_membership(parts: Parts, tmp_path: Path) -> None:
    cluster, _, url = parts
    with pytest.raises(Unavailable, match="no cache node"):
        _ = cluster.ring
    path = tmp_path / "nodes.json"
    path.write_bytes(msgspec.json.encode({"nodes": {"node-0": url, "node-1": url}}))
    await has(cluster, "node-0", "node-1")
    before = cluster.ring
    assert before.nodes == ("node-0", "node-1")
    path.write_bytes(msgspec.json.encode({"nodes": {"node-1": url}}))
    await has(cluster, "node-1")
    assert cluster.ring == before.without_node("node-0")
    path.write_bytes(msgspec.json.encode({"nodes": {}}))
    await has(cluster)
    with pytest.raises(Unavailable):
        _ = cluster.ring


async def test_nodes_that_stay_keep_their_client_and_moved_ones_get_a_new_one(parts: Parts) -> None:
    cluster, _, url = parts
    await cluster.adopt({"node-0": url, "node-1": url})
    stays, moves = cluster.nodes["node-0"], cluster.nodes["node-1"]
    cluster.health.failed("node-0")
    cluster.health.failed("node-1")
    await cluster.adopt({"node-0": url, "node-1": f"{url}/elsewhere"})
    assert cluster.nodes["node-0"] is stays
    assert cluster.nodes["node-1"] is not moves
    await cluster.adopt({"node-0": url})
    assert cluster.health.suspects() == {"node-0"}, "who left is forgotten"


async def test_nodes_that_are_away_are_asked_last_and_trusted_again_when_back(parts: Parts) -> None:
    cluster, _, url = parts
    nodes = {"node-0": url, "node-1": url}
    await cluster.adopt(nodes)
    ring, clients = cluster.ring, dict(cluster.nodes)
    await cluster.adopt(nodes, frozenset({"node-1"}))
    assert cluster.health.suspects() == {"node-1"}
    assert cluster.ring is ring, "who is away keeps its slots"
    assert cluster.nodes == clients
    await cluster.adopt({"node-0": url, "node-1": f"{url}/elsewhere"})
    assert cluster.health.suspects() == frozenset()
    assert cluster.ring is ring, "an address is nothing to the ring"
    cluster.health.failed("node-1")
    await cluster.adopt(nodes, frozenset({"node-1"}))
    cluster.health.failed("node-1")
    await cluster.adopt(nodes)
    assert cluster.health.suspects() == frozenset(), "its failures were of the time before"


async def test_searches_in_flight_on_a_removed_node_finish_and_later_ones_use_other_nodes(
    parts: Parts,
) -> None:
    cluster, fake, url = parts
    await cluster.adopt({"node-0": url, "node-1": url})
    fake.hold()
    query = cell_query("c", 1, np.zeros((1, 2), np.float32), [np.array([0], np.int32)], 1)
    node = cluster.nodes["node-1"]
    running = [asyncio.create_task(node.search(query)) for _ in range(2)]
    await fake.arrivals(2)
    await cluster.adopt({"node-0": url})
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="closed"):  # and no CancelledError, which would end its caller
        await node.search(query)
    fake.release()
    assert [len((await one).hits) for one in running] == [1, 1]


async def test_vectors_come_from_the_next_node_where_one_does_not_answer(
    words: Words, tmp_path: Path, unused_tcp_port: int
) -> None:
    async with local_node(node_settings(words, tmp_path / "data")) as (_, client):
        url = str(client.make_url("")).rstrip("/")
        nodes = f"node-0=http://127.0.0.1:{unused_tcp_port},node-1={url}"
        settings = read(RouterSettings, {}, ["--blob-url", words.url, "--nodes", nodes])
        async with open_cluster(settings, {}) as cluster:
            await has(cluster, "node-0", "node-1")
            manifest = words.manifests["dot"]
            for chunk in range(len(manifest.chunks)):
                assert len(await cluster.fetch(manifest, chunk, [0])) == 1
            assert cluster.health.suspects() == {"node-0"}


async def test_where_no_node_answers_it_is_unavailable(words: Words, unused_tcp_port: int) -> None:
    nodes = f"node-0=http://127.0.0.1:{unused_tcp_port}"
    settings = read(RouterSettings, {}, ["--blob-url", words.url, "--nodes", nodes])
    async with local_router(settings) as (cluster, client):
        await has(cluster, "node-0")
        await refused(client, words)
        assert cluster.health.suspects() == {"node-0"}


async def refused(client: Client, words: Words) -> None:
    response: aiohttp.ClientResponse
    for path, message in (
        ("search", {"vectors": words.queries(1).tolist()}),
        ("vectors", {"ids": ["word-1"]}),
    ):
        response = await client.post(f"/v1/collections/dot/{path}", json=message)
        assert response.status == 503
        assert (await response.json())["type"] == "urn:vectorcache:problem:unavailable"


@pytest.mark.parametrize(
    ("flags", "field"),
    [
        (["--nodes", "node-0=http://h:1"], "--blob-url"),
        (["--blob-url", "x"], "--nodes"),
        (["--blob-url", "x", "--nodes", "node-0=http://h:1", "--nodes-file", "f"], "--nodes"),
        (["--blob-url", "x", "--nodes", "node-0"], "--nodes"),
        (["--blob-url", "x", "--nodes-file", "f", "--kubernetes-resource", "a/b"], "--nodes"),
        (["--blob-url", "x", "--kubernetes-resource", "a/b"], "--kubernetes-resource"),
        (["--blob-url", "x", "--nodes", "node-0=http://h:1", "--k", "11", "--max-k", "10"], "--k"),
        (["--blob-url", "ftp://x", "--nodes", "node-0=http://h:1"], "url"),
    ],
)
async def test_settings_that_do_not_fit_are_refused(flags: list[str], field: str) -> None:
    with pytest.raises(InvalidInput) as failure:
        async with open_cluster(read(RouterSettings, {}, flags), {}):
            pass
    assert failure.value.field == field


class Faltering(StaticMembership):
    """A membership that fails the first time."""

    failures = 1

    async def changes(self) -> AsyncGenerator[Members]:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("a bug")
        async for members in super().changes():
            yield members


async def test_a_membership_that_fails_is_followed_again(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, _, url = parts
    monkeypatch.setattr("vectorcache_router.cluster._FOLLOW_AGAIN", 0.0)
    cluster.membership = Faltering({"node-7": url})
    await asyncio.wait_for(cluster.follow(), 5)
    assert set(cluster.nodes) == {"node-7"}
