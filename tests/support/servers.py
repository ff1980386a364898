"""Real node and router servers over one small collection: in processes of their own, or in this one."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer
from numpy.typing import NDArray
from tests.support.core.brute_force import assert_nearest

from vectorcache.errors import Unavailable
from vectorcache.index.build import build_collection
from vectorcache.index.layout import BuildSettings
from vectorcache.index.manifest import Manifest
from vectorcache.stores.folder import FolderBlobStore
from vectorcache_node import CacheNode, NodeSettings, open_node
from vectorcache_node.__main__ import node_app
from vectorcache_router import Cluster, RouterSettings, open_cluster
from vectorcache_router.__main__ import router_app
from vectorcache_service.settings import read

Client = TestClient[web.Request, web.Application]

DEADLINE = 20.0
"""Seconds after which a test that waits for something gives up."""

VECTORS, DIMENSION = 3000, 16
METRICS = ("euclidean", "cosine", "dot")
MSGPACK = {"Content-Type": "application/msgpack", "Accept": "application/msgpack"}


DEBUG = ("--log-level", "debug")  # a line for each request


@dataclass(frozen=True, slots=True)
class Words:
    """Collections named by their metric, all of the same vectors; id and payload tell the vector's row.

    Attributes:
        folder: the blob store.
        vectors: (3000, 16) float32.
        manifests: by name.
    """

    folder: Path
    vectors: NDArray[np.float32]
    manifests: Mapping[str, Manifest]

    @property
    def url(self) -> str:
        return str(self.folder)

    def queries(self, count: int, seed: int = 1) -> NDArray[np.float32]:
        """Held-out queries, and one that is a vector of the collection."""
        queries = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
        queries[-1] = self.vectors[seed]
        return queries

    def assert_exact(self, answer: Mapping[str, Any], queries: NDArray[np.float32], k: int) -> None:
        """A router's answer is whole, and what brute force over all vectors gives."""
        assert answer["partial"] is False
        assert answer["searched"] == 1.0
        assert len(answer["results"]) == len(queries)
        for result, query in zip(answer["results"], queries, strict=True):
            rows = [row_of(hit["id"]) for hit in result["hits"]]
            found = [hit["distance"] for hit in result["hits"]]
            assert_nearest(rows, found, self.vectors, query, answer["collection"], k)


def row_of(identity: str) -> int:
    return int(identity.removeprefix("word-"))


async def _build(folder: Path) -> Words:
    vectors = np.random.default_rng(0).standard_normal((VECTORS, DIMENSION)).astype(np.float32)
    attributes = pa.table(
        {"id": [f"word-{row}" for row in range(VECTORS)], "row": pa.array(range(VECTORS), pa.int32())}
    )
    manifests = {}
    async with FolderBlobStore(folder, threads=2) as blobs:
        for metric in METRICS:
            settings = BuildSettings(metric=metric, cells=60, cells_per_chunk=3, calibration_queries=100)
            built = await build_collection(blobs, metric, vectors, settings, attributes=attributes)
            manifests[metric] = built.manifest
    return Words(folder, vectors, manifests)


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Words:
    """Built once; tests that change the blobs copy the folder."""
    return asyncio.run(_build(tmp_path_factory.mktemp("words") / "blobs"))


# In this process


def node_settings(words: Words, data: Path, *flags: str) -> NodeSettings:
    """Settings of a small node."""
    defaults = ("--blob-url", words.url, "--data", str(data), "--memory", "64Mi", "--listen", "127.0.0.1:0")
    return read(NodeSettings, {}, (*defaults, *flags))


@asynccontextmanager
async def local_node(settings: NodeSettings) -> AsyncIterator[tuple[CacheNode, Client]]:
    """A node in this process, and a client of it."""
    async with open_node(settings, {}) as node, TestClient(TestServer(node_app(node, settings))) as client:
        yield node, client


@asynccontextmanager
async def local_router(settings: RouterSettings) -> AsyncIterator[tuple[Cluster, Client]]:
    """A router in this process, and a client of it."""
    async with (
        open_cluster(settings, {}) as cluster,
        TestClient(TestServer(router_app(cluster, settings))) as client,
    ):
        yield cluster, client


@asynccontextmanager
async def local_cluster(words: Words, data: Path, *flags: str) -> AsyncIterator[tuple[Cluster, Client]]:
    """A router over two nodes, all in this process."""
    async with AsyncExitStack() as stack:
        nodes = {}
        for name in ("node-0", "node-1"):
            node = local_node(node_settings(words, data / name, "--name", name))
            _, client = await stack.enter_async_context(node)
            nodes[name] = str(client.make_url("")).rstrip("/")
        defaults = ("--blob-url", words.url, "--nodes", ",".join(f"{n}={url}" for n, url in nodes.items()))
        settings = read(RouterSettings, {}, (*defaults, "--timeout", "10s", *flags))
        cluster, client = await stack.enter_async_context(local_router(settings))
        await until(lambda: _holds(len(cluster.nodes) == 2))
        yield cluster, client


async def _holds(value: bool) -> bool:
    return value


def begin_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every blob store in this process that is a folder does not answer."""

    async def fail(*_: object, **__: object) -> object:
        raise Unavailable("no network")

    for call in ("get", "head", "list_folders"):
        monkeypatch.setattr(FolderBlobStore, call, fail)


# In processes of their own


@dataclass(frozen=True, slots=True)
class Server:
    """A process that listens."""

    process: Process
    url: str
    log: Path

    def logged(self) -> list[dict[str, Any]]:
        """Its log lines so far."""
        return [msgspec.json.decode(line) for line in self.log.read_bytes().splitlines()]

    async def ended(self) -> int:
        """Its exit code."""
        return await asyncio.wait_for(self.process.wait(), DEADLINE)


@asynccontextmanager
async def server(module: str, log: Path, *flags: str) -> AsyncIterator[Server]:
    """Run ``python -m module``; it is killed in the end if it still runs."""
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, "--listen", "127.0.0.1:0", *flags, stdout=PIPE, stderr=errors
        )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), DEADLINE)).decode()
        assert line.startswith("listening on http://"), log.read_text()
        yield Server(process, line.removeprefix("listening on ").strip(), log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class RealCluster:
    """Node processes and one router that follows a nodes file. Nodes keep their name and disk over restarts."""

    def __init__(self, words: Words, folder: Path, stack: AsyncExitStack, session: ClientSession) -> None:
        self.words = words
        self.session = session
        self.nodes: dict[str, Server] = {}
        self.router: Server
        self._folder = folder
        self._stack = stack
        self._starts = 0

    async def start_node(self, number: int, *flags: str) -> Server:
        """Start or restart a node; the nodes file is written by ``announce``."""
        name = f"node-{number}"
        data = str(self._folder / name)
        self._starts += 1
        log = self._folder / f"{name}-{self._starts}.log"
        defaults = ("--name", name, "--blob-url", self.words.url, "--data", data, "--memory", "64Mi")
        started = await self._stack.enter_async_context(
            server("vectorcache_node", log, *defaults, *DEBUG, *flags)
        )
        self.nodes[name] = started
        return started

    async def start_router(self, *flags: str) -> None:
        defaults = ("--blob-url", self.words.url, "--nodes-file", str(self._file), "--timeout", "10s")
        log = self._folder / "router.log"
        started = server("vectorcache_router", log, *defaults, *DEBUG, *flags)
        self.router = await self._stack.enter_async_context(started)

    async def announce(self, *names: str) -> None:
        """Write the nodes file (all nodes by default), and wait until the router goes by it."""
        chosen = {name: self.nodes[name].url for name in names or self.nodes}
        temporary = self._file.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode({"nodes": chosen}))
        temporary.replace(self._file)

        async def followed() -> bool:
            status, ring = await self.get("/v1/ring")
            return status == 200 and {node["name"]: node["address"] for node in ring["nodes"]} == chosen

        await until(followed)

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.session.get(self.router.url + path) as response:
            return response.status, msgspec.json.decode(await response.read())

    async def search(
        self, collection: str, queries: NDArray[np.float32], k: int = 10, **more: Any
    ) -> tuple[int, Any]:
        """Search all cells unless told otherwise."""
        return await post(
            self.session,
            f"{self.router.url}/v1/collections/{collection}/search",
            {"vectors": queries.astype("<f4").tobytes(), "k": k, "nprobe": 60} | more,
        )

    async def stats(self, name: str) -> dict[str, Any]:
        """A node's layers by name."""
        async with self.session.get(f"{self.nodes[name].url}/v1/stats") as response:
            return {layer["name"]: layer for layer in (await response.json())["layers"]}

    @property
    def _file(self) -> Path:
        return self._folder / "nodes.json"


@asynccontextmanager
async def real_cluster(words: Words, folder: Path, nodes: int, *flags: str) -> AsyncIterator[RealCluster]:
    """Nodes and a router that knows them; ``flags`` are the router's."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(ClientSession())
        cluster = RealCluster(words, folder, stack, session)
        await asyncio.gather(cluster.start_router(*flags), *(cluster.start_node(n) for n in range(nodes)))
        await cluster.announce()
        yield cluster


async def post(session: ClientSession, url: str, message: object) -> tuple[int, Any]:
    """Status and answer of a msgpack request."""
    body = msgspec.msgpack.encode(message)
    async with session.post(url, data=body, headers=MSGPACK) as response:
        answer = await response.read()
    decode = msgspec.msgpack.decode if response.status == 200 else msgspec.json.decode
    return response.status, decode(answer)


async def until(condition: Callable[[], Awaitable[bool]], deadline: float = DEADLINE) -> None:
    """Wait for what another process or task does."""
    async with asyncio.timeout(deadline):
        while not await condition():  # noqa: ASYNC110 - another process cannot set our event
            await asyncio.sleep(0.005)
