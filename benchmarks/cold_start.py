"""The first searches of a collection that is only in blob storage (Azurite), with empty disk and memory layers.

The searches run in this process, one at a time, through the blob store of Azure. Before each search, one
chunk is read by a GET that bypasses the cache, so that searches and single GETs are timed under the same
conditions. Azurite shares the processors with the searches, so the GETs of one search slow each other down.

GETs are counted by blob and range, because a chunk may be read whole or in sections.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import faiss
import numpy as np
from benchmarks.data import DataSet, load
from benchmarks.support import arguments, at_least, at_most, opened, recall, report

from vectorcache import Blob, BlobInfo, BlobStore, build_collection, open_blob_store
from vectorcache_tools.azurite import LOCAL_BINARY, Azurite

K = 10
NAME = "text-256"
CONTAINER = "cold"


class CountingBlobStore(BlobStore):
    """A blob store that counts the GETs of each range.

    Attributes:
        gets: number of GETs by key, offset and length.
        bytes: number of bytes read.

    Args:
        inner: the store to call. The caller closes it.
    """

    def __init__(self, inner: BlobStore) -> None:
        self._inner = inner
        self.gets: Counter[tuple[str, int, int | None]] = Counter()
        self.bytes = 0

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Blob:
        self.gets[key, offset, length] += 1
        blob = await self._inner.get(key, offset=offset, length=length)
        self.bytes += len(blob.data)
        return blob

    async def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        return await self._inner.put(key, data, if_match=if_match, if_absent=if_absent)

    async def delete(self, key: str) -> bool:
        return await self._inner.delete(key)

    async def head(self, key: str) -> BlobInfo | None:
        return await self._inner.head(key)

    async def list_folders(self, prefix: str = "") -> list[str]:
        return await self._inner.list_folders(prefix)

    def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        return self._inner.list(prefix)

    async def close(self) -> None:
        pass


async def measure(azurite: Azurite, data: DataSet, folder: Path) -> None:
    vectors, queries = data
    _, truth = faiss.knn(queries, vectors, K)
    await azurite.create_container(CONTAINER)
    async with open_blob_store(azurite.url(CONTAINER), azurite.environment) as blobs:
        manifest = (await build_collection(blobs, NAME, vectors)).manifest
        counted = CountingBlobStore(blobs)
        single = np.random.default_rng(0).integers(len(manifest.chunks), size=len(queries)).tolist()
        get_times, times, found, read = [], [], [], []
        async with opened(counted, NAME, folder / "disk") as (index, _):
            of_opening = counted.gets.total()
            for query, chunk in zip(queries, single, strict=True):
                began = time.perf_counter()
                await blobs.get(manifest.chunk_key(chunk))
                before, got = counted.gets.total(), time.perf_counter()
                found.append(set((await index.search(query))[0].ids))
                get_times.append(got - began)
                times.append(time.perf_counter() - got)
                read.append(counted.gets.total() - before)
    chunk_keys = {manifest.chunk_key(number) for number in range(len(manifest.chunks))}
    of_chunks = {part: count for part, count in counted.gets.items() if part[0] in chunk_keys}
    get_p50, get_p99 = np.percentile(get_times, [50, 99]).tolist()
    p50, p99 = np.percentile(times, [50, 99]).tolist()
    report(
        "cold_start",
        {
            "vectors": f"{vectors.shape[0]} x {vectors.shape[1]}",
            "cells, probes, chunks": [manifest.cells, manifest.search.nprobe, len(manifest.chunks)],
            "KB of a chunk, mean": round(
                sum(chunk.bytes for chunk in manifest.chunks) / len(chunk_keys) / 1e3
            ),
            "chunks read; GETs of them": [len({key for key, _, _ in of_chunks}), sum(of_chunks.values())],
            "GETs of other blobs; of them by opening": [
                counted.gets.total() - sum(of_chunks.values()),
                of_opening,
            ],
            "MB read": round(counted.bytes / 1e6, 1),
            "recall@10": round(recall(found, truth), 4),
            "one GET of a chunk: p50, p99 ms": [round(get_p50 * 1e3, 2), round(get_p99 * 1e3, 2)],
            "first queries: p50, p99 ms": [round(p50 * 1e3, 2), round(p99 * 1e3, 2)],
            "the first five queries, ms": [round(one * 1e3, 1) for one in times[:5]],
            "GETs of the first five queries": read[:5],
            "p99 / p50 of a GET": round(p99 / get_p50, 2),
        },
        [
            at_least("recall@10", recall(found, truth), 0.95),
            at_most("GETs of the same range of a chunk", max(of_chunks.values()), 1),
            at_most("p99 / p99 of a GET", p99 / get_p99, 4.0),
        ],
    )


def main() -> None:
    options = arguments(__doc__, vectors=100_000, queries=100)
    data = load(NAME, options.vectors)
    with Azurite(LOCAL_BINARY) as azurite, tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(azurite, DataSet(data.vectors, data.queries[: options.queries]), Path(folder)))


if __name__ == "__main__":
    main()
