from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
from tests.support.core.chunks import make_table
from tests.support.core.collections import NAME, build, clustered, storage, table_of
from tests.support.core.control import ControlledBlobs
from tests.support.core.queries import cell_query

from vectorcache.concurrency import Offload
from vectorcache.errors import InvalidInput, NotFound, Unavailable
from vectorcache.index.catalog import Catalog
from vectorcache.index.chunk import Chunk, ChunkCodec
from vectorcache.index.manifest import Manifest
from vectorcache.index.node import LocalNode
from vectorcache.index.query import CellQuery
from vectorcache.index.scan import NumpyScan, best_scan
from vectorcache.index.versions import Versions
from vectorcache.layers.nlayer import NLayerCache
from vectorcache.stores.memory import MemoryBlobStore

VECTORS = clustered(800)
IDS = [f"id-{row}" for row in range(800)]


class World(NamedTuple):
    blobs: ControlledBlobs
    cache: NLayerCache[Chunk]
    node: LocalNode
    manifest: Manifest


@pytest.fixture
async def world() -> AsyncIterator[World]:
    blobs = ControlledBlobs(MemoryBlobStore())
    manifest = (await build(blobs, table_of(VECTORS, IDS))).manifest
    cache = storage(blobs)
    await cache.open()
    yield World(blobs, cache, LocalNode("node-7", Versions(blobs), cache), manifest)
    await cache.close()


def query(*cells: list[int], k: int = 5, version: int = 1, payload: bool = False) -> CellQuery:
    wanted = [np.array(one, dtype=np.int32) for one in cells]
    return cell_query(NAME, version, VECTORS[: len(cells)], wanted, k, payload=payload)


async def test_searches_each_query_in_its_own_cells(world: World) -> None:
    answer = await world.node.search(query([0, 1], [], [5]))
    assert [len(hits.rows) for hits in answer.hits] == [5, 0, 5]
    assert len(answer.failed) == 0
    assert answer.reason == ""
    assert answer.scanned > 0
    assert answer.hits[0].ids == [IDS[row] for row in answer.hits[0].rows]


async def test_no_queries_are_no_answers(world: World) -> None:
    answer = await world.node.search(query())
    assert (answer.hits, answer.scanned) == ([], 0)


async def test_a_long_scan_runs_in_the_executor(world: World) -> None:
    with ThreadPoolExecutor(1, "scan") as executor:
        threaded = LocalNode(
            "node-7", Versions(world.blobs), world.cache, offload=Offload(executor, inline_work=0)
        )
        one, other = await threaded.search(query([0, 1])), await world.node.search(query([0, 1]))
        assert len(executor._threads) == 1
    assert one.hits[0].ids == other.hits[0].ids


async def test_an_answer_contains_the_load_of_other_searches(world: World) -> None:
    assert (await world.node.search(query([0, 1], [5]))).load == 0
    gate = world.blobs.control.hold("get")
    cold = asyncio.create_task(world.node.search(query([7, 8], [8])))
    await gate.arrivals(1)
    assert (await world.node.search(query([0, 1]))).load == 3
    gate.open()
    assert (await cold).load == 0
    with pytest.raises(InvalidInput):
        await world.node.search(query([10**6]))
    assert (await world.node.search(query([0]))).load == 0


@pytest.mark.parametrize("cells", [[-1, 0], [0, 10**6]])
async def test_refuses_cells_that_there_are_not(world: World, cells: list[int]) -> None:
    for asked in (query(cells), query([0], cells)):
        with pytest.raises(InvalidInput, match=f"^cells: .*from 0 to {world.manifest.cells - 1}"):
            await world.node.search(asked)


async def test_refuses_vectors_of_another_dimension(world: World) -> None:
    cells = [np.array([0], dtype=np.int32)]
    with pytest.raises(InvalidInput, match="^vectors: '1x3'.* 1 vectors of dimension 8"):
        await world.node.search(cell_query(NAME, 1, clustered(1, 3), cells, 5))


async def test_a_version_that_there_is_not_is_not_found(world: World) -> None:
    with pytest.raises(NotFound, match="words/v9"):
        await world.node.search(query([0], version=9))
    for call in (world.node.prefetch(NAME, 9, [], 1), world.node.fetch(NAME, 9, 0, [])):
        with pytest.raises(NotFound, match="words/v9"):
            await call


async def test_cells_of_chunks_that_fail_are_told_with_the_reason(world: World) -> None:
    await world.node.search(query([0]))
    world.blobs.control.failures["get"] = Unavailable("the store is down")
    last = world.manifest.cells - 1
    answer = await world.node.search(query([0, last], [last]))
    assert answer.failed == [last]
    assert "the store is down" in answer.reason
    assert [len(hits.rows) > 0 for hits in answer.hits] == [True, False]


async def test_cells_of_chunks_that_are_gone_are_told(world: World) -> None:
    await world.blobs.delete(world.manifest.chunk_key(0))
    answer = await world.node.search(query([0]))
    assert answer.failed == [0]
    assert "was deleted" in answer.reason


async def test_a_corrupt_chunk_is_told(world: World) -> None:
    key = world.manifest.chunk_key(0)
    await world.blobs.put(key, (await world.blobs.get(key)).data[:-20])
    answer = await world.node.search(query([0]))
    assert answer.failed == [0]
    assert key in answer.reason


async def test_a_flipped_bit_is_told_and_the_chunk_is_read_again(world: World) -> None:
    """One in the middle of the vectors: the file still decodes, and only the checksum tells."""
    key = world.manifest.chunk_key(0)
    written = (await world.blobs.get(key)).data
    for at in range(len(written) // 2, len(written) // 2 + 8):
        damaged = bytearray(written)
        damaged[at] ^= 1
        await world.blobs.put(key, bytes(damaged))
        answer = await world.node.search(query([0]))
        assert (answer.failed, answer.hits[0].rows) == ([0], [])
        assert f"{key}' is damaged" in answer.reason
    assert world.cache.layer_stats()[-1].corrupt == 8
    await world.blobs.put(key, written)
    answer = await world.node.search(query([0]))
    assert (answer.failed, len(answer.hits[0].rows)) == ([], 5)


async def test_a_cached_chunk_that_contradicts_its_manifest_is_loaded_again(world: World) -> None:
    first = await world.node.search(query([0]))
    wrong = await world.cache.get(world.manifest.chunk_key(1))
    assert wrong is not None
    for layer in world.cache._uppers:
        await layer.put(world.manifest.chunk_key(0), wrong)
    reads = world.blobs.control.calls["get"]
    again = await world.node.search(query([0]))
    assert (again.failed, again.hits) == ([], first.hits)
    assert world.blobs.control.calls["get"] == reads + 1
    assert world.cache.layer_stats()[-1].corrupt == 1


async def test_a_blob_that_contradicts_its_manifest_counts_as_missing(world: World) -> None:
    version = await world.node._versions.open(NAME, 1)
    version._shapes[0] = (1, 1)
    reads, last = world.blobs.control.calls["get"], world.manifest.cells - 1
    answer = await world.node.search(query([0, last], [last]))
    assert answer.failed == [0]
    assert f"{world.manifest.chunk_key(0)}' contradicts its manifest: vectors" in answer.reason
    assert [len(hits.rows) > 0 for hits in answer.hits] == [True, True]
    assert world.blobs.control.calls["get"] == reads + 3  # two of the broken one, one of the other
    again = await world.node.search(query([0, last], [last]))
    assert (again.failed, again.reason) == (answer.failed, answer.reason)
    assert world.blobs.control.calls["get"] == reads + 3  # blobs are immutable: it stays broken


async def test_a_good_copy_is_not_discarded_for_a_damaged_one(world: World) -> None:
    key = world.manifest.chunk_key(0)
    good = await world.cache.get(key)
    wrong = await world.cache.get(world.manifest.chunk_key(1))
    assert good is not None
    assert wrong is not None
    await world.cache.discard(key, wrong)
    assert world.cache.get_cached([key]) == {key: good}
    await world.cache.discard(key, good)
    assert world.cache.get_cached([key]) == {}


async def test_prefetch_fills_the_cache(world: World) -> None:
    assert await world.node.prefetch(NAME, 1, [0, 2], timeout=5) == 2
    before = world.blobs.control.calls["get"]
    assert await world.node.prefetch(NAME, 1, [0, 2], timeout=5) == 2
    assert await world.node.prefetch(NAME, 1, [], timeout=5) == 0
    assert await world.node.prefetch(NAME, 1, [0, 2, 0], timeout=5) == 2
    assert world.blobs.control.calls["get"] == before
    world.blobs.control.failures["get"] = Unavailable("down")
    assert await world.node.prefetch(NAME, 1, [0, 1], timeout=5) == 1


async def test_fetches_vectors_by_their_place(world: World) -> None:
    first, again = await world.node.fetch(NAME, 1, 1, [3, 3])
    row = IDS.index(str(first.id))
    assert first.vector.tolist() == again.vector.tolist() == VECTORS[row].tolist()
    assert first.payload == {"row": row}
    assert await world.node.fetch(NAME, 1, 1, []) == []


async def test_refuses_places_that_there_are_not(world: World) -> None:
    chunks = len(world.manifest.chunks)
    for number in (-1, chunks):
        with pytest.raises(InvalidInput, match=f"^chunk: {number} .*0 to {chunks - 1}"):
            await world.node.fetch(NAME, 1, number, [0])
        with pytest.raises(InvalidInput, match=f"^chunks: {number} "):
            await world.node.prefetch(NAME, 1, [number], timeout=1)
    for position in (-1, 10**6):
        with pytest.raises(InvalidInput, match="^positions: "):
            await world.node.fetch(NAME, 1, 0, [0, position])
    await world.blobs.delete(world.manifest.chunk_key(1))
    with pytest.raises(NotFound, match=f"chunk '{world.manifest.chunk_key(1)}'"):
        await world.node.fetch(NAME, 1, 1, [0])


async def test_an_exact_search_measures_what_is_mapped_in_the_executor() -> None:
    blobs = MemoryBlobStore()
    await build(blobs, clustered(800, 40), codes="2")
    codec, key = ChunkCodec(), (await Catalog(blobs).manifest(NAME)).chunk_key(0)
    mapped = codec.map(key, memoryview((await blobs.get(key)).data))
    cache = storage(blobs)
    await cache.open()
    await cache._uppers[0].put(key, mapped)
    query = cell_query(NAME, 1, clustered(1, 40), [np.array([0], dtype=np.int32)], 5)
    exact_query = cell_query(NAME, 1, query.vectors, query.cells, 5, exact=True)
    with ThreadPoolExecutor(1, "scan") as executor:
        searcher = LocalNode("node-7", Versions(blobs), cache, offload=Offload(executor, inline_work=0))
        await searcher.search(query)
        assert mapped.terms is None or type(best_scan()) is NumpyScan
        exact = await searcher.search(exact_query)
        assert mapped.terms is not None
    whole = codec.decode(key, (await blobs.get(key)).data)
    (found,) = NumpyScan().scan(query.vectors, query.cells, make_table([whole]), 5)
    assert exact.hits[0].rows == found.rows.tolist()
    await cache.close()


async def test_has_a_name_and_a_cache(world: World) -> None:
    assert world.node.name == "node-7"
    await world.node.prefetch(NAME, 1, [0, 1], timeout=5)
    assert world.node.chunks.layer_stats()[0].items == 2


async def test_closes_its_cache_once(world: World) -> None:
    await world.node.search(query([0]))
    await world.node.close()
    await world.node.close()
