from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.support.core.collections import NAME, assert_answers, build, clustered, opened, storage, table_of
from tests.support.core.control import ControlledBlobs
from tests.support.core.vector_search_contract import METRICS

from vectorcache.errors import InvalidInput, NotFound, Unavailable
from vectorcache.index.catalog import Catalog
from vectorcache.index.chunk_index import ChunkIndex
from vectorcache.stores.disk import DiskFileStore
from vectorcache.stores.memory import MemoryBlobStore, MemoryFileStore

VECTORS = clustered(1500)
QUERIES = np.concatenate([clustered(6, seed=9), VECTORS[:2]])
ALL = 10**6
IDS = {"int": [row * 7 - 50 for row in range(1500)], "str": [f"wörd {row}" for row in range(1500)]}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("cells_per_chunk", [1, None])
async def test_all_cells_equal_brute_force(metric: str, kind: str, cells_per_chunk: int | None) -> None:
    """Cold, warm, after a restart of the process with its disk, and with room for hardly a chunk."""
    blobs, files, ids = MemoryBlobStore(), MemoryFileStore(), IDS[kind]
    await build(blobs, table_of(VECTORS, ids), metric=metric, cells_per_chunk=cells_per_chunk, spread=0.2)
    for memory_bytes in (64 << 20, 64 << 20, 20_000):
        async with opened(blobs, files, memory_bytes=memory_bytes) as index:
            for _ in ("cold", "warm"):
                answers = await index.search(QUERIES, 10, nprobe=ALL)
                assert_answers(answers, VECTORS, ids, QUERIES, metric, 10)
                assert [len(answer.ids) for answer in answers] == [10] * len(QUERIES)


@pytest.mark.parametrize("metric", METRICS)
async def test_the_default_reaches_the_recall_that_was_asked(metric: str) -> None:
    """For queries that the build has not seen, of the kind that it has: 0.95, less three standard errors."""
    blobs, drawn = MemoryBlobStore(), clustered(1700)
    await build(blobs, drawn[:1500], metric=metric, calibration_queries=400)
    async with opened(blobs) as index:
        found = await index.search(drawn[1500:])
        exact = await index.search(drawn[1500:], nprobe=ALL)
        assert index.manifest.search.nprobe < index.manifest.cells
    hits = sum(len(set(one.ids) & set(two.ids)) for one, two in zip(found, exact, strict=True))
    assert hits / 2000 >= 0.92


async def test_a_batch_is_as_single_queries_and_warm_as_cold() -> None:
    blobs = MemoryBlobStore()
    await build(blobs, VECTORS)
    async with opened(blobs) as index:
        cold = [(await index.search(query, 7, nprobe=3, payload=True))[0] for query in QUERIES]
        batch = await index.search(QUERIES, 7, nprobe=3, payload=True)
    for one, other in zip(cold, batch, strict=True):
        assert (one.ids, one.distances, one.payload) == (other.ids, other.distances, other.payload)


async def test_payload_is_returned_where_it_is_asked_for() -> None:
    blobs = MemoryBlobStore()
    await build(blobs, table_of(VECTORS, IDS["str"]))
    async with opened(blobs) as index:
        (with_payload,) = await index.search(VECTORS[3], 5, nprobe=ALL, payload=True)
        (without,) = await index.search(VECTORS[3], 5, nprobe=ALL)
    rows = [IDS["str"].index(str(value)) for value in with_payload.ids]
    assert rows[0] == 3
    assert with_payload.payload == [{"row": row} for row in rows]
    assert without.payload is None


async def test_counts_what_it_compared() -> None:
    blobs = MemoryBlobStore()
    manifest = (await build(blobs, VECTORS)).manifest
    async with opened(blobs) as index:
        (everything,) = await index.search(VECTORS[0], nprobe=ALL)
        (little,) = await index.search(VECTORS[0], nprobe=1)
        assert index.manifest == manifest
    assert everything.scanned == manifest.rows
    assert 0 < little.scanned < manifest.rows / 4


async def test_a_long_scan_leaves_the_event_loop() -> None:
    blobs = MemoryBlobStore()
    vectors = clustered(2000, 300)
    await build(blobs, vectors)
    queries = clustered(8, 300, seed=1)
    async with opened(blobs) as index:
        answers = await index.search(queries, nprobe=ALL)  # 8 x 2000 x 300 multiplications
    assert_answers(answers, vectors, range(2000), queries, "euclidean", 10)


@pytest.mark.parametrize(
    ("queries", "arguments", "message"),
    [
        ([1.0] * 7, {}, "^query: .*dimension 7.*allowed: dimension 8"),
        ([float("nan")] * 8, {}, r"^query\[0\]\[0\]: nan"),
        (["a"] * 8, {}, "^query: "),
        ([1.0] * 8, {"k": 0}, "^k: 0"),
        ([1.0] * 8, {"k": True}, "^k: True"),
        ([1.0] * 8, {"nprobe": 0}, "^nprobe: 0"),
        ([1.0] * 8, {"nprobe": 1.5}, "^nprobe: 1.5"),
        ([0.0] * 8, {}, "zero vector"),
    ],
)
async def test_refuses_what_it_cannot_search(
    queries: Sequence[float], arguments: dict[str, int], message: str
) -> None:
    blobs = MemoryBlobStore()
    await build(blobs, VECTORS[:200], metric="cosine")
    async with opened(blobs) as index:
        with pytest.raises(InvalidInput, match=message):
            await index.search(queries, **arguments)


async def test_no_queries_have_no_answers() -> None:
    blobs = MemoryBlobStore()
    await build(blobs, VECTORS[:200])
    async with opened(blobs) as index:
        assert await index.search(np.empty((0, 8)), 3) == []


async def test_a_store_that_fails_makes_answers_partial() -> None:
    blobs = ControlledBlobs(MemoryBlobStore())
    await build(blobs, VECTORS)
    cache = storage(blobs)
    await cache.open()
    async with await ChunkIndex.open(blobs, NAME, cache) as index:
        warm = (await index.search(VECTORS[0], nprobe=2))[0]
        blobs.control.failures["get"] = Unavailable("down")
        (partial,) = await index.search(VECTORS[0], nprobe=ALL)
        assert partial.partial
        assert 0 < partial.searched < 1
        assert partial.ids[0] == 0
        assert (await index.search(VECTORS[0], nprobe=2))[0] == warm
        del blobs.control.failures["get"]
        (whole,) = await index.search(VECTORS[0], nprobe=ALL)
        assert_answers([whole], VECTORS, range(1500), VECTORS[0], "euclidean", 10)
    await cache.close()


async def test_what_is_not_loaded_in_time_is_told() -> None:
    blobs = ControlledBlobs(MemoryBlobStore())
    await build(blobs, VECTORS)
    cache = storage(blobs)
    await cache.open()
    async with await ChunkIndex.open(blobs, NAME, cache) as index:
        await index.search(VECTORS[0], nprobe=1)  # opens the version
        gate = blobs.control.hold("get")
        (answer,) = await index.search(VECTORS[0], nprobe=ALL, timeout=0.01)
        assert 0 < answer.searched < 1
        gate.open()
        (whole,) = await index.search(VECTORS[0], nprobe=ALL)
        assert whole.searched == 1
    await cache.close()


async def test_a_version_that_was_deleted_is_not_found() -> None:
    blobs = MemoryBlobStore()
    await build(blobs, VECTORS)
    async with opened(blobs, version=1) as unused, opened(blobs, version=1) as used:
        (before,) = await used.search(VECTORS[0], nprobe=1)
        await build(blobs, VECTORS)
        assert await Catalog(blobs).delete_old(NAME, keep=1) == [1]
        assert (await unused.search(VECTORS[0]))[0].searched == 0
        with pytest.raises(NotFound, match="words/v1"):
            async with opened(blobs, version=1):
                pass
        # what is in the cache goes on; what is not cannot be searched any more, and that is told
        assert (await used.search(VECTORS[0], nprobe=1))[0] == before
        assert (await used.search(VECTORS[0], nprobe=ALL))[0].searched < 1


async def test_an_index_stays_with_its_version() -> None:
    blobs = MemoryBlobStore()
    await build(blobs, VECTORS[:700])
    async with opened(blobs) as first:
        await build(blobs, VECTORS[700:])
        async with opened(blobs) as second, opened(blobs, version=1) as pinned:
            for index, version, part in (
                (first, 1, VECTORS[:700]),
                (second, 2, VECTORS[700:]),
                (pinned, 1, VECTORS[:700]),
            ):
                assert index.manifest.version == version
                answers = await index.search(QUERIES, nprobe=ALL)
                assert_answers(answers, part, range(len(part)), QUERIES, "euclidean", 10)


async def test_indexes_share_a_cache() -> None:
    blobs = MemoryBlobStore()
    cache = storage(blobs)
    await build(blobs, VECTORS[:700], name="one")
    await build(blobs, VECTORS[700:], name="two")
    await cache.open()
    for name, part in (("one", VECTORS[:700]), ("two", VECTORS[700:])):
        async with await ChunkIndex.open(blobs, name, cache) as index:
            answers = await index.search(QUERIES, nprobe=ALL)
            assert_answers(answers, part, range(len(part)), QUERIES, "euclidean", 10)
    await cache.close()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("bits", [1, 2, 4])
async def test_codes_lose_no_more_than_the_build_says(metric: str, bits: int) -> None:
    """Searched as the build measured: held-out vectors of the collection, at the default, each but for itself."""
    blobs, vectors = MemoryBlobStore(), clustered(1500, 48)
    await build(blobs, vectors, metric=metric, codes=str(bits), calibration_queries=200)
    own = np.sort(np.random.default_rng(1).choice(1500, 200, replace=False))
    async with opened(blobs) as index:
        search = index.manifest.search
        every = await index.search(vectors[own], 11, nprobe=ALL)
        exact = await index.search(vectors[own], 11, exact=True)
        found = await index.search(vectors[own], 11)
    point = {one.nprobe: one for one in search.curve}[search.nprobe]
    truth = [set(answer.ids) - {row} for answer, row in zip(every, own.tolist(), strict=True)]
    recalls = [
        sum(len(set(one.ids) & wanted) for one, wanted in zip(answers, truth, strict=True)) / 2000
        for answers in (found, exact)
    ]
    if metric != "dot":  # by inner product a vector need not be the nearest to itself
        assert recalls[1] == pytest.approx(point.exact_recall, abs=1e-5)
        assert point.recall - 1e-5 <= recalls[0] <= recalls[1]
    assert recalls[1] - recalls[0] < 0.005


@pytest.mark.parametrize("metric", METRICS)
async def test_an_exact_search_is_as_without_codes(metric: str) -> None:
    coded, plain = MemoryBlobStore(), MemoryBlobStore()
    vectors = clustered(1000, 40)
    for blobs, codes in ((coded, "1"), (plain, "none")):
        await build(blobs, vectors, metric=metric, codes=codes)
    queries = clustered(20, 40, seed=3)
    async with opened(coded) as one, opened(plain) as other:
        expected = await other.search(queries, 30, nprobe=5)
        assert await one.search(queries, 30, nprobe=5, exact=True) == expected
        by_codes = await one.search(queries, 30, nprobe=5)
        assert [answer.scanned for answer in by_codes] == [answer.scanned for answer in expected]
        answers = await one.search(queries, 30, nprobe=ALL)  # exact, though it does not say so
        assert_answers(answers, vectors, range(1000), queries, metric, 30)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("codes", ["none", "2"])
async def test_over_mapped_files_answers_are_the_same(metric: str, codes: str, tmp_path: Path) -> None:
    """By codes and exactly, from memory that holds a part of the open chunks, after a restart too."""
    blobs, vectors = MemoryBlobStore(), clustered(1500, 48)
    ids = [f"wörd {row}" for row in range(1500)]
    await build(blobs, table_of(vectors, ids), metric=metric, codes=codes)
    queries = clustered(10, 48, seed=3)
    async with opened(blobs) as index:
        expected = [await index.search(queries, nprobe=nprobe, payload=True) for nprobe in (3, ALL)]
        chunks = len(index.manifest.chunks)
    async with DiskFileStore(tmp_path) as files:
        for memory_bytes in (64 << 20, 120_000, 120_000):
            async with opened(blobs, files, memory_bytes=memory_bytes) as index:
                for _ in ("cold", "warm"):
                    for answers, nprobe in zip(expected, (3, ALL), strict=True):
                        assert await index.search(queries, nprobe=nprobe, payload=True) == answers
        assert len(await files.list()) == chunks


async def test_memory_holds_little_of_what_is_on_disk(tmp_path: Path) -> None:
    blobs, vectors = MemoryBlobStore(), clustered(4000, 128)
    manifest = (await build(blobs, vectors, codes="2")).manifest
    async with DiskFileStore(tmp_path) as files:
        cache = storage(blobs, files)
        await cache.open()
        async with await ChunkIndex.open(blobs, NAME, cache) as index:
            await index.search(vectors[:5], nprobe=ALL)
        await cache.close()  # the last copies are made
        await cache.open()
        async with await ChunkIndex.open(blobs, NAME, cache) as index:
            await index.search(vectors[:5], nprobe=ALL)
        memory, disk, _ = cache.layer_stats()
        assert (memory.items, disk.items) == (len(manifest.chunks), len(manifest.chunks))
        assert memory.bytes is not None
        assert disk.bytes is not None
        assert memory.bytes < disk.bytes / 5
        await cache.close()
