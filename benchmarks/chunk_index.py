"""ChunkIndex in process, with and without codes, compared with faiss's IVF over the same cells and a graph (hnswlib).

All searches are warm, use one thread and one query at a time, and alternate. faiss searches the centroids of our build
with the same number of probes. The ``ef`` of the graph is the smallest that reaches our recall. The builds of the
collections are timed as well.
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
            at_most("p50 / faiss IVF", medians["ours"] / medians["faiss IVF"], of_lists),
            at_most("p50 / hnswlib", medians["ours"] / medians["hnswlib"], of_graph),
            at_most("share of the vectors scanned", share, 0.06),
        ],
    )


def searching(index: ChunkIndex, queries: NDArray[np.float32], *, exact: bool = False) -> Search:
    """Return a function that searches an index for the query with a given number and returns the ids found."""

    async def one(number: int) -> set[int]:
        return {int(found) for found in (await index.search(queries[number], exact=exact))[0].ids}

    return one


def inverted(vectors: np.ndarray, centroids: np.ndarray, nprobe: int) -> faiss.IndexIVFFlat:
    """Return faiss inverted lists over the same cells."""
    quantizer = faiss.IndexFlatL2(vectors.shape[1])
    quantizer.add(centroids)
    lists = faiss.IndexIVFFlat(quantizer, vectors.shape[1], len(centroids))
    lists.add(vectors)
    lists.nprobe = nprobe
    return lists


async def recall_of(search: Search, truth: np.ndarray) -> float:
    return recall([await search(number) for number in range(len(truth))], truth)


async def in_turns(searches: dict[str, Search], count: int) -> dict[str, list[float]]:
    """Return the seconds of every search. Searches alternate, so that a slowdown of the machine affects all of them.

    The order is random, because each search finds the processor caches filled by the previous one.
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
