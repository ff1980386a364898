"""Searches over HTTP, compared with Chroma's server in one run: three nodes, a router and the load on one machine.

All servers get the same vectors and queries from the same HTTP client library, in their own formats: msgpack for
VectorCache, and JSON for Chroma, whose index is HNSW with ef_search 100. VectorCache runs twice: with memory for all
vectors, and with memory for a tenth of their bytes. The floor is an empty router that calls an empty node. All servers
run all the time, and rounds of load alternate between them.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import faiss
import msgspec
import numpy as np
import psutil
import uvloop
from benchmarks.data import DataSet
from benchmarks.data import load as load_data
from benchmarks.support import FOLDER, arguments, at_least, at_most, recall, report
from benchmarks.two_hops import two_hops
from numpy.typing import NDArray

from vectorcache import FolderBlobStore, build_collection
from vectorcache_client.client import AsyncClient
from vectorcache_tools.local import LocalCluster, LocalSettings

CLIENTS = (1, 8, 32)
NODES = 3
SEARCHED = ("text-256", "glove-50")
Search = Callable[[NDArray[np.float32]], Awaitable[list[set[int]]]]


@dataclass
class Load:
    """The results of one round of load."""

    rate: float
    latencies: NDArray[np.float64]
    found: list[set[int]]


async def load(search: Search, queries: NDArray[np.float32], clients: int, batch: int = 1) -> Load:
    """Run every query once, from ``clients`` concurrent clients, with ``batch`` queries per request."""
    starts = iter(range(0, len(queries), batch))
    latencies: list[float] = []
    found: list[set[int]] = [set()] * len(queries)

    async def client() -> None:
        for start in starts:
            begin = time.perf_counter()
            answers = await search(queries[start : start + batch])
            latencies.append(time.perf_counter() - begin)
            found[start : start + batch] = answers

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return Load(len(queries) / (time.perf_counter() - began), np.array(latencies), found)


class Chroma:
    """Chroma's server as a process, and a thin client of its REST API."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._base = (
            f"http://127.0.0.1:{port}/api/v2/tenants/default_tenant/databases/default_database/collections"
        )
        self._collection = ""

    async def __aenter__(self) -> Chroma:
        program = Path(sys.executable).parent / "chroma"
        arguments = ("run", "--path", str(self._folder), "--host", "127.0.0.1", "--port", str(self._port))
        self._process = await asyncio.create_subprocess_exec(
            program, *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        await self._until_up()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        self._process.terminate()
        await self._process.wait()

    async def _until_up(self) -> None:
        async with asyncio.timeout(60):
            while True:
                try:
                    async with self._session.get(f"http://127.0.0.1:{self._port}/api/v2/heartbeat") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    await asyncio.sleep(0.1)

    async def fill(self, vectors: NDArray[np.float32], batch: int = 5000) -> float:
        """Add all vectors. Return the seconds until they are indexed."""
        began = time.perf_counter()
        settings = {"name": "benchmark", "configuration": {"hnsw": {"space": "l2", "ef_search": 100}}}
        self._collection = (await self._post("", settings))["id"]
        for start in range(0, len(vectors), batch):
            part = vectors[start : start + batch]
            ids = [str(start + offset) for offset in range(len(part))]
            await self._post(f"/{self._collection}/add", {"ids": ids, "embeddings": part.tolist()})
            print(f"\rChroma: {start + len(part)} of {len(vectors)}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        return time.perf_counter() - began

    async def search(self, queries: NDArray[np.float32]) -> list[set[int]]:
        body = {"query_embeddings": queries.tolist(), "n_results": 10, "include": ["distances"]}
        answer = await self._post(f"/{self._collection}/query", body)
        return [{int(one) for one in ids} for ids in answer["ids"]]

    async def _post(self, path: str, body: object) -> dict:
        data = msgspec.json.encode(body)
        async with self._session.post(
            self._base + path, data=data, headers={"Content-Type": "application/json"}
        ) as answer:
            content = await answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"Chroma responded with status {answer.status}: {content[:200]!r}")
            return msgspec.json.decode(content)


def searching(client: AsyncClient) -> Search:
    async def search(batch: NDArray[np.float32]) -> list[set[int]]:
        answer = await client.search("benchmark", batch)
        return [{int(hit.id) for hit in result.hits} for result in answer.results]

    return search


def floor(url: str, session: aiohttp.ClientSession) -> Search:
    """Send a request of the size of a query to an empty router that calls an empty node."""

    async def search(batch: NDArray[np.float32]) -> list[set[int]]:
        async with session.post(url, data=batch.tobytes()) as answer:
            await answer.read()
        return [set()] * len(batch)

    return search


async def measure(name: str, data: DataSet, folder: Path, port: int) -> None:
    vectors, queries = data
    _, truth = faiss.knn(queries, vectors, 10)
    blobs = FolderBlobStore(folder / "blobs")
    await build_collection(blobs, "benchmark", vectors)
    share = vectors.nbytes // 10 // NODES
    roomy, tight = (
        LocalSettings(
            str(folder / "blobs"),
            folder / f"cluster-{memory}",
            nodes=NODES,
            memory=str(memory),
            disk="4Gi",
            shard=str(memory // 2),
        )
        for memory in (1 << 30, share)
    )
    async with (
        Chroma(folder / "chroma", port) as chroma,
        LocalCluster(roomy, os.environ) as cluster,
        LocalCluster(tight, os.environ) as tight_cluster,
        AsyncClient(cluster.router_url) as client,
        AsyncClient(tight_cluster.router_url) as tight_client,
        two_hops(port + 1) as floor_url,
        aiohttp.ClientSession() as session,
    ):
        fill_seconds = await chroma.fill(vectors)
        ours = searching(client)
        searches: dict[str, Search] = {
            "ours": ours,
            "ours, memory for a tenth": searching(tight_client),
            "chroma": chroma.search,
            "two empty hops": floor(floor_url, session),
        }
        for search in searches.values():
            await load(search, queries, 8)
        rounds: dict[tuple[str, int], list[Load]] = {}
        for _ in range(3):
            for clients in CLIENTS:
                for who, search in searches.items():
                    rounds.setdefault((who, clients), []).append(await load(search, queries, clients))
        batches = [await load(ours, queries, 1, batch=100) for _ in range(5)]
        memory = max([await beyond_its_layer(url, cluster.pids[name]) for name, url in cluster.nodes.items()])

    rates = {key: float(np.median([one.rate for one in loads])) for key, loads in rounds.items()}
    p50 = {
        key: float(np.median(np.concatenate([one.latencies for one in loads])))
        for key, loads in rounds.items()
    }
    p99 = {
        key: float(np.percentile(np.concatenate([one.latencies for one in loads]), 99))
        for key, loads in rounds.items()
    }
    batch_rate = float(np.median([one.rate for one in batches]))
    recalls = {who: recall(rounds[who, 1][0].found, truth) for who in searches if who != "two empty hops"}
    figures: dict[str, object] = {"recall@10": recalls, "Chroma's fill, seconds": round(fill_seconds, 1)}
    for clients in CLIENTS:
        for who in searches:
            key = (who, clients)
            figures[f"{who}, {clients} clients"] = (
                f"{rates[key]:.0f} queries/s, p50 {p50[key] * 1e3:.2f} ms, p99 {p99[key] * 1e3:.2f} ms"
            )
    figures["ours, batches of 100"] = f"{batch_rate:.0f} queries/s"
    tenth = "ours, memory for a tenth"
    most, least = (0.5, 4.0) if vectors.shape[1] >= 96 else (0.7, 3.0)
    report(
        f"http_search-{name}",
        figures,
        [
            at_least("recall@10", recalls["ours"], 0.95),
            at_least("queries/s at 8 clients / Chroma", rates["ours", 8] / rates["chroma", 8], least),
            at_most("p50 at 1 client / Chroma", p50["ours", 1] / p50["chroma", 1], most),
            at_most("p50 at 1 client / two empty hops", p50["ours", 1] / p50["two empty hops", 1], 2.0),
            at_least("queries/s in batches of 100 / single queries", batch_rate / rates["ours", 1], 5.0),
            at_most(
                "memory for a tenth: p50 at 1 client / all in memory", p50[tenth, 1] / p50["ours", 1], 1.3
            ),
            at_most(
                "memory for a tenth: p99 at 1 client / all in memory", p99[tenth, 1] / p99["ours", 1], 2.0
            ),
            at_least(
                "memory for a tenth: queries/s at 8 / all in memory",
                rates[tenth, 8] / rates["ours", 8],
                0.7,
            ),
            at_most("memory of a node besides its memory layer, MB", memory, 150.0),
        ],
    )
    plot(name, vectors.shape, rates, p50)


async def beyond_its_layer(url: str, pid: int) -> float:
    """Return the MB that a node uses in addition to its memory layer and the pages of mapped files."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v1/stats") as answer:
        layers = {layer["name"]: layer for layer in (await answer.json())["layers"]}
    held = psutil.Process(pid).memory_info()
    return (held.rss - held.shared - layers["memory"]["bytes"]) / 1e6


def plot(
    name: str,
    shape: tuple[int, ...],
    rates: dict[tuple[str, int], float],
    p50: dict[tuple[str, int], float],
) -> None:
    """Plot throughput and latency by number of clients as bars."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    places = np.arange(len(CLIENTS))
    for offset, (who, label) in enumerate((("ours", "VectorCache, 3 nodes"), ("chroma", "Chroma server"))):
        at = places + (offset - 0.5) * 0.38
        left.bar(at, [rates[who, clients] for clients in CLIENTS], 0.36, label=label)
        right.bar(at, [p50[who, clients] * 1e3 for clients in CLIENTS], 0.36, label=label)
    for axis, title in ((left, "queries per second"), (right, "median latency, ms")):
        axis.set_xticks(places, [f"{clients} client{'s' if clients > 1 else ''}" for clients in CLIENTS])
        axis.set_title(title)
        axis.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False)
    figure.suptitle(f"{name}, {shape[0]:,} x {shape[1]}, top 10; servers and load on the same 2 cores")
    figure.savefig(FOLDER / f"http_search-{name}.png", dpi=120)


def main() -> None:
    options = arguments(__doc__, queries=1000, vectors=250_000, port=8333)
    for name in SEARCHED:
        data = load_data(name, options.vectors)
        data = DataSet(data.vectors, data.queries[: options.queries])
        with tempfile.TemporaryDirectory() as folder:
            uvloop.run(measure(name, data, Path(folder), options.port))


if __name__ == "__main__":
    main()
