from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from tests.support.core.collections import assert_answers, build, clustered, storage, table_of
from tests.support.core.vector_search_contract import random_vectors

from vectorcache.errors import InvalidInput
from vectorcache.index.chunk import Chunk
from vectorcache.index.coarse import CoarseQuantizer, load_coarse
from vectorcache.index.versions import Versions
from vectorcache.layers.nlayer import NLayerCache
from vectorcache.routing.ring import HashRing
from vectorcache.routing.router import RingRouter, Router
from vectorcache.stores.memory import MemoryBlobStore

VECTORS = clustered(1000)
QUERIES = clustered(3, seed=3)
ALL = 10**6


class Caches:
    """Makes caches, and keeps them by the order of their making."""

    def __init__(self, blobs: MemoryBlobStore) -> None:
        self._blobs = blobs
        self.made: list[tuple[str, NLayerCache[Chunk]]] = []

    def __call__(self, name: str) -> NLayerCache[Chunk]:
        cache = storage(self._blobs)
        self.made.append((name, cache))
        return cache


@pytest.fixture
async def blobs() -> MemoryBlobStore:
    store = MemoryBlobStore()
    await build(store, table_of(VECTORS, range(1000)), cells_per_chunk=1)
    return store


@pytest.fixture
async def coarse(blobs: MemoryBlobStore) -> CoarseQuantizer:
    return await load_coarse(blobs, (await Versions(blobs).open("words", 1)).manifest)


@pytest.fixture
def caches(blobs: MemoryBlobStore) -> Caches:
    return Caches(blobs)


@pytest.fixture
async def router(blobs: MemoryBlobStore, caches: Caches) -> AsyncIterator[RingRouter]:
    async with RingRouter(caches, Versions(blobs), real_nodes=3) as made:
        yield made


async def check(router: RingRouter, coarse: CoarseQuantizer) -> None:
    answers = await router.search(coarse, QUERIES, 10, nprobe=ALL)
    assert_answers(answers, VECTORS, range(1000), QUERIES, "euclidean", 10)


async def test_has_ten_nodes_and_ten_thousand_slots_by_default(
    blobs: MemoryBlobStore, caches: Caches
) -> None:
    router: Router = RingRouter(caches, Versions(blobs))
    assert router.get_number_of_real_nodes() == 10
    assert isinstance(router, RingRouter)
    assert router.ring == HashRing([f"node-{number}" for number in range(10)], 10_000, 1)
    assert [name for name, _ in caches.made] == [f"node-{number}" for number in range(10)]
    assert len({id(cache) for _, cache in caches.made}) == 10


@pytest.mark.parametrize("real_nodes", [0, -1, True, 1.5])
async def test_refuses_another_number_of_nodes(
    blobs: MemoryBlobStore, caches: Caches, real_nodes: int
) -> None:
    with pytest.raises(InvalidInput, match="^real_nodes: "):
        RingRouter(caches, Versions(blobs), real_nodes=real_nodes)


async def test_leads_the_bytes_of_a_centroid_to_the_owner_on_the_ring(router: RingRouter) -> None:
    for centroid in random_vectors(50, 512):
        key = centroid.tobytes()
        assert router.get_search(key).name == router.ring.owner(key)
        assert router.get_search(key) is router.get_search(key)
    assert router.get_search("words/v1/chunks/000000.arrow").name == router.ring.owner(
        "words/v1/chunks/000000.arrow"
    )


async def test_keys_move_to_the_new_node_only(router: RingRouter) -> None:
    keys = [centroid.tobytes() for centroid in random_vectors(300, 8)]
    before = {key: router.get_search(key) for key in keys}
    await router.increase_real_nodes_count()
    moved = [key for key in keys if router.get_search(key) is not before[key]]
    assert 0 < len(moved) < 150
    assert sum(router.get_search(key).name != "node-3" for key in moved) <= 3
    await router.decrease_real_nodes_count()
    assert [router.get_search(key) for key in keys] == [before[key] for key in keys]


async def test_resizing_keeps_the_caches_of_the_nodes_that_stay(
    router: RingRouter, caches: Caches, coarse: CoarseQuantizer
) -> None:
    await check(router, coarse)
    kept = list(caches.made)
    held = [cache.layer_stats()[0].items for _, cache in kept]
    assert sum(count or 0 for count in held) == len(coarse.manifest.chunks)
    await router.increase_real_nodes_count(2)
    assert router.get_number_of_real_nodes() == 5
    assert caches.made[:3] == kept
    assert [name for name, _ in caches.made[3:]] == ["node-3", "node-4"]
    assert [cache.layer_stats()[0].items for _, cache in kept] == held
    await check(router, coarse)
    await router.decrease_real_nodes_count(3)
    assert router.get_number_of_real_nodes() == 2
    assert router.ring.nodes == ("node-0", "node-1")
    assert len(caches.made) == 5
    await check(router, coarse)
    await router.increase_real_nodes_count()  # the name is new again, and so is its cache
    assert [name for name, _ in caches.made[5:]] == ["node-2"]
    await check(router, coarse)


async def test_the_last_node_cannot_be_removed(router: RingRouter, coarse: CoarseQuantizer) -> None:
    for by in (3, 4, 100):
        with pytest.raises(InvalidInput, match=f"^by: {by} .*the last node cannot be removed"):
            await router.decrease_real_nodes_count(by)
    assert router.get_number_of_real_nodes() == 3
    await router.decrease_real_nodes_count(2)
    await check(router, coarse)
    with pytest.raises(InvalidInput, match="^by: "):
        await router.decrease_real_nodes_count()


@pytest.mark.parametrize("by", [0, -1, True, 1.5])
async def test_refuses_a_step_that_is_no_whole_number(router: RingRouter, by: int) -> None:
    for step in (router.increase_real_nodes_count, router.decrease_real_nodes_count):
        with pytest.raises(InvalidInput, match="^by: "):
            await step(by)


@pytest.mark.parametrize("replication", [1, 2])
async def test_searches_go_on_while_nodes_come_and_go(
    blobs: MemoryBlobStore, caches: Caches, coarse: CoarseQuantizer, replication: int
) -> None:
    async with RingRouter(caches, Versions(blobs), real_nodes=2, replication=replication) as router:
        done = asyncio.Event()

        async def keep_searching() -> int:
            count = 0
            while not done.is_set():
                await check(router, coarse)
                count += 1
                await asyncio.sleep(0)
            return count

        searchers = [asyncio.create_task(keep_searching()) for _ in range(4)]
        for by in (1, 3, -2, -3, 4, -4):
            await asyncio.sleep(0)
            if by > 0:
                await router.increase_real_nodes_count(by)
            else:
                await router.decrease_real_nodes_count(-by)
        done.set()
        counts = await asyncio.gather(*searchers)
        assert min(counts) >= 1
        assert router.get_number_of_real_nodes() == 1


async def test_probes_what_the_build_measured_by_default(router: RingRouter, coarse: CoarseQuantizer) -> None:
    (default,) = await router.search(coarse, QUERIES[:1])
    (measured,) = await router.search(coarse, QUERIES[0], nprobe=coarse.manifest.search.nprobe)
    assert default == measured


async def test_payload_is_returned_where_it_is_asked_for(router: RingRouter, coarse: CoarseQuantizer) -> None:
    (answer,) = await router.search(coarse, VECTORS[5], 2, payload=True, nprobe=ALL)
    assert answer.ids[0] == 5
    assert answer.payload == [{"row": row} for row in answer.ids]


@pytest.mark.parametrize(
    ("queries", "arguments", "message"),
    [
        (np.zeros(7), {}, "^query: .*dimension 7"),
        ([[float("inf")] * 8], {}, r"^query\[0\]\[0\]: inf"),
        (np.zeros(8), {"k": 0}, "^k: 0"),
        (np.zeros(8), {"nprobe": 0}, "^nprobe: 0"),
    ],
)
async def test_refuses_what_it_cannot_search(
    router: RingRouter, coarse: CoarseQuantizer, queries: np.ndarray, arguments: dict[str, int], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        await router.search(coarse, queries, **arguments)
