"""ChunkIndex in process, with codes and without, against faiss's IVF of the same cells and against a graph (hnswlib).

Warm, one thread, one query at a time, in turns. faiss searches our own centroids with as many probes; the graph's
``ef`` is the smallest that reaches our recall. Builds the collections first, and times that too.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import faiss
import hnswlib
import numpy as np
from benchmarks.data import NAMES, DataSet, load
from benchmarks.support import at_least, at_most, opened, parser_of, recall, report
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from vectorcache import ChunkIndex, FolderBlobStore, build_collection
from vectorcache.index.coarse import decode_centroids

K = 10
Search = Callable[[int], Awaitable[set[int]]]


async def measure(name: str, data: DataSet, folder: Path) -> None:
    vectors, queries = data
    _, truth = faiss.knn(queries, vectors, K)
    blobs = FolderBlobStore(folder / "blobs")
    manifest = (await build_collection(blobs, name, vectors)).manifest
    async with opened(blobs, name, folder / "disk") as (index, _):
        started = time.perf_counter()
        answers = await index.search(queries)
        cold_seconds = time.perf_counter() - started
        share = sum(answer.scanned for answer in answers) / len(queries) / len(vectors)
        centroids = decode_centroids((await blobs.get(manifest.centroids_key)).data, manifest.centroids_key)
        lists = inverted(vectors, centroids, manifest.search.nprobe)
        graph = hnswlib.Index("l2", vectors.shape[1])
        graph.init_index(len(vectors), M=16, ef_construction=200)
        graph.add_items(vectors)

        async def by_lists(number: int) -> set[int]:
            return set(lists.search(queries[number : number + 1], K)[1][0].tolist())

        async def by_graph(number: int) -> set[int]:
            return set(graph.knn_query(queries[number], K)[0][0].tolist())

        ours, exact = searching(index, queries), searching(index, queries, exact=True)
        with threadpool_limits(1):
            faiss.omp_set_num_threads(1)
            graph.set_num_threads(1)
            reached = await recall_of(ours, truth)
            for ef in range(K, 1000, 10):
                graph.set_ef(ef)
                if await recall_of(by_graph, truth) >= reached:
                    break
            searches = {"ours": ours, "ours, exact": exact, "faiss IVF": by_lists, "hnswlib": by_graph}
            recalls = {label: await recall_of(search, truth) for label, search in searches.items()}
            times = await in_turns(searches, len(queries))
    medians = {label: float(np.median(taken)) for label, taken in times.items()}
    of_lists, of_graph = (0.35, 1.0) if vectors.shape[1] >= 96 else (0.6, 1.2)
    report(
        f"chunk_index-{name}",
        {
            "vectors": f"{vectors.shape[0]} x {vectors.shape[1]}",
            "cells, probes, chunks": [manifest.cells, manifest.search.nprobe, len(manifest.chunks)],
            "copies per vector": round(manifest.rows / manifest.vectors, 4),
            "bytes per vector": round(sum(chunk.bytes for chunk in manifest.chunks) / manifest.vectors),
            "codes, bits": manifest.codes.bits if manifest.codes else None,
            "build seconds": manifest.build_seconds,
            "recall@10": {label: round(value, 4) for label, value in recalls.items()},
            "p50 us": {label: round(value * 1e6, 1) for label, value in medians.items()},
            "p99 us": {
                label: round(float(np.percentile(taken, 99)) * 1e6, 1) for label, taken in times.items()
            },
            "all queries cold, seconds": round(cold_seconds, 3),
        },
        [
            at_least("recall@10", recalls["ours"], 0.95),
            at_most("p50, of faiss IVF's", medians["ours"] / medians["faiss IVF"], of_lists),
            at_most("p50, of hnswlib's", medians["ours"] / medians["hnswlib"], of_graph),
            at_most("share of the vectors scanned", share, 0.06),
        ],
    )


def searching(index: ChunkIndex, queries: NDArray[np.float32], *, exact: bool = False) -> Search:
    """Searches of an index for the query of a number, which return the ids that were found."""

    async def one(number: int) -> set[int]:
        return {int(found) for found in (await index.search(queries[number], exact=exact))[0].ids}

    return one


def inverted(vectors: np.ndarray, centroids: np.ndarray, nprobe: int) -> faiss.IndexIVFFlat:
    """faiss's lists of the same cells."""
    quantizer = faiss.IndexFlatL2(vectors.shape[1])
    quantizer.add(centroids)
    lists = faiss.IndexIVFFlat(quantizer, vectors.shape[1], len(centroids))
    lists.add(vectors)
    lists.nprobe = nprobe
    return lists


async def recall_of(search: Search, truth: np.ndarray) -> float:
    return recall([await search(number) for number in range(len(truth))], truth)


async def in_turns(searches: dict[str, Search], count: int) -> dict[str, list[float]]:
    """Seconds of every search, taken in turns so that a machine that slows down slows all of them.

    In a random order: the processor's caches are full of what was searched just before.
    """
    times: dict[str, list[float]] = {label: [] for label in searches}
    random = np.random.default_rng(0)
    for number in range(count):
        for label in random.permutation(list(searches)).tolist():
            begin = time.perf_counter()
            await searches[label](number)
            times[label].append(time.perf_counter() - begin)
    return times


def main() -> None:
    parser = parser_of(__doc__, queries=1000, vectors=250_000)
    parser.add_argument(
        "names", nargs="*", default=NAMES, metavar="NAME", help="data sets, see benchmarks.data"
    )
    options = parser.parse_args()
    for name in options.names:
        data = load(name, options.vectors)
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(measure(name, DataSet(data.vectors, data.queries[: options.queries]), Path(folder)))


if __name__ == "__main__":
    main()
