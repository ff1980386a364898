"""ChunkIndex in process against faiss's IVF with as many lists and probes: GloVe, warm, one thread.

The lists of faiss are trained on as large a sample. Builds the collection first, and times that too.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np
from benchmarks.support import arguments, at_least, at_most, glove, recall, report
from threadpoolctl import threadpool_limits

from vectorcache import (
    BuildSettings,
    Chunk,
    ChunkCodec,
    ChunkIndex,
    DiskFileStore,
    EfficientVectorStorage,
    FolderBlobStore,
    build_collection,
)


async def measure(folder: Path, queries_count: int) -> None:
    vectors, queries = glove(queries_count)
    _, truth = faiss.knn(queries, vectors, 10)
    blobs = FolderBlobStore(folder / "blobs")
    started = time.perf_counter()
    built = (await build_collection(blobs, "glove", vectors)).manifest
    build_seconds = time.perf_counter() - started
    sample = BuildSettings().sample_per_cell * built.cells
    inverted = faiss.IndexIVFFlat(faiss.IndexFlatL2(vectors.shape[1]), vectors.shape[1], built.cells)
    inverted.cp.niter = BuildSettings().iterations
    inverted.train(vectors[np.random.default_rng(0).choice(len(vectors), sample, replace=False)])
    inverted.add(vectors)
    inverted.nprobe = built.search.nprobe
    storage = EfficientVectorStorage[Chunk](
        blobs,
        DiskFileStore(folder / "disk"),
        ChunkCodec(),
        memory_bytes=512 << 20,
        weigh=lambda chunk: chunk.nbytes,
    )
    await storage.open()
    index = await ChunkIndex.open(blobs, "glove", storage)
    started = time.perf_counter()
    await index.search(queries)
    cold_seconds = time.perf_counter() - started

    ours, theirs, found, found_faiss, scanned = [], [], [], [], 0
    faiss.omp_set_num_threads(1)
    with threadpool_limits(1):
        for query in queries:
            begin = time.perf_counter()
            answer = (await index.search(query))[0]
            middle = time.perf_counter()
            _, numbers = inverted.search(query[None], 10)
            theirs.append(time.perf_counter() - middle)
            ours.append(middle - begin)
            found.append({int(one) for one in answer.ids})
            found_faiss.append(set(numbers[0].tolist()))
            scanned += answer.scanned
    await index.close()
    await storage.close()
    share = scanned / len(queries) / len(vectors)
    report(
        "chunk_index",
        {
            "vectors": f"{vectors.shape[0]} x {vectors.shape[1]}",
            "cells, probes, chunks": [built.cells, built.search.nprobe, len(built.chunks)],
            "copies per vector": round(built.rows / built.vectors, 4),
            "build seconds": round(build_seconds, 2),
            "recall@10, ours / faiss": [recall(found, truth), recall(found_faiss, truth)],
            "p50 us, ours / faiss": [round(float(np.median(times) * 1e6), 1) for times in (ours, theirs)],
            "p99 us, ours / faiss": [
                round(float(np.percentile(times, 99) * 1e6), 1) for times in (ours, theirs)
            ],
            "all queries cold, seconds": round(cold_seconds, 3),
        },
        [
            at_least("recall@10", recall(found, truth), 0.95),
            at_most("p50, of faiss IVF's", float(np.median(ours) / np.median(theirs)), 1.3),
            at_most("share of the vectors scanned", share, 0.06),
            at_most("build seconds", build_seconds, 20.0),
        ],
    )


def main() -> None:
    options = arguments(__doc__, queries=1000)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), options.queries))


if __name__ == "__main__":
    main()
