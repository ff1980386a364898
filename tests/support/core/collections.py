"""Small collections for tests: clustered vectors, built into a blob store, opened through a cache."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from tests.support.core.brute_force import assert_nearest

from vectorcache.index.build import BuildResult, build_collection
from vectorcache.index.chunk import Chunk, ChunkCodec
from vectorcache.index.chunk_index import ChunkIndex
from vectorcache.index.layout import BuildSettings
from vectorcache.index.query import Answer
from vectorcache.layers.storage import EfficientVectorStorage
from vectorcache.stores.base import BlobStore, FileStore
from vectorcache.stores.memory import MemoryFileStore

NAME = "words"
SMALL = {
    "cells": 24,
    "chunk_bytes": 64 << 10,
    "cells_per_chunk": 4,
    "iterations": 3,
    "calibration_queries": 40,
}


def clustered(n: int = 1500, d: int = 8, *, seed: int = 0, centres: int = 30) -> NDArray[np.float32]:
    """Vectors around some centres, as embeddings are."""
    generator = np.random.default_rng(seed)
    means = generator.standard_normal((centres, d)) * 2
    return (means[generator.integers(0, centres, n)] + generator.standard_normal((n, d))).astype(np.float32)


def table_of(vectors: NDArray[np.float32], ids: Sequence[int | str]) -> pa.Table:
    """Vectors with ids, and a payload that tells which row it is."""
    return pa.table(
        {"id": pa.array(ids), "vector": pa.array(list(vectors)), "row": pa.array(np.arange(len(vectors)))}
    )


async def build(
    blobs: BlobStore, data: NDArray[np.float32] | pa.Table, *, name: str = NAME, **settings: object
) -> BuildResult:
    """Build with few cells and few iterations, unless it is said otherwise."""
    return await build_collection(blobs, name, data, BuildSettings(**{**SMALL, **settings}))  # type: ignore[arg-type]


def storage(
    blobs: BlobStore, files: FileStore | None = None, *, memory_bytes: int = 64 << 20
) -> EfficientVectorStorage[Chunk]:
    """The cache of a node; its disk is in memory unless it is given."""
    return EfficientVectorStorage(
        blobs,
        files or MemoryFileStore(),
        ChunkCodec(),
        memory_bytes=memory_bytes,
        weigh=lambda chunk: chunk.nbytes,
    )


@asynccontextmanager
async def opened(
    blobs: BlobStore,
    files: FileStore | None = None,
    *,
    name: str = NAME,
    version: int | None = None,
    memory_bytes: int = 64 << 20,
) -> AsyncIterator[ChunkIndex]:
    """An index over a cache of its own."""
    cache = storage(blobs, files, memory_bytes=memory_bytes)
    await cache.open()
    try:
        async with await ChunkIndex.open(blobs, name, cache, version=version) as index:
            yield index
    finally:
        await cache.close()


def assert_answers(
    answers: Sequence[Answer],
    vectors: NDArray[np.float32],
    ids: Sequence[int | str],
    queries: ArrayLike,
    metric: str,
    k: int,
) -> None:
    """Every answer is whole, and equals brute force over all vectors."""
    rows = {value: row for row, value in enumerate(ids)}
    for answer, query in zip(answers, np.atleast_2d(np.asarray(queries)), strict=True):
        assert answer.searched == 1.0
        assert not answer.partial
        found = [rows[value] for value in answer.ids]
        assert_nearest(found, answer.distances, vectors, query, metric, k)
