from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
import pytest
from tests.support.core.collections import NAME, assert_answers, build, clustered, storage
from tests.support.core.control import Gate
from tests.support.core.fake_nodes import FakeClock, FakeNode
from tests.support.core.queries import search_options
from tests.support.core.vector_search_contract import METRICS
from tests.support.waiting import until

from vectorcache.errors import CorruptData, InvalidInput, NotFound, Overloaded, Unavailable
from vectorcache.index.catalog import Catalog
from vectorcache.index.coarse import CoarseQuantizer, load_coarse
from vectorcache.index.node import LocalNode
from vectorcache.index.query import Answer
from vectorcache.index.versions import Versions
from vectorcache.routing.health import NodeHealth
from vectorcache.routing.load import NodeLoads
from vectorcache.routing.placement import shard_key
from vectorcache.routing.ring import HashRing
from vectorcache.routing.scatter import ScatterSearch
from vectorcache.stores.memory import MemoryBlobStore

VECTORS = clustered(1000)
QUERIES = clustered(5, seed=3)
ALL = 10**6
FOREVER = 60.0


@dataclass
class World:
    blobs: MemoryBlobStore
    coarse: CoarseQuantizer
    nodes: dict[str, FakeNode]
    ring: HashRing
    clock: FakeClock
    health: NodeHealth
    loads: NodeLoads

    def scatter(self, hedge_after: float = FOREVER) -> ScatterSearch:
        return ScatterSearch(
            self.ring,
            self.nodes,
            shard_bytes=1,  # each chunk has its own place on the ring
            health=self.health,
            loads=self.loads,
            hedge_after=hedge_after,
            clock=self.clock,
        )

    async def search(
        self, nprobe: int = ALL, *, hedge_after: float = FOREVER, payload: bool = False
    ) -> list[Answer]:
        return await self.scatter(hedge_after).search(
            self.coarse, QUERIES, search_options(10, nprobe, FOREVER, payload=payload, exact=nprobe >= ALL)
        )

    def check(self, answers: list[Answer], metric: str = "euclidean") -> None:
        assert_answers(answers, VECTORS, range(1000), QUERIES, metric, 10)

    def owner(self, chunk: int) -> str:
        return self.ring.owner(shard_key(NAME, chunk))

    def forget(self) -> None:
        for node in self.nodes.values():
            node.queries.clear()


@asynccontextmanager
async def world_of(count: int, *, replication: int = 1, metric: str = "euclidean") -> AsyncIterator[World]:
    blobs = MemoryBlobStore()
    manifest = (await build(blobs, VECTORS, metric=metric, cells_per_chunk=1)).manifest
    names = [f"node-{number}" for number in range(count)]
    versions = Versions(blobs)
    nodes = {name: FakeNode(LocalNode(name, versions, storage(blobs))) for name in names}
    clock = FakeClock()
    yield World(
        blobs,
        await load_coarse(blobs, manifest),
        nodes,
        HashRing(names, 100, replication),
        clock,
        NodeHealth(clock, cooldown=1.0),
        NodeLoads(clock),
    )
    for node in nodes.values():
        await node.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with world_of(3) as made:
        yield made


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("metric", METRICS)
async def test_all_cells_equal_brute_force(count: int, metric: str) -> None:
    async with world_of(count, metric=metric) as world:
        for _ in ("cold", "warm"):
            world.check(await world.search(), metric)


async def test_each_chunk_is_asked_of_its_owner_and_each_node_once(world: World) -> None:
    await world.search()
    for name, node in world.nodes.items():
        (query,) = node.queries
        assert (query.collection, query.version, query.options.k) == (NAME, 1, 10)
        for cells in query.cells:
            assert {world.owner(int(world.coarse.chunk_of_cell[cell])) for cell in cells} == {name}
    asked = sorted(cell for node in world.nodes.values() for cell in node.cells)
    assert asked == sorted(list(range(world.coarse.manifest.cells)) * len(QUERIES))


async def test_only_the_nodes_that_are_needed_are_asked(world: World) -> None:
    answers = await world.scatter().search(world.coarse, QUERIES[:1], search_options(10, 1, FOREVER))
    assert sum(len(node.queries) for node in world.nodes.values()) == 1
    assert answers[0].searched == 1.0


async def test_payload_is_handed_on(world: World) -> None:
    await world.search(payload=True)
    assert all(query.options.payload for node in world.nodes.values() for query in node.queries)


async def test_exact_is_handed_on(world: World) -> None:
    for exact in (False, True):
        for node in world.nodes.values():
            node.queries.clear()
        await world.scatter().search(world.coarse, QUERIES, search_options(10, 3, FOREVER, exact=exact))
        assert {query.options.exact for node in world.nodes.values() for query in node.queries} == {exact}


async def test_no_queries_have_no_answers(world: World) -> None:
    world.health.failed("node-0")
    assert await world.scatter().search(world.coarse, QUERIES[:0], search_options(10, 3)) == []


@pytest.mark.parametrize("error", [Unavailable("down"), CorruptData("torn"), Overloaded("full")])
async def test_a_node_that_fails_is_replaced(world: World, error: Exception) -> None:
    world.nodes["node-1"].error = error
    world.check(await world.search())
    assert world.health.suspects() == {"node-1"}
    assert len(world.nodes["node-1"].queries) == 1


async def test_two_of_three_nodes_may_fail(world: World) -> None:
    for name in ("node-0", "node-2"):
        world.nodes[name].error = Unavailable("down")
    world.check(await world.search())


async def test_a_suspect_is_asked_last(world: World) -> None:
    world.nodes["node-1"].error = Unavailable("down")
    await world.search()
    world.nodes["node-1"].error = None
    world.forget()
    world.check(await world.search())
    assert world.nodes["node-1"].queries == []
    world.clock.now += 1.5
    world.check(await world.search())
    assert len(world.nodes["node-1"].queries) == 1
    assert world.health.suspects() == frozenset()


async def test_where_all_are_suspect_they_are_asked_all_the_same(world: World) -> None:
    for name in world.nodes:
        world.health.failed(name)
    world.check(await world.search())
    assert world.health.suspects() == frozenset()


async def test_where_all_fail_it_is_unavailable() -> None:
    async with world_of(5) as world:
        for node in world.nodes.values():
            node.error = Unavailable("down")
        with pytest.raises(Unavailable, match="no node could search any cell in time"):
            await world.search()
        for cell in range(world.coarse.manifest.cells):
            asked = sum(node.cells.count(cell) for node in world.nodes.values())
            assert asked == 3 * len(QUERIES)  # of three nodes, and no more


@pytest.mark.parametrize(
    "error",
    [NotFound("version", "words/v1"), InvalidInput("cells", 9, "others")],
    ids=["not found", "invalid"],
)
async def test_what_every_node_would_say_is_raised_as_it_is(world: World, error: Exception) -> None:
    world.nodes["node-1"].error = error
    with pytest.raises(type(error)) as raised:
        await world.search()
    assert raised.value is error
    assert world.health.suspects() == frozenset()


async def test_a_version_that_was_deleted_is_not_found(world: World) -> None:
    await build(world.blobs, VECTORS)
    await Catalog(world.blobs).delete_old(NAME, keep=1)
    with pytest.raises(NotFound, match="words/v1"):
        await world.search()


async def test_cells_that_a_node_could_not_load_are_asked_of_others(world: World) -> None:
    cells = range(world.coarse.manifest.cells)
    owned = {cell: world.owner(int(world.coarse.chunk_of_cell[cell])) for cell in cells}
    lost = [cell for cell in cells if owned[cell] == "node-0"][:2]
    world.nodes["node-0"].lost = set(lost)
    world.check(await world.search())
    elsewhere = [cell for name in ("node-1", "node-2") for cell in world.nodes[name].cells]
    assert all(elsewhere.count(cell) == len(QUERIES) for cell in lost)
    assert len(elsewhere) == len(QUERIES) * sum(owned[cell] != "node-0" or cell in lost for cell in cells)
    assert world.health.suspects() == frozenset()


async def test_what_no_node_could_load_is_told(world: World) -> None:
    for node in world.nodes.values():
        node.lost = {0, 3}
    answers = await world.search()
    cells = world.coarse.manifest.cells
    for answer in answers:
        assert answer.partial
        assert answer.searched == pytest.approx(1 - 2 / cells)
        assert len(answer.ids) == 10


async def test_a_query_of_which_nothing_was_searched_is_told_beside_others(world: World) -> None:
    own = world.coarse.probe(QUERIES[:1], 1)[0].tolist()
    far = next(query for query in VECTORS if world.coarse.probe(query[None], 1)[0].tolist() != own)
    for node in world.nodes.values():
        node.lost = set(own)
    both = np.stack([QUERIES[0], far])
    nothing, something = await world.scatter().search(world.coarse, both, search_options(5, 1, FOREVER))
    assert (nothing.searched, nothing.ids) == (0.0, [])
    assert (something.searched, len(something.ids)) == (1.0, 5)


async def test_a_late_node_is_replaced(world: World) -> None:
    late = world.nodes["node-1"]
    late.gate = Gate(None)
    world.check(await world.search(hedge_after=0.01))
    await until(lambda: late.cancelled == 1)
    assert world.health.suspects() == {"node-1"}


async def test_a_late_node_that_answers_first_is_taken(world: World) -> None:
    late, others = world.nodes["node-1"], [world.nodes["node-0"], world.nodes["node-2"]]
    late.gate = Gate(None)
    search = asyncio.create_task(world.search(hedge_after=0.01))
    await until(lambda: all(node.queries for node in world.nodes.values()))
    for node in others:
        node.gate = Gate(None)  # those that are asked in its place wait
    await until(lambda: sum(len(node.queries) for node in others) > 2)
    late.gate.open()
    world.check(await search)
    await until(lambda: sum(node.cancelled for node in others) >= 1)
    assert "node-1" not in world.health.suspects()


async def test_a_late_node_that_fails_leaves_it_to_the_others(world: World) -> None:
    late, others = world.nodes["node-1"], [world.nodes["node-0"], world.nodes["node-2"]]
    late.gate, late.error = Gate(None), Unavailable("down")
    search = asyncio.create_task(world.search(hedge_after=0.01))
    await until(lambda: all(node.queries for node in world.nodes.values()))
    for node in others:
        node.gate = Gate(None)
    await until(lambda: sum(len(node.queries) for node in others) > 2)
    late.gate.open()
    for node in others:
        node.gate.open()
    world.check(await search)


async def test_a_node_that_answered_is_not_suspected_while_others_are_asked_for_what_it_lacks(
    world: World,
) -> None:
    first, others = world.nodes["node-1"], [world.nodes["node-0"], world.nodes["node-2"]]
    first.lost = {next(cell for cell in range(world.coarse.manifest.cells) if world.owner(cell) == "node-1")}
    for node in others:
        node.gate = Gate(None)
    search = asyncio.create_task(world.search(hedge_after=0.01))
    await until(lambda: {"node-0", "node-2"} <= world.health.suspects())
    assert world.health.suspects() == {"node-0", "node-2"}
    for node in others:
        node.gate.open()
    world.check(await search)


async def test_nobody_waits_longer_than_the_timeout() -> None:
    """With a real clock, since the deadline is its business."""
    async with world_of(3) as world:
        slow = world.nodes["node-1"]
        slow.gate = Gate(None)
        scatter = ScatterSearch(world.ring, world.nodes, shard_bytes=1, hedge_after=FOREVER)
        answers = await scatter.search(world.coarse, QUERIES, search_options(10, nprobe=ALL, timeout=0.2))
        assert all(0 < answer.searched < 1 for answer in answers)
        for node in world.nodes.values():
            node.gate = Gate(None)
        with pytest.raises(Unavailable, match="in time"):
            await scatter.search(world.coarse, QUERIES, search_options(10, nprobe=ALL, timeout=0.05))


async def test_a_node_is_told_to_answer_before_its_caller_gives_up(world: World) -> None:
    await world.search()
    assert {query.options.timeout for node in world.nodes.values() for query in node.queries} == {
        0.9 * FOREVER
    }


async def test_a_search_that_is_cancelled_stops_its_nodes(world: World) -> None:
    for node in world.nodes.values():
        node.gate = Gate(None)
    search = asyncio.create_task(world.search())
    await until(lambda: all(node.queries for node in world.nodes.values()))
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search
    await until(lambda: all(node.cancelled == 1 for node in world.nodes.values()))


@pytest.mark.parametrize("replication", [1, 2, 3])
async def test_replicas_take_turns(replication: int) -> None:
    async with world_of(4, replication=replication) as world:
        scatter = world.scatter()
        asked: dict[int, set[str]] = {cell: set() for cell in range(world.coarse.manifest.cells)}
        for _ in range(2 * replication):
            world.check(
                await scatter.search(world.coarse, QUERIES, search_options(10, nprobe=ALL, timeout=FOREVER))
            )
        for name, node in world.nodes.items():
            for cell in set(node.cells):
                asked[cell].add(name)
        for cell, names in asked.items():
            key = shard_key(NAME, int(world.coarse.chunk_of_cell[cell]))
            assert names == set(world.ring.owners(key))


# Load


async def test_a_collection_of_one_shard_is_searched_by_one_node_at_rest_and_by_all_under_load(
    world: World,
) -> None:
    scatter = ScatterSearch(world.ring, world.nodes, loads=world.loads, clock=world.clock)

    async def search() -> None:
        answers = await scatter.search(
            world.coarse, QUERIES[:1], search_options(10, nprobe=5, timeout=FOREVER)
        )
        assert answers[0].searched == 1.0

    for _ in range(10):
        await search()
    first = world.ring.preference(shard_key(NAME, 0))[0]
    assert {name for name, node in world.nodes.items() if node.queries} == {first}
    world.forget()
    gates = [Gate(None) for _ in world.nodes]
    for node, gate in zip(world.nodes.values(), gates, strict=True):
        node.gate = gate
    searches = [asyncio.create_task(search()) for _ in range(30)]
    await until(lambda: sum(len(node.queries) for node in world.nodes.values()) == 30)
    assert max(len(node.queries) for node in world.nodes.values()) <= 1.25 * 31 / 3
    for gate in gates:
        gate.open()
    await asyncio.gather(*searches)
    assert world.loads.now() == {}


async def test_a_node_that_says_it_is_busy_is_spared(world: World) -> None:
    scatter = ScatterSearch(world.ring, world.nodes, loads=world.loads, clock=world.clock)
    first, second, _ = world.ring.preference(shard_key(NAME, 0))
    world.nodes[first].load = 1000
    for _ in range(2):
        await scatter.search(world.coarse, QUERIES[:1], search_options(10, nprobe=5, timeout=FOREVER))
    assert [len(world.nodes[name].queries) for name in (first, second)] == [1, 1]
    world.nodes[first].load = 0
    world.clock.now += 10
    await scatter.search(world.coarse, QUERIES[:1], search_options(10, nprobe=5, timeout=FOREVER))
    assert [len(world.nodes[name].queries) for name in (first, second)] == [2, 1]


async def test_a_node_is_not_loaded_with_what_failed_or_was_given_up(world: World) -> None:
    world.nodes["node-0"].error = Unavailable("down")
    world.nodes["node-1"].lost = {0, 1, 2}
    world.check(await world.search())
    assert world.loads.now() == {}
    world.forget()
    world.nodes["node-2"].gate = Gate(None)
    search = asyncio.create_task(world.search())
    await until(lambda: bool(world.nodes["node-2"].queries))
    assert "node-2" in world.loads.now()
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search
    await until(lambda: not world.loads.now())


async def test_a_node_that_failed_is_not_loaded_while_others_do_its_work(world: World) -> None:
    world.nodes["node-0"].error = Unavailable("down")
    for name in ("node-1", "node-2"):
        world.nodes[name].gate = Gate(None)
    search = asyncio.create_task(world.search())
    await until(lambda: bool(world.nodes["node-0"].queries) and "node-0" not in world.loads.now())
    cells = sum(map(len, (world.coarse.probe(QUERIES, ALL))))
    assert sum(world.loads.now().values()) == cells
    for name in ("node-1", "node-2"):
        gate = world.nodes[name].gate
        assert gate is not None
        gate.open()
    world.check(await search)
    assert world.loads.now() == {}
