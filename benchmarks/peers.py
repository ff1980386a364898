"""VectorCache and other libraries that search in process, on the same vectors and queries.

The peers are measured one after the other, each in three new processes:

1. The first process reads the vectors from a file, builds the index and stores it.
2. The second opens the stored index and finds the smallest setting that reaches a recall of 0.95. If none
   does, it chooses the setting with the best recall.
3. The third opens the stored index and answers one query: the cold start. The library is imported before
   that, and the files are in the system's page cache. It then answers all queries once as a warm-up, and
   ``ROUNDS`` times with each query timed. These are the queries that the setting was chosen with.

Every library uses one thread if this can be configured, also for builds. The memory is the growth of the
third process's resident memory, from before it opens the index to after the last query. The private memory
excludes the pages of mapped files. The bytes on disk are those allocated to all files after the last query.
For VectorCache they include its disk cache, which has a copy of the searched chunks.

All distances are Euclidean. The graphs of Chroma and LanceDB are built with the default parameters of these
libraries (M 16 and 20, ``ef_construction`` 100 and 300). Qdrant and hnswlib require explicit values: M is 16
for both, and ``ef_construction`` is 100 and 200. Qdrant's thresholds are set so that a graph is built from 1 MB
of vectors on.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import multiprocessing
import os
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import faiss
import numpy as np
import psutil
from benchmarks.data import DataSet, load
from benchmarks.support import arguments, at_least, opened, recall, report
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from vectorcache import ChunkIndex, FolderBlobStore, build_collection

Floats = NDArray[np.float32]
Setting = dict[str, int]
Figures = dict[str, float | str]
Stage = Callable[..., Coroutine[Any, Any, Any]]

K = 10
RECALL = 0.95
ROUNDS = 3
DATA_SETS = ("text-256", "glove-50")
COLLECTION = "benchmark"
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "RAYON_NUM_THREADS",
        "TOKIO_WORKER_THREADS",
        "LANCE_CPU_THREADS",
    ),
    "1",
)
COLUMNS = (
    "recall@10",
    "p50 ms",
    "p99 ms",
    "queries/s",
    "memory MB",
    "private MB",
    "build s",
    "cold start s",
    "disk MB",
    "setting",
)
EFS = (*range(K, 100, 5), *range(100, 300, 10), *range(300, 1001, 50))


class Peer(ABC):
    """A library to compare. A process calls ``build``, or ``open`` followed by ``use`` and ``search``.

    Args:
        folder: directory of the index.
        dimension: number of components of a vector.
    """

    name: ClassVar[str]
    module: ClassVar[str]

    def __init__(self, folder: Path, dimension: int) -> None:
        self.folder = folder
        self.dimension = dimension

    @abstractmethod
    async def build(self, vectors: Floats) -> None:
        """Build and store an index of vectors (n, d), whose ids are their positions."""

    @abstractmethod
    async def open(self) -> None:
        """Open the stored index."""

    @abstractmethod
    async def use(self, setting: Setting) -> None:
        """Set the search parameters for subsequent searches."""

    @abstractmethod
    async def search(self, query: Floats) -> Iterable[int]:
        """Return the ids of the ``K`` nearest vectors to a query (d,)."""

    @abstractmethod
    def lookups(self) -> Sequence[Sequence[Setting]]:
        """Return lists of settings for an open index, in order of preference, each in order of increasing recall."""

    async def close(self) -> None:  # noqa: B027 - not every library has something to close
        """Close the index opened by ``open``."""


class VectorCache(Peer):
    name = "VectorCache"
    module = "vectorcache"
    _index: ChunkIndex

    async def build(self, vectors: Floats) -> None:
        await build_collection(FolderBlobStore(self.folder / "blobs"), COLLECTION, vectors)

    async def open(self) -> None:
        self._stack = AsyncExitStack()
        disk = self._stack.enter_context(tempfile.TemporaryDirectory(dir=self.folder))
        blobs = FolderBlobStore(self.folder / "blobs")
        self._index, _ = await self._stack.enter_async_context(opened(blobs, COLLECTION, Path(disk)))

    async def use(self, setting: Setting) -> None:
        self._nprobe = setting["nprobe"]

    async def search(self, query: Floats) -> Iterable[int]:
        return map(int, (await self._index.search(query, K, nprobe=self._nprobe))[0].ids)

    def lookups(self) -> Sequence[Sequence[Setting]]:
        return (_settings("nprobe", range(1, self._index.manifest.cells + 1)),)

    async def close(self) -> None:
        await self._stack.aclose()


class Chroma(Peer):
    """Chroma. A collection's ``ef_search`` takes effect when the index is loaded, so ``use`` reopens the index."""

    name = "Chroma"
    module = "chromadb"

    def _connect(self) -> None:
        import chromadb

        settings = chromadb.Settings(anonymized_telemetry=False)
        self._client = chromadb.PersistentClient(self.folder, settings)

    async def build(self, vectors: Floats) -> None:
        self._connect()
        collection = self._client.create_collection(
            COLLECTION, configuration={"hnsw": {"space": "l2"}}, embedding_function=None
        )
        batch = self._client.get_max_batch_size()
        for start in range(0, len(vectors), batch):
            part = vectors[start : start + batch]
            collection.add(ids=[str(start + at) for at in range(len(part))], embeddings=part)
        self._client.close()

    async def open(self) -> None:
        self._connect()
        self._collection = self._client.get_collection(COLLECTION, embedding_function=None)

    async def use(self, setting: Setting) -> None:
        if self._collection.configuration["hnsw"]["ef_search"] != setting["ef"]:
            self._collection.modify(configuration={"hnsw": {"ef_search": setting["ef"]}})
            await self.close()
            await self.open()

    async def search(self, query: Floats) -> Iterable[int]:
        answer = self._collection.query(query_embeddings=[query], n_results=K, include=["distances"])
        return map(int, answer["ids"][0])

    def lookups(self) -> Sequence[Sequence[Setting]]:
        return (_settings("ef", EFS),)

    async def close(self) -> None:
        self._client.close()


class LanceDB(Peer):
    """LanceDB's index IVF_HNSW_SQ, with one partition at these sizes. Re-ranks only if the recall requires it."""

    name = "LanceDB"
    module = "lancedb.index"

    async def build(self, vectors: Floats) -> None:
        import lancedb
        import pyarrow as pa
        from lancedb.index import HnswSq

        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), self.dimension)
        rows = pa.table({"id": np.arange(len(vectors)), "vector": column})
        database = await lancedb.connect_async(self.folder)
        table = await database.create_table(COLLECTION, rows)
        await table.create_index("vector", config=HnswSq(distance_type="l2"))

    async def open(self) -> None:
        import lancedb

        self._table = await (await lancedb.connect_async(self.folder)).open_table(COLLECTION)

    async def use(self, setting: Setting) -> None:
        self._setting = setting

    async def search(self, query: Floats) -> Iterable[int]:
        asked = self._table.vector_search(query).limit(K).select(["id", "_distance"]).ef(self._setting["ef"])
        if "refine" in self._setting:
            asked = asked.refine_factor(self._setting["refine"])
        return (await asked.to_arrow())["id"].to_pylist()

    def lookups(self) -> Sequence[Sequence[Setting]]:
        refined = ([{"ef": ef, "refine": one} for ef in EFS if ef >= K * one] for one in (2, 5, 10))
        return (_settings("ef", EFS), *refined)


class Qdrant(Peer):
    name = "Qdrant Edge"
    module = "qdrant_edge"

    async def build(self, vectors: Floats) -> None:
        import qdrant_edge as edge

        graph = edge.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=1000, max_indexing_threads=1)
        config = edge.EdgeConfig(
            vectors=edge.EdgeVectorParams(self.dimension, edge.Distance.Euclid),
            hnsw_config=graph,
            optimizers=edge.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1000),
            max_search_threads=1,
        )
        shard = edge.EdgeShard.create(str(self.folder / "shard"), config)
        for start in range(0, len(vectors), 1000):
            rows = enumerate(vectors[start : start + 1000].tolist(), start)
            shard.update(edge.UpdateOperation.upsert_points([edge.Point(at, row) for at, row in rows]))
        shard.optimize()
        shard.flush()
        shard.close()

    async def open(self) -> None:
        import qdrant_edge as edge

        self._edge = edge
        self._shard = edge.EdgeShard.load(str(self.folder / "shard"))

    async def use(self, setting: Setting) -> None:
        self._params = self._edge.SearchParams(hnsw_ef=setting["ef"])

    async def search(self, query: Floats) -> Iterable[int]:
        nearest = self._edge.Query.Nearest(query.tolist())
        request = self._edge.QueryRequest(limit=K, query=nearest, params=self._params)
        return [point.id for point in self._shard.query(request)]

    def lookups(self) -> Sequence[Sequence[Setting]]:
        return (_settings("ef", EFS),)

    async def close(self) -> None:
        self._shard.close()


class Hnswlib(Peer):
    name = "hnswlib"
    module = "hnswlib"

    async def build(self, vectors: Floats) -> None:
        import hnswlib

        graph = hnswlib.Index("l2", self.dimension)
        graph.set_num_threads(1)
        graph.init_index(len(vectors), M=16, ef_construction=200)
        graph.add_items(vectors)
        graph.save_index(str(self.folder / "graph.bin"))

    async def open(self) -> None:
        import hnswlib

        self._graph = hnswlib.Index("l2", self.dimension)
        self._graph.load_index(str(self.folder / "graph.bin"))
        self._graph.set_num_threads(1)

    async def use(self, setting: Setting) -> None:
        self._graph.set_ef(setting["ef"])

    async def search(self, query: Floats) -> Iterable[int]:
        return self._graph.knn_query(query, K)[0][0].tolist()

    def lookups(self) -> Sequence[Sequence[Setting]]:
        return (_settings("ef", EFS),)


class FaissIVF(Peer):
    """faiss's IVF index. The number of lists is four times the square root of the number of vectors."""

    name = "faiss IVF flat"
    module = "faiss"

    async def build(self, vectors: Floats) -> None:
        index = faiss.index_factory(self.dimension, f"IVF{4 * round(len(vectors) ** 0.5)},Flat")
        index.train(vectors)
        index.add(vectors)
        faiss.write_index(index, str(self.folder / "lists.bin"))

    async def open(self) -> None:
        self._index = faiss.read_index(str(self.folder / "lists.bin"))

    async def use(self, setting: Setting) -> None:
        self._index.nprobe = setting["nprobe"]

    async def search(self, query: Floats) -> Iterable[int]:
        return self._index.search(query[None], K)[1][0].tolist()

    def lookups(self) -> Sequence[Sequence[Setting]]:
        return (_settings("nprobe", range(1, self._index.nlist + 1)),)


PEERS: tuple[type[Peer], ...] = (VectorCache, Chroma, LanceDB, Qdrant, Hnswlib, FaissIVF)


def _settings(knob: str, values: Iterable[int]) -> Sequence[Setting]:
    return [{knob: value} for value in values]


class Questions(NamedTuple):
    """Queries (b, d) and the positions (b, K) of their true neighbours."""

    queries: Floats
    truth: NDArray[np.int64]


async def build(peer: Peer, vectors: Path) -> float:
    """Build and store an index of the vectors in a .npy file. Return the seconds."""
    started = time.perf_counter()
    await peer.build(np.load(vectors))
    return time.perf_counter() - started


async def tune(peer: Peer, asked: Questions) -> Setting:
    """Return the smallest setting of the first lookup that reaches ``RECALL``, or the setting with the best recall."""
    await peer.open()
    found: list[tuple[float, Setting]] = []
    for lookup in peer.lookups():
        found.append(await climb(peer, lookup, asked))
        if found[-1][0] >= RECALL:
            break
    _, best = max(found, key=lambda one: one[0])
    await peer.use(best)  # Chroma stores it
    await peer.close()
    return best


async def climb(peer: Peer, lookup: Sequence[Setting], asked: Questions) -> tuple[float, Setting]:
    """Return the recall and the smallest setting that reaches ``RECALL``, or otherwise the best one tried."""
    tried: dict[int, float] = {}
    low, high = 0, len(lookup)
    while low < high:
        middle = (low + high) // 2
        await peer.use(lookup[middle])
        tried[middle] = await recall_of(peer, asked)
        say(f"    {shown(lookup[middle])}: recall {tried[middle]:.4f}")
        low, high = (low, middle) if tried[middle] >= RECALL else (middle + 1, high)
    chosen = high if high < len(lookup) else max(tried, key=tried.__getitem__)
    return tried[chosen], lookup[chosen]


async def recall_of(peer: Peer, asked: Questions) -> float:
    return recall([set(await peer.search(query)) for query in asked.queries], asked.truth)


async def serve(peer: Peer, setting: Setting, asked: Questions) -> Figures:
    """Open an index, search it with one setting, and return the figures."""
    process = psutil.Process()
    return_free_memory()
    before = process.memory_info()
    started = time.perf_counter()
    await peer.open()
    await peer.use(setting)
    list(await peer.search(asked.queries[0]))
    cold_start = time.perf_counter() - started
    reached = await recall_of(peer, asked)
    seconds = np.concatenate([await latencies(peer, asked.queries) for _ in range(ROUNDS)])
    after = process.memory_info()
    disk = sum(file.stat().st_blocks * 512 for file in peer.folder.rglob("*") if file.is_file())
    await peer.close()
    return {
        "recall@10": round(reached, 4),
        "p50 ms": round(float(np.median(seconds)) * 1e3, 3),
        "p99 ms": round(float(np.percentile(seconds, 99)) * 1e3, 3),
        "queries/s": round(1 / float(seconds.mean())),
        "memory MB": round((after.rss - before.rss) / 1e6),
        "private MB": round((after.rss - after.shared - before.rss + before.shared) / 1e6),
        "cold start s": round(cold_start, 3),
        "disk MB": round(disk / 1e6),
        "setting": shown(setting),
    }


def return_free_memory() -> None:
    """Return freed memory to the system (glibc), because an index could otherwise use it without being counted."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


async def latencies(peer: Peer, queries: Floats) -> list[float]:
    """Run the queries sequentially, and return the seconds of each."""
    seconds = []
    for query in queries:
        started = time.perf_counter()
        list(await peer.search(query))
        seconds.append(time.perf_counter() - started)
    return seconds


def in_process(stage: Stage, kind: type[Peer], folder: Path, dimension: int, *values: object) -> Any:
    """Run a stage in a new process and return its result."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_run, stage, kind, folder, dimension, *values).result()


def _run(stage: Stage, kind: type[Peer], folder: Path, dimension: int, *values: object) -> Any:
    importlib.import_module(kind.module)
    faiss.omp_set_num_threads(1)
    with threadpool_limits(1):
        return asyncio.run(stage(kind(folder, dimension), *values))


def measure(kind: type[Peer], vectors: Path, asked: Questions) -> Figures:
    """Run all stages of a peer and return its figures."""
    dimension = asked.queries.shape[1]
    with tempfile.TemporaryDirectory() as folder:
        place = (kind, Path(folder), dimension)
        say(f"{kind.name}: building")
        build_seconds = in_process(build, *place, vectors)
        say(f"{kind.name}: built in {build_seconds:.1f} s, tuning")
        setting = in_process(tune, *place, asked)
        say(f"{kind.name}: searching with {shown(setting)}")
        figures = in_process(serve, *place, setting, asked)
    return {**figures, "build s": round(build_seconds, 1)}


def compare(name: str, data: DataSet) -> None:
    """Measure all peers on a data set, print the table and write the report."""
    vectors, queries = data
    asked = Questions(queries, faiss.knn(queries, vectors, K)[1])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        np.save(path, vectors)
        say(f"{name}: {vectors.shape[0]:,} x {vectors.shape[1]}")
        figures = {kind.name: measure(kind, path, asked) for kind in PEERS}
    reached = figures[VectorCache.name]["recall@10"]
    shape = f"{vectors.shape[0]} x {vectors.shape[1]}"
    report(
        f"peers-{name}",
        {"vectors": shape, "queries": len(queries), **figures},
        [at_least("recall@10", float(reached), RECALL)],
    )
    print(f"\n{name}, {shape}, {len(queries)} queries\n\n{table(figures)}")


def table(figures: dict[str, Figures]) -> str:
    """Return an aligned Markdown table with one row per peer."""
    rows = [
        ("", *COLUMNS),
        *((peer, *(str(found[one]) for one in COLUMNS)) for peer, found in figures.items()),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"| {' | '.join(map(str.ljust, row, widths))} |" for row in rows]
    lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    return "\n".join(lines)


def shown(setting: Setting) -> str:
    return ", ".join(f"{knob} {value}" for knob, value in setting.items())


def say(text: str) -> None:
    """Print progress to standard error."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    options = arguments(__doc__, vectors=100_000, queries=500)
    os.environ.update(ONE_THREAD)  # the processes inherit it
    for name in DATA_SETS:
        data = load(name, options.vectors)
        compare(name, DataSet(data.vectors, data.queries[: options.queries]))


if __name__ == "__main__":
    main()
