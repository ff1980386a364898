"""Real node and router processes on loopback, searched by real clients: answers equal brute force throughout."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest
import pytest_asyncio
from tests.support.waiting import until

from vectorcache import BuildSettings, ExactVectorSearch, FolderBlobStore, build_collection
from vectorcache.errors import NotFound
from vectorcache_client import AsyncClient, Client
from vectorcache_tools.local import LocalCluster, LocalSettings

ALL = 1 << 16
"""More cells than there are: a search of all of them is exact."""

K = 5
pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = BuildSettings(cells=48, cells_per_chunk=2, calibration_queries=50)


@dataclass
class Collection:
    """A small collection, and the right answer to every query."""

    url: str
    vectors: np.ndarray
    queries: np.ndarray
    answers: list[list[int]] = field(default_factory=list)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    generator = np.random.default_rng(3)
    vectors = generator.normal(size=(2000, 16)).astype(np.float32)
    queries = generator.normal(size=(64, 16)).astype(np.float32)
    folder = tmp_path_factory.mktemp("blobs")

    async def build() -> None:
        async with FolderBlobStore(folder) as blobs:
            await build_collection(blobs, "small", vectors, SETTINGS)

    asyncio.run(build())
    found = ExactVectorSearch(vectors).search(queries, K)
    return Collection(str(folder), vectors, queries, found.indices.tolist())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(
    collection: Collection, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LocalCluster]:
    """All tests share one cluster: each leaves two nodes, or as many as the next one asks for."""
    data = tmp_path_factory.mktemp("data")
    settings = LocalSettings(collection.url, data, nodes=2, memory="16Mi", disk="64Mi")
    async with LocalCluster(settings, os.environ) as running:
        yield running
    assert set(running.exit_codes.values()) == {0}


@pytest_asyncio.fixture(loop_scope="module")
async def client(cluster: LocalCluster) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(cluster.router_url) as opened:
        yield opened


class Load:
    """Callers that search without a pause, each answer compared with brute force."""

    def __init__(self, client: AsyncClient, collection: Collection) -> None:
        self._client = client
        self._collection = collection
        self._stop = False
        self.answered = 0

    async def during(self, work: Callable[[], Awaitable[None]]) -> int:
        """Search while something happens, and for as many queries again after it; returns how many in all."""
        async with asyncio.TaskGroup() as group:
            for caller in range(4):
                group.create_task(self._caller(caller))
            await self.more()
            await work()
            await self.more()
            self._stop = True
        return self.answered

    async def more(self, queries: int = 100) -> None:
        """Wait until so many more are answered."""
        wanted = self.answered + queries
        await until(lambda: self.answered >= wanted, 30)

    async def _caller(self, number: int) -> None:
        while not self._stop:
            number = (number + 1) % len(self._collection.queries)
            found = await self._client.search("small", self._collection.queries[number], K, nprobe=ALL)
            assert not found.partial
            assert [hit.id for hit in found.results[0].hits] == self._collection.answers[number]
            self.answered += 1


async def test_a_search_of_all_cells_equals_brute_force(client: AsyncClient, collection: Collection) -> None:
    exact = ExactVectorSearch(collection.vectors).search(collection.queries, K)
    for _ in ("cold", "warm"):
        found = await client.search("small", collection.queries, K, nprobe=ALL)
        assert [[hit.id for hit in result.hits] for result in found.results] == collection.answers
        distances = [[hit.distance for hit in result.hits] for result in found.results]
        np.testing.assert_allclose(distances, exact.distances, rtol=1e-5)
        assert (found.partial, found.searched) == (False, 1.0)


async def test_the_synchronous_client_answers_the_same(cluster: LocalCluster, collection: Collection) -> None:
    def ask() -> None:
        with Client(cluster.router_url) as client:
            found = client.search("small", collection.queries, K, nprobe=ALL)
            assert [[hit.id for hit in result.hits] for result in found.results] == collection.answers
            (listed,) = client.collections()
            assert (listed.name, listed.vectors, listed.dimension) == ("small", 2000, 16)
            assert client.ready()
            with pytest.raises(NotFound, match="collection 'large'"):
                client.search("large", [1.0])

    await asyncio.to_thread(ask)


async def test_vectors_by_id_are_those_that_were_built(client: AsyncClient, collection: Collection) -> None:
    found = await client.vectors("small", [1999, 0, 5000])
    assert [item.id for item in found.vectors] == [1999, 0]
    np.testing.assert_array_equal([item.vector for item in found.vectors], collection.vectors[[1999, 0]])
    assert found.missing == [5000]


async def test_killing_a_node_under_load_fails_no_query(
    cluster: LocalCluster, client: AsyncClient, collection: Collection
) -> None:
    load = Load(client, collection)

    async def kill() -> None:
        cluster.kill("node-1")
        await load.more()
        await until(lambda: cluster.restarted["node-1"] == 1)

    assert await load.during(kill) >= 300


async def test_a_resize_under_load_fails_no_query_and_changes_no_answer(
    cluster: LocalCluster, client: AsyncClient, collection: Collection
) -> None:
    load = Load(client, collection)

    async def resize() -> None:
        for count in (3, 2):
            await client.set_node_count(count)
            async with asyncio.timeout(30):
                while (await client.node_count()).ready != count:  # noqa: ASYNC110 - no event crosses processes
                    await asyncio.sleep(0.05)
            await load.more()

    assert await load.during(resize) >= 400
    await until(lambda: sorted(cluster.pids) == ["node-0", "node-1", "router"])
    assert [node.name for node in (await client.ring()).nodes] == ["node-0", "node-1"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_local_command_ends_with_all_it_started(
    collection: Collection, tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-c", "from vectorcache_tools.cli import main; main()", "local"]
    options = ["--blobs", collection.url, "--nodes", "1", "--port", "0", "--data", str(tmp_path / "data")]
    process = await asyncio.create_subprocess_exec(*command, *options, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(30):
        said = await process.stdout.readuntil(b"Ctrl-C")
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) == 2
    url = next(word for word in said.decode().split() if word.startswith("http://"))
    async with AsyncClient(url) as client:
        assert [one.name for one in await client.collections()] == ["small"]
    process.send_signal(number)
    async with asyncio.timeout(30):
        await process.communicate()
    assert process.returncode == 0
    assert not any(child.is_running() for child in children)
