"""Searches with a memory layer for a tenth of the vectors' bytes, compared with a memory layer for all of them.

Both caches run in this process over the same blobs, alternate, and have separate disk layers that contain all
chunks. They are warm: each has answered every query once. The queries of a stream are drawn with equal
probability, or with a popularity that follows Zipf's law. The files of the chunks are in the system's page
cache, which this benchmark does not limit: a search reads chunks with codes from their memory-mapped files,
and the memory layer does not count the bytes of mapped files.

The vectors are those of ``text-256``. If more are requested, the first of them are copied with noise: each
component gets normally distributed noise of ``NOISE`` / sqrt(256), so that the distance of a copy and its
original is about ``NOISE``. The copies are normalized.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from benchmarks.chunk_index import in_turns, recall_of, searching
from benchmarks.data import DataSet, load
from benchmarks.http_search import Search as BatchSearch
from benchmarks.http_search import load as put_load
from benchmarks.support import Goal, arguments, at_least, at_most, opened, report
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from vectorcache import (
    Chunk,
    ChunkIndex,
    EfficientVectorStorage,
    FolderBlobStore,
    Manifest,
    build_collection,
)

K = 10
NAME = "text-256"
NOISE = 0.3
ALPHA = 1.1  # of Zipf's law
CLIENTS = 8
ROUNDS = 3
SHARE = 0.1  # memory layer, relative to the size of the vectors


@dataclass
class Side:
    """One of the two open caches."""

    index: ChunkIndex
    storage: EfficientVectorStorage[Chunk]

    def blob_reads(self) -> int:
        """Return the number of chunks read from the blob store so far."""
        blob = self.storage.layer_stats()[-1]
        return blob.hits + blob.misses

    def figures(self) -> dict[str, object]:
        """Return the contents of the layers."""
        memory, disk, _ = self.storage.layer_stats()
        return {
            "memory: chunks, MB, of MB": [memory.items, _mb(memory.bytes), _mb(memory.capacity_bytes)],
            "disk: chunks, MB": [disk.items, _mb(disk.bytes)],
            "memory: hits, misses, evictions": [memory.hits, memory.misses, memory.evictions],
        }


def extended(count: int) -> DataSet:
    """Return ``count`` vectors of the data set, extended by copies with noise if it has fewer, and its queries."""
    data = load(NAME)
    missing = count - len(data.vectors)
    if missing <= 0:
        return DataSet(data.vectors[:count], data.queries)
    if missing > len(data.vectors):
        raise ValueError(f"{NAME} can be extended to at most {2 * len(data.vectors)} vectors, not {count}")
    copies = np.random.default_rng(0).standard_normal((missing, data.vectors.shape[1]), dtype=np.float32)
    copies *= np.float32(NOISE / np.sqrt(data.vectors.shape[1]))
    copies += data.vectors[:missing]
    copies /= np.linalg.norm(copies, axis=1, keepdims=True)
    return DataSet(np.concatenate([data.vectors, copies]), data.queries)


def asked(alpha: float, queries: int, count: int) -> NDArray[np.int64]:
    """Return (count,) numbers of queries drawn by Zipf's law. With an ``alpha`` of 0, all are equally likely."""
    random = np.random.default_rng(1)
    weights = np.arange(1, queries + 1) ** -alpha
    return random.permutation(queries)[random.choice(queries, count, p=weights / weights.sum())]


async def measure(data: DataSet, folder: Path) -> None:
    vectors, queries = data
    _, truth = faiss.knn(queries, vectors, K)
    nbytes = vectors.nbytes
    async with FolderBlobStore(folder / "blobs") as blobs:
        manifest = (await build_collection(blobs, NAME, vectors)).manifest
        del data, vectors
        disk = 2 * sum(chunk.bytes for chunk in manifest.chunks) + (64 << 20)
        less, more = int(SHARE * nbytes), 4 * nbytes
        async with (
            opened(blobs, NAME, folder / "tight", memory_bytes=less, disk_bytes=disk) as tight,
            opened(blobs, NAME, folder / "roomy", memory_bytes=more, disk_bytes=disk) as roomy,
        ):
            sides = {"tight": Side(*tight), "roomy": Side(*roomy)}
            with threadpool_limits(1):
                await compare(sides, queries, truth, manifest)


async def compare(
    sides: dict[str, Side], queries: NDArray[np.float32], truth: NDArray[np.int64], manifest: Manifest
) -> None:
    recalls = {name: await recall_of(searching(side.index, queries), truth) for name, side in sides.items()}
    before = {name: side.blob_reads() for name, side in sides.items()}
    figures: dict[str, object] = {
        "vectors": f"{manifest.vectors} x {manifest.dimension}",
        "cells, probes, chunks": [manifest.cells, manifest.search.nprobe, len(manifest.chunks)],
        "build seconds": manifest.build_seconds,
        "recall@10": {name: round(value, 4) for name, value in recalls.items()},
    }
    goals = [at_most("recall lost", recalls["roomy"] - recalls["tight"], 0.0)]
    for popularity, alpha in (("uniform", 0.0), ("Zipf", ALPHA)):
        stream = queries[asked(alpha, len(queries), len(queries))]
        found, reached = await under(popularity, sides, stream)
        figures |= found
        goals += reached
    reads = {name: side.blob_reads() - before[name] for name, side in sides.items()}
    for name, side in sides.items():
        figures |= {f"{name}, {key}": value for key, value in side.figures().items()}
    goals.append(at_most("blob reads after the warm-up", sum(reads.values()), 0))
    report("tight_memory", figures, goals)


async def under(
    popularity: str, sides: dict[str, Side], stream: NDArray[np.float32]
) -> tuple[dict[str, object], list[Goal]]:
    """Return figures and goals of one stream of queries, run sequentially and then by several clients."""
    times = await in_turns({name: searching(side.index, stream) for name, side in sides.items()}, len(stream))
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, side in sides.items():
            rates[name].append((await put_load(batched(side.index), stream, CLIENTS)).rate)
    p50, p99, rate = {}, {}, {}
    for name in sides:
        p50[name], p99[name] = np.percentile(times[name], [50, 99]).tolist()
        rate[name] = float(np.median(rates[name]))
    figures: dict[str, object] = {
        f"{popularity}, {name}: p50, p99 us, queries/s": [
            round(p50[name] * 1e6, 1),
            round(p99[name] * 1e6, 1),
            round(rate[name]),
        ]
        for name in sides
    }
    return figures, [
        at_most(f"{popularity}: p50 / all in memory", p50["tight"] / p50["roomy"], 1.3),
        at_most(f"{popularity}: p99 / all in memory", p99["tight"] / p99["roomy"], 2.0),
        at_least(f"{popularity}: queries/s at 8 / all in memory", rate["tight"] / rate["roomy"], 0.7),
    ]


def batched(index: ChunkIndex) -> BatchSearch:
    async def search(batch: NDArray[np.float32]) -> list[set[int]]:
        return [{int(one) for one in answer.ids} for answer in await index.search(batch)]

    return search


def _mb(count: int | None) -> float | None:
    return None if count is None else round(count / 1e6, 1)


def main() -> None:
    options = arguments(__doc__, vectors=1_000_000, queries=2000)
    data = extended(options.vectors)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(DataSet(data.vectors, data.queries[: options.queries]), Path(folder)))


if __name__ == "__main__":
    main()
