"""The whole path, in processes: HTTP, ring, nodes, tiers. Answers are compared with brute force."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
from aiohttp import ClientSession
from tests.support.outcome import outcome
from tests.support.servers import (
    METRICS,
    RealCluster,
    Words,
    post,
    real_cluster,
    server,
    until,
)

from vectorcache.routing.placement import SLACK

K = 12


async def assert_exact(cluster: RealCluster, *metrics: str, seed: int = 1, count: int = 8) -> None:
    """Batches and single queries equal brute force when all cells are probed."""
    queries = cluster.words.queries(count, seed)
    for metric in metrics or METRICS:
        status, answer = await cluster.search(metric, queries, K)
        assert status == 200
        cluster.words.assert_exact(answer, queries, K)


async def loads(cluster: RealCluster, layer: str) -> dict[str, int]:
    """Values that each node's layer has brought so far."""
    return {name: (await cluster.stats(name))[layer]["hits"] for name in cluster.nodes}


async def test_answers_are_exact_cold_and_warm_and_after_a_restart(words: Words, tmp_path: Path) -> None:
    # Hedging is off, and a node may have this number of queries in flight. Otherwise, chunks would be loaded twice.
    async with real_cluster(words, tmp_path, 3, "--hedge-after", "1h", "--shard-bytes", "1") as cluster:
        await assert_exact(cluster, seed=1, count=SLACK)
        cold = await loads(cluster, "blob")
        assert sum(cold.values()) == sum(len(manifest.chunks) for manifest in words.manifests.values())
        await assert_exact(cluster, seed=2, count=SLACK)
        assert await loads(cluster, "blob") == cold, "a warm search loads nothing"

        on_disk = (await cluster.stats("node-1"))["disk"]["items"]
        assert on_disk == cold["node-1"] > 0
        cluster.nodes["node-1"].process.terminate()
        assert await cluster.nodes["node-1"].ended() == 0
        await cluster.start_node(1)
        await cluster.announce()
        await assert_exact(cluster, seed=3, count=SLACK)
        restarted = await cluster.stats("node-1")
        assert restarted["disk"]["hits"] == on_disk, "its chunks came from its disk"
        assert restarted["blob"]["loads"] == 0, "and none from the blob store"


@pytest.mark.exhaustive
async def test_answers_stay_exact_while_nodes_come_and_go(words: Words, tmp_path: Path) -> None:
    async with real_cluster(words, tmp_path, 3) as cluster:
        await assert_exact(cluster)
        await cluster.start_node(3)
        async with load(cluster) as answers:
            await cluster.announce()
            await answers.more(20)
            await cluster.announce("node-0", "node-3")
            await answers.more(20)
        assert not answers.wrong
        await assert_exact(cluster, seed=5)
        status, count = await cluster.get("/v1/nodes/count")
        assert (status, count["ready"]) == (200, 2)


class Answers:
    """What a continuous load has seen; ``wrong`` is anything but a whole and right answer, a partial one too."""

    def __init__(self) -> None:
        self.right = 0
        self.wrong: list[Any] = []

    async def more(self, count: int) -> None:
        """Wait for so many more answers."""
        wanted = self.right + len(self.wrong) + count

        async def seen() -> bool:
            return self.right + len(self.wrong) >= wanted

        await until(seen)


@asynccontextmanager
async def load(cluster: RealCluster, callers: int = 4) -> AsyncIterator[Answers]:
    """Callers that search all the time, each answer being compared with brute force."""
    answers, stop = Answers(), asyncio.Event()

    async def search(seed: int) -> None:
        queries = cluster.words.queries(2, seed)
        status, answer = await cluster.search("euclidean", queries, K)
        try:
            assert status == 200
            cluster.words.assert_exact(answer, queries, K)
            answers.right += 1
        except AssertionError as error:
            answers.wrong.append((status, answer if status != 200 else error))

    async def caller(number: int) -> None:
        while not stop.is_set():
            await search(number + 1)

    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            group.create_task(caller(number))
        try:
            yield answers
        finally:
            stop.set()


@pytest.mark.parametrize("replication", [pytest.param(1, marks=pytest.mark.exhaustive), 2])
async def test_a_killed_node_fails_no_query(words: Words, tmp_path: Path, replication: int) -> None:
    async with real_cluster(words, tmp_path, 3, "--replication", str(replication)) as cluster:
        async with load(cluster) as answers:
            await answers.more(30)
            cluster.nodes["node-0"].process.kill()
            await answers.more(60)
            assert await cluster.nodes["node-0"].ended() == -signal.SIGKILL
            await cluster.start_node(0)
            await cluster.announce()
            await answers.more(30)
        assert not answers.wrong
        await assert_exact(cluster)


async def test_a_stopped_node_is_hedged(words: Words, tmp_path: Path) -> None:
    async with real_cluster(words, tmp_path, 3, "--timeout", "5s", "--hedge-after", "200ms") as cluster:
        await assert_exact(cluster)
        stopped = cluster.nodes["node-2"].process
        async with load(cluster) as answers:
            await answers.more(10)
            stopped.send_signal(signal.SIGSTOP)
            try:
                await answers.more(60)
                await until(lambda: _suspects(cluster, ["node-2"]))  # between two tries it is not
            finally:
                stopped.send_signal(signal.SIGCONT)
        assert not answers.wrong


async def _suspects(cluster: RealCluster, names: list[str]) -> bool:
    status, ring = await cluster.get("/v1/ring")
    assert status == 200
    return [node["name"] for node in ring["nodes"] if node["suspect"]] == names


def _rename(blobs: Path) -> None:
    blobs.rename(blobs.with_name("elsewhere"))


def _break(blobs: Path) -> None:
    """Make every read an error of the operating system, for root too: the folder leads to itself."""
    _rename(blobs)
    blobs.symlink_to(blobs)


@pytest.mark.parametrize(
    ("harm", "refresh", "unknown"),
    [
        # What is not there does not exist; what fails may come back.
        pytest.param(_rename, "1h", 404, id="renamed", marks=pytest.mark.exhaustive),
        pytest.param(_break, "20ms", 503, id="unreadable"),
    ],
)
async def test_without_the_blobs_what_is_cached_is_served_and_the_rest_is_said(
    words: Words, tmp_path: Path, harm: Callable[[Path], None], refresh: str, unknown: int
) -> None:
    blobs = tmp_path / "blobs"
    shutil.copytree(words.folder, blobs)
    async with real_cluster(replace(words, folder=blobs), tmp_path, 3, "--refresh", refresh) as cluster:
        query = words.queries(2)[:1]
        status, warm = await cluster.search("euclidean", query, K, nprobe=6)
        assert (status, warm["partial"]) == (200, False)
        assert (await cluster.get("/v1/collections/cosine"))[0] == 200
        for node in cluster.nodes.values():  # each knows the version, also if it has none of the probed cells
            prefetch = {"collection": "euclidean", "version": 1, "chunks": []}
            assert (await post(cluster.session, f"{node.url}/v1/prefetch", prefetch))[0] == 200
        harm(blobs)
        for _ in range(3):  # the cached cells are searched as before, whatever becomes of refreshing
            status, again = await cluster.search("euclidean", query, K, nprobe=6)
            assert (status, again) == (200, warm)

        status, partial = await cluster.search("euclidean", query, K, timeout=3.0)
        assert (status, partial["partial"]) == (200, True)
        assert 6 / 60 <= partial["searched"] < 1
        assert partial["results"][0]["searched"] == partial["searched"]
        nearest = partial["results"][0]["hits"][0]
        assert nearest["distance"] <= warm["results"][0]["hits"][0]["distance"]

        status, nothing = await cluster.search("cosine", query, K, timeout=3.0)
        assert (status, nothing["status"]) == (unknown, unknown)


async def test_vectors_by_their_ids(words: Words, tmp_path: Path) -> None:
    async with real_cluster(words, tmp_path, 2) as cluster:
        rows = [2999, 0, 17, 1234, 0]
        ids = [f"word-{row}" for row in rows] + ["missing"]
        url = f"{cluster.router.url}/v1/collections/dot/vectors"
        status, answer = await post(cluster.session, url, {"ids": ids})
        assert status == 200
        assert answer["missing"] == ["missing"]
        assert [one["id"] for one in answer["vectors"]] == ids[:-1]
        assert [one["payload"] for one in answer["vectors"]] == [{"row": row} for row in rows]
        found = np.array([one["vector"] for one in answer["vectors"]], dtype=np.float32)
        np.testing.assert_array_equal(found, words.vectors[rows])

        cluster.nodes["node-0"].process.kill()
        status, again = await post(cluster.session, url, {"ids": ids})
        assert (status, again) == (200, answer), "any node can give any vector"


async def test_a_request_id_travels_from_the_router_to_the_nodes(words: Words, tmp_path: Path) -> None:
    async with real_cluster(words, tmp_path, 2, "--shard-bytes", "1") as cluster:
        async with cluster.session.post(
            f"{cluster.router.url}/v1/collections/dot/search",
            json={"vectors": words.queries(1).tolist(), "nprobe": 60},
            headers={"X-Request-ID": "traced-7"},
        ) as response:
            assert (response.status, response.headers["X-Request-ID"]) == (200, "traced-7")
        for place in (cluster.router, *cluster.nodes.values()):
            lines = [line for line in place.logged() if line["event"] == "request"]
            assert "traced-7" in {line["request_id"] for line in lines}


async def test_sigterm_lets_requests_finish_and_ends_with_zero(words: Words, tmp_path: Path) -> None:
    async with real_cluster(words, tmp_path, 1) as cluster:
        node = await cluster.start_node(0, "--drain-delay", "500ms")
        await cluster.announce()
        searches = [
            asyncio.create_task(cluster.search("cosine", words.queries(512, seed), K)) for seed in range(1, 5)
        ]

        async def running() -> bool:
            async with cluster.session.get(f"{node.url}/metrics") as response:
                return b"vectorcache_http_requests_in_flight 1" not in await response.read()

        await until(running)  # more than the one that asks
        node.process.terminate()

        async def draining() -> bool:
            async with cluster.session.get(f"{node.url}/readyz") as response:
                return response.status == 503

        await until(draining)
        for search in searches:
            status, answer = await search
            assert (status, answer["partial"]) == (200, False)
        assert await node.ended() == 0
        cluster.router.process.terminate()
        assert await cluster.router.ended() == 0
        for place in (node, cluster.router):
            assert place.logged()[-1]["event"] == "closed"
            assert not [line for line in place.logged() if line["level"] == "error"]


async def test_probes_are_answered_while_batches_are_scanned(words: Words, tmp_path: Path) -> None:
    flags = ("--blob-url", words.url, "--data", str(tmp_path / "data"), "--scan-threads", "2")
    message = {
        "collection": "euclidean",
        "version": 1,
        "options": {"k": 10, "nprobe": 60, "timeout": 60.0},
        "vectors": words.queries(1000).tobytes(),
        "cells": [np.arange(60, dtype="<i4").tobytes()] * 1000,
    }
    async with server("vectorcache_node", tmp_path / "log", *flags) as node, ClientSession() as session:
        stop = asyncio.Event()
        body = msgspec.msgpack.encode(message)
        headers = {"Content-Type": "application/msgpack", "Accept": "application/msgpack"}
        done = 0

        async def batches() -> None:
            nonlocal done
            while not stop.is_set():
                async with session.post(f"{node.url}/v1/search", data=body, headers=headers) as response:
                    assert response.status == 200
                    await response.read()
                    done += 1

        async def busy() -> bool:
            return done >= 3

        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(batches())
            await until(busy)
            waited_for = []  # batches that ended between a probe and its answer
            for path in ("/healthz", "/readyz") * 60:
                before = done
                await probe(session, node.url + path)
                waited_for.append(done - before)
            stop.set()
    # If scans held the event loop, each probe would wait for the batch that is being scanned.
    assert waited_for.count(0) >= 60


async def probe(session: ClientSession, url: str) -> None:
    async with session.get(url) as response:
        assert response.status == 200
        await response.read()


@pytest.mark.exhaustive
async def test_the_memory_of_a_node_stays_within_its_capacity_and_150_mb(
    words: Words, tmp_path: Path
) -> None:
    capacity = 1 << 20
    async with real_cluster(words, tmp_path, 1) as cluster:
        node = await cluster.start_node(0, "--memory", str(capacity))
        await cluster.announce()
        for seed in range(3):
            await assert_exact(cluster, seed=seed + 1)
        memory = (await cluster.stats("node-0"))["memory"]
        assert memory["evictions"] > 0, "all of it does not fit"
        assert 0 < memory["bytes"] <= capacity
        assert psutil.Process(node.process.pid).memory_info().rss < capacity + 150_000_000


async def test_a_port_that_is_taken_is_one_line_and_no_trace(words: Words, tmp_path: Path) -> None:
    async with server(
        "vectorcache_node", tmp_path / "log", "--blob-url", words.url, "--data", str(tmp_path / "data")
    ) as node:
        taken = node.url.removeprefix("http://")
        flags = ("--blob-url", words.url, "--data", str(tmp_path / "other"), "--listen", taken)
        code, errors = await asyncio.to_thread(outcome, "vectorcache_node", *flags)
    assert code == 1
    assert "server failed" in errors.splitlines()[-1]
    assert "Traceback" not in errors
