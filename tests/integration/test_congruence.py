"""The whole library against brute force in float64: real folders, real disks, nodes that come, go and restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.core.collections import NAME, assert_answers, build, clustered, opened, storage, table_of
from tests.support.core.vector_search_contract import METRICS
from tests.support.waiting import until

from vectorcache.index.catalog import Catalog
from vectorcache.index.chunk import Chunk
from vectorcache.index.coarse import load_coarse
from vectorcache.index.versions import Versions
from vectorcache.layers.nlayer import NLayerCache
from vectorcache.routing.placement import SLACK
from vectorcache.routing.router import RingRouter
from vectorcache.stores.base import BlobStore
from vectorcache.stores.disk import DiskFileStore
from vectorcache.stores.folder import FolderBlobStore

ALL = 10**6
VECTORS = np.concatenate([clustered(1100, 12), clustered(100, 12)])  # a hundred of them stand there twice
QUERIES = np.concatenate([clustered(4, 12, seed=8), VECTORS[:2]])
IDS = {"int": list(range(5000, 6200)), "str": [f"doc/{row}" for row in range(1200)]}
ROOMY, HARDLY_A_CHUNK = 64 << 20, 20_000


def caches_on_disk(blobs: BlobStore, folder: Path, memory_bytes: int) -> Callable[[str], NLayerCache[Chunk]]:
    """Each node has a folder of its own, which outlives it."""
    return lambda name: storage(blobs, DiskFileStore(folder / name), memory_bytes=memory_bytes)


async def check_router(router: RingRouter, blobs: BlobStore, ids: Sequence[int | str], metric: str) -> None:
    coarse = await load_coarse(blobs, await Catalog(blobs).manifest(NAME))
    answers = await router.search(coarse, QUERIES, 10, nprobe=ALL, payload=True)
    assert_answers(answers, VECTORS, ids, QUERIES, metric, 10)
    for answer in answers:
        assert answer.payload == [{"row": ids.index(value)} for value in answer.ids]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("cells_per_chunk", [1, None])
async def test_resizes_and_restarts_change_no_answer(
    tmp_path: Path, metric: str, kind: str, cells_per_chunk: int | None
) -> None:
    ids = IDS[kind]
    blobs = FolderBlobStore(tmp_path / "blobs")
    await build(blobs, table_of(VECTORS, ids), metric=metric, cells_per_chunk=cells_per_chunk, spread=0.2)
    for memory_bytes, replication in ((ROOMY, 1), (HARDLY_A_CHUNK, 2), (ROOMY, 2)):  # each time a new process
        make_cache = caches_on_disk(blobs, tmp_path / "disks", memory_bytes)
        async with RingRouter(make_cache, Versions(blobs), real_nodes=3, replication=replication) as router:
            await check_router(router, blobs, ids, metric)  # cold, but for the disks
            await check_router(router, blobs, ids, metric)  # warm
            await router.increase_real_nodes_count(2)
            await check_router(router, blobs, ids, metric)
            await router.decrease_real_nodes_count(4)
            await check_router(router, blobs, ids, metric)
    await blobs.close()


async def test_a_restarted_node_reads_its_disk_and_not_the_blobs(tmp_path: Path) -> None:
    blobs = FolderBlobStore(tmp_path / "blobs")
    await build(blobs, VECTORS)
    made: list[NLayerCache[Chunk]] = []

    def make_cache(name: str) -> NLayerCache[Chunk]:
        made.append(caches_on_disk(blobs, tmp_path / "disks", ROOMY)(name))
        return made[-1]

    answers = []
    for _ in range(2):
        async with RingRouter(make_cache, Versions(blobs), real_nodes=3) as router:
            coarse = await load_coarse(blobs, await Catalog(blobs).manifest(NAME))
            few = QUERIES[:SLACK]  # with more in flight on a node, another one would load the chunks too
            answers.append(await router.search(coarse, few, nprobe=ALL))
    assert answers[0] == answers[1]
    before, after = made[:3], made[3:]
    loaded = [sum(cache.layer_stats()[-1].hits for cache in group) for group in (before, after)]
    assert loaded == [len(coarse.manifest.chunks), 0]
    await blobs.close()


async def test_a_damaged_disk_changes_no_answer(tmp_path: Path) -> None:
    blobs = FolderBlobStore(tmp_path / "blobs")
    await build(blobs, VECTORS)
    make_cache = caches_on_disk(blobs, tmp_path / "disks", ROOMY)
    for damage in (None, _flip, _truncate, _empty):
        if damage is not None:
            files = [path for path in (tmp_path / "disks").rglob("*") if path.is_file()]
            assert files
            for path in files:
                path.write_bytes(damage(path.read_bytes()))
        async with RingRouter(make_cache, Versions(blobs), real_nodes=2) as router:
            coarse = await load_coarse(blobs, await Catalog(blobs).manifest(NAME))
            answers = await router.search(coarse, QUERIES, 10, nprobe=ALL)
            assert_answers(answers, VECTORS, range(1200), QUERIES, "euclidean", 10)
    await blobs.close()


def _flip(data: bytes) -> bytes:
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]


def _truncate(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _empty(data: bytes) -> bytes:
    return b""


async def test_the_index_in_process_and_the_nodes_agree(tmp_path: Path) -> None:
    """At every nprobe, not only at all cells; and however many nodes there are."""
    blobs = FolderBlobStore(tmp_path / "blobs")
    manifest = (await build(blobs, VECTORS)).manifest
    coarse = await load_coarse(blobs, manifest)
    async with opened(blobs) as index:
        expected = {
            nprobe: await index.search(QUERIES, 7, nprobe=nprobe) for nprobe in (1, 3, manifest.cells)
        }
    for nodes in (1, 2, 5):
        make_cache = caches_on_disk(blobs, tmp_path / f"disks-{nodes}", ROOMY)
        async with RingRouter(make_cache, Versions(blobs), real_nodes=nodes) as router:
            for nprobe, answers in expected.items():
                found = await router.search(coarse, QUERIES, 7, nprobe=nprobe)
                assert [(one.ids, one.distances) for one in found] == [
                    (one.ids, one.distances) for one in answers
                ]
    await blobs.close()


@pytest.mark.exhaustive
@pytest.mark.parametrize("metric", METRICS)
async def test_codes_hide_hardly_a_neighbour_however_many_nodes_there_are(
    tmp_path: Path, metric: str
) -> None:
    blobs = FolderBlobStore(tmp_path / "blobs")
    drawn = clustered(4100, 64)
    vectors, queries = drawn[:4000], drawn[4000:]
    manifest = (await build(blobs, vectors, metric=metric, codes="2", calibration_queries=400)).manifest
    coarse = await load_coarse(blobs, manifest)
    async with opened(blobs) as index:
        expected = await index.search(queries, exact=True)
        every = await index.search(queries, nprobe=ALL)
    assert_answers(every, vectors, range(4000), queries, metric, 10)
    for nodes, memory_bytes in ((1, ROOMY), (3, ROOMY), (3, HARDLY_A_CHUNK), (2, 10 * HARDLY_A_CHUNK)):
        make_cache = caches_on_disk(blobs, tmp_path / f"disks-{nodes}", memory_bytes)
        async with RingRouter(make_cache, Versions(blobs), real_nodes=nodes) as router:
            exact = await router.search(coarse, queries, exact=True)
            assert [(one.ids, one.distances) for one in exact] == [
                (one.ids, one.distances) for one in expected
            ]
            assert [one.ids for one in await router.search(coarse, queries, nprobe=ALL)] == [
                one.ids for one in every
            ]
            found = await router.search(coarse, queries)
            shared = sum(len(set(one.ids) & set(two.ids)) for one, two in zip(found, exact, strict=True))
            assert shared >= 995
    await blobs.close()


async def test_a_new_version_and_a_roll_back_under_load(tmp_path: Path) -> None:
    """Whatever version a search reads, its answer is that version's, whole."""
    blobs = FolderBlobStore(tmp_path / "blobs")
    halves = (VECTORS[:600], VECTORS[600:])
    await build(blobs, halves[0])
    make_cache = caches_on_disk(blobs, tmp_path / "disks", ROOMY)
    done = asyncio.Event()
    seen: set[int] = set()

    async def searches(router: RingRouter) -> None:
        while not done.is_set():
            manifest = await Catalog(blobs).manifest(NAME)
            seen.add(manifest.version)
            answers = await router.search(await load_coarse(blobs, manifest), QUERIES, 5, nprobe=ALL)
            part: NDArray[np.float32] = halves[(manifest.version - 1) % 2]
            assert_answers(answers, part, range(600), QUERIES, "euclidean", 5)

    async with RingRouter(make_cache, Versions(blobs), real_nodes=3) as router, asyncio.TaskGroup() as group:
        group.create_task(searches(router))
        for version in (2, 3):
            await build(blobs, halves[(version - 1) % 2])
            await until(lambda wanted=version: wanted in seen)  # type: ignore[misc]
        seen.clear()
        await Catalog(blobs).roll_back(NAME, 2)
        await until(lambda: 2 in seen)
        done.set()
    await blobs.close()
