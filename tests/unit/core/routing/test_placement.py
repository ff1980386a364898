"""Placement by itself: shards, and a model of nodes under load that counts who is asked."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.core.collections import build, clustered

from vectorcache.index.coarse import CoarseQuantizer, load_coarse
from vectorcache.index.manifest import Manifest
from vectorcache.routing.load import NodeLoads
from vectorcache.routing.placement import SLACK, Placement, shards_of
from vectorcache.routing.ring import HashRing
from vectorcache.stores.memory import MemoryBlobStore

QUERIES = clustered(300, seed=3)
NPROBE = 8


@pytest.fixture(scope="module")
def manifest(coarse: CoarseQuantizer) -> Manifest:
    return coarse.manifest


@pytest.fixture(scope="module")
def coarse() -> CoarseQuantizer:
    async def built() -> CoarseQuantizer:
        blobs = MemoryBlobStore()
        built = await build(blobs, clustered(4000), cells=120, cells_per_chunk=2)
        return await load_coarse(blobs, built.manifest)

    return asyncio.run(built())


def ring_of(count: int, replication: int = 1) -> HashRing:
    return HashRing([f"node-{number}" for number in range(count)], 1000, replication)


def named(manifest: Manifest, count: int) -> list[Manifest]:
    """The same collection under many names."""
    return [msgspec.structs.replace(manifest, collection=f"words-{number}") for number in range(count)]


def size_of(manifest: Manifest) -> int:
    return sum(chunk.bytes for chunk in manifest.chunks)


def probed(manifest: Manifest, generator: np.random.Generator) -> NDArray[np.int32]:
    """Neighbouring cells, as a query probes them."""
    first = int(generator.integers(manifest.cells - NPROBE))
    return np.arange(first, first + NPROBE, dtype=np.int32)


@dataclass
class Nodes:
    """Nodes that are called by some routers. The number of queries in flight is constant.

    Attributes:
        routers: the placement of each router, and the loads that it knows.
        cells_in_flight: number of cells in flight by node.
        asked: number of queries by node, since the number in flight became constant.
    """

    ring: HashRing
    shard_bytes: int = 1 << 40
    count: int = 1
    routers: list[tuple[Placement, NodeLoads]] = field(init=False)
    cells_in_flight: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        loads = [NodeLoads(lambda: 0.0) for _ in range(self.count)]
        self.routers = [(Placement(self.ring, self.shard_bytes, one), one) for one in loads]

    def run(self, queries: list[Manifest], concurrency: int, seed: int = 0) -> None:
        """One query after the other, each by a router; the oldest is done when there are too many."""
        generator = np.random.default_rng(seed)
        in_flight: deque[tuple[NodeLoads, Counter[str]]] = deque()
        for number, manifest in enumerate(queries):
            placement, loads = self.routers[generator.integers(self.count)]
            nodes = placement.nodes_for(manifest, [probed(manifest, generator)])
            assert nodes is not None
            asked = Counter(self.ring.nodes[node] for node in nodes.tolist())
            for name, cells in asked.items():
                loads.asked(name, cells)
                self.cells_in_flight[name] += cells
            in_flight.append((loads, asked))
            if number >= concurrency:
                self.asked.update(asked.keys())
            if len(in_flight) >= concurrency:
                self._done(*in_flight.popleft())
        for one in in_flight:
            self._done(*one)

    def _done(self, loads: NodeLoads, asked: Counter[str]) -> None:
        for name, cells in asked.items():
            self.cells_in_flight[name] -= cells
            loads.done(name, cells)
            loads.reported(name, self.cells_in_flight[name])

    def spread(self) -> float:
        """The most queries that a node got, relative to the mean."""
        return max(self.asked.values()) / (self.asked.total() / len(self.ring.nodes))


# Shards


def test_a_collection_that_is_not_larger_than_a_shard_is_one(manifest: Manifest) -> None:
    shards = shards_of(manifest, size_of(manifest))
    assert shards.keys == ["words/0"]
    assert shards.of_chunk.tolist() == [0] * len(manifest.chunks)


@pytest.mark.parametrize("count", [2, 3, 7, 20])
def test_shards_are_runs_of_chunks_of_even_size(manifest: Manifest, count: int) -> None:
    shards = shards_of(manifest, -(-size_of(manifest) // count))
    assert len(shards.keys) == count
    assert np.diff(shards.of_chunk).min() >= 0
    assert set(shards.of_chunk) == set(range(count))
    assert shards.keys == [f"words/{shard}" for shard in range(count)]
    sizes = np.bincount(shards.of_chunk, [chunk.bytes for chunk in manifest.chunks])
    largest = max(chunk.bytes for chunk in manifest.chunks)
    assert np.ptp(sizes) <= 2 * largest


def test_chunks_that_are_larger_than_a_shard_have_one_each(manifest: Manifest) -> None:
    for shard_bytes in (1, min(chunk.bytes for chunk in manifest.chunks) // 2):
        shards = shards_of(manifest, shard_bytes)
        assert len(shards.keys) == len(manifest.chunks)
        assert shards.of_chunk.tolist() == list(range(len(manifest.chunks)))


@pytest.mark.parametrize(("nodes", "replication"), [(1, 1), (3, 1), (3, 2), (2, 5)])
def test_owners_are_the_rings(manifest: Manifest, nodes: int, replication: int) -> None:
    ring, shards = ring_of(nodes, replication), shards_of(manifest, 1)
    owners = shards.owners(ring)
    assert len(owners) == min(nodes, replication)
    for at, key in enumerate(shards.keys):
        assert tuple(ring.nodes[place[at]] for place in owners) == ring.owners(key)


# Fewest nodes


def nodes_per_query(coarse: CoarseQuantizer, nodes: int, shard_bytes: int) -> float:
    placement = Placement(ring_of(nodes), shard_bytes, NodeLoads())
    asked = [placement.nodes_for(coarse.manifest, [cells]) for cells in coarse.probe(QUERIES, NPROBE)]
    return float(np.mean([len(np.unique(one)) for one in asked if one is not None]))


@pytest.mark.parametrize("nodes", [3, 10, 50])
def test_a_query_of_one_shard_asks_one_node(coarse: CoarseQuantizer, nodes: int) -> None:
    assert nodes_per_query(coarse, nodes, size_of(coarse.manifest)) == 1


@pytest.mark.parametrize("nodes", [3, 10, 50])
def test_shards_need_fewer_nodes_than_chunks(coarse: CoarseQuantizer, nodes: int) -> None:
    by_chunk = nodes_per_query(coarse, nodes, 1)
    by_shard = nodes_per_query(coarse, nodes, size_of(coarse.manifest) // 12)
    assert by_shard < (0.95 if nodes == 3 else 0.8) * by_chunk


# Bounded loads


def zipf(manifests: list[Manifest], count: int) -> list[Manifest]:
    weights = 1 / np.arange(1, len(manifests) + 1)
    chosen = np.random.default_rng(1).choice(len(manifests), count, p=weights / weights.sum())
    return [manifests[one] for one in chosen.tolist()]


@pytest.mark.parametrize("routers", [1, 4])
@pytest.mark.parametrize("replication", [1, 2])
def test_collections_of_unequal_popularity_load_nodes_evenly(
    manifest: Manifest, routers: int, replication: int
) -> None:
    nodes = Nodes(ring_of(10, replication), count=routers)
    nodes.run(zipf(named(manifest, 50), 5000), 80)
    assert len(nodes.asked) == 10
    assert nodes.spread() <= 1.3


def test_without_bounds_they_would_not(manifest: Manifest) -> None:
    """What the test before compares with: the same queries at rest go to the first node in the order."""
    nodes = Nodes(ring_of(10))
    nodes.run(zipf(named(manifest, 50), 5000), 1)
    assert nodes.spread() > 2


@pytest.mark.parametrize(("concurrency", "asked"), [(1, 1), (SLACK, 1), (2 * SLACK, 2), (16 * SLACK, 4)])
def test_one_hot_collection_takes_as_many_nodes_as_it_needs(
    manifest: Manifest, concurrency: int, asked: int
) -> None:
    nodes = Nodes(ring_of(4))
    nodes.run([manifest] * 3000, concurrency)
    assert len(nodes.asked) == asked
    order = Placement(nodes.ring, 1 << 40, NodeLoads()).preference(manifest, 0)
    assert set(nodes.asked) == set(order[:asked])


@pytest.mark.parametrize("routers", [2, 8])
def test_routers_that_do_not_know_of_each_other_see_the_same_nodes_as_busy(
    manifest: Manifest, routers: int
) -> None:
    nodes = Nodes(ring_of(4), count=routers)
    nodes.run([manifest] * 3000, 64)
    assert len(nodes.asked) == 4
    assert nodes.spread() <= 1.5, "what a node said is a little old"


def test_queries_of_one_request_are_divided_whole(manifest: Manifest) -> None:
    placement, generator = Placement(ring_of(3), 1 << 40, NodeLoads()), np.random.default_rng(0)
    cells = [probed(manifest, generator) for _ in range(100)]
    nodes = placement.nodes_for(manifest, cells)
    assert nodes is not None
    by_query = nodes.reshape(100, NPROBE)
    assert (by_query == by_query[:, :1]).all()
    assert sorted(np.bincount(by_query[:, 0], minlength=3).tolist()) == [0, 50, 50], (
        "no third one has to load it"
    )


def asked_of(manifest: Manifest, loads: NodeLoads, count: int) -> str:
    """The node that gets one query of all cells."""
    ring = ring_of(count)
    nodes = Placement(ring, 1 << 40, loads).nodes_for(manifest, [np.arange(manifest.cells, dtype=np.int32)])
    assert nodes is not None
    (node,) = set(nodes.tolist())
    return ring.nodes[node]


def test_the_next_node_is_asked_where_the_first_is_beyond_the_bound(manifest: Manifest) -> None:
    loads = NodeLoads()
    first, second, third = Placement(ring_of(3), 1 << 40, loads).preference(manifest, 0)
    for name, queries in ((first, 40), (second, 20), (third, 25)):
        loads.asked(name, queries * manifest.cells)
    assert asked_of(manifest, loads, 3) == second, "the bound is 1.25 times 86 / 3"
    loads.asked(second, 19 * manifest.cells)
    loads.asked(third, 14 * manifest.cells)
    assert asked_of(manifest, loads, 3) == first, "all are within it"


def test_what_has_no_room_goes_to_the_node_that_is_loaded_least(manifest: Manifest) -> None:
    loads = NodeLoads()
    for number in range(10):
        loads.asked(f"node-{number}", int((3.15 if number == 7 else 3.2) * manifest.cells))
    assert asked_of(manifest, loads, 10) == "node-7", "one more would be 4.15 or 4.2; the bound is 4.12"


def test_loads_of_nodes_that_are_not_asked_do_not_count(manifest: Manifest) -> None:
    loads, ring = NodeLoads(), ring_of(3)
    placement = Placement(ring, 1 << 40, loads)
    first, second, third = placement.preference(manifest, 0)
    for name in (first, "gone"):
        loads.asked(name, 1000 * manifest.cells)
    loads.asked(second, 30 * manifest.cells)
    nodes = placement.nodes_for(
        manifest, [np.arange(manifest.cells, dtype=np.int32)], suspects=frozenset({first})
    )
    assert nodes is not None
    assert {ring.nodes[node] for node in nodes.tolist()} == {third}


# Nodes that are not to be asked


@pytest.mark.parametrize("shard_bytes", [1, 1 << 40])
def test_nodes_that_were_tried_or_failed_are_passed_over(manifest: Manifest, shard_bytes: int) -> None:
    ring = ring_of(4)
    placement, cells = Placement(ring, shard_bytes, NodeLoads()), [np.arange(manifest.cells, dtype=np.int32)]

    def asked(*tried: str, suspects: frozenset[str] = frozenset()) -> set[str] | None:
        nodes = placement.nodes_for(manifest, cells, tried=tried, suspects=suspects)
        return None if nodes is None else {ring.nodes[node] for node in nodes.tolist()}

    first, second, third, fourth = placement.preference(manifest, 0)
    assert first in (asked() or ())
    assert second in (asked(first) or ())
    assert first not in (asked(first) or ())
    assert third in (asked(first, suspects=frozenset({second})) or ())
    assert asked(first, third, fourth, suspects=frozenset({second})) == {second}, "rather than nobody"
    assert asked(first, second, third, fourth) is None
    assert asked("elsewhere", suspects=frozenset({"gone"})) == asked()


# The ring


def test_a_node_that_comes_moves_its_share_only(manifest: Manifest) -> None:
    before, after = ring_of(10), ring_of(11)
    collections = named(manifest, 500)

    def first(ring: HashRing) -> list[str]:
        placement = Placement(ring, 1 << 40, NodeLoads())
        return [placement.preference(one, 0)[0] for one in collections]

    moved = [new for old, new in zip(first(before), first(after), strict=True) if old != new]
    assert 0 < len(moved) < 1.4 * len(collections) / 11
    assert moved.count("node-10") >= 0.95 * len(moved)


def test_a_version_that_was_built_anew_under_its_number_is_placed_anew(manifest: Manifest) -> None:
    placement = Placement(ring_of(3), 1 << 40, NodeLoads())
    fewer = msgspec.structs.replace(manifest, chunks=manifest.chunks[:2])
    assert placement.preference(fewer, 1)
    last = [np.array([manifest.cells - 1], dtype=np.int32)]
    assert placement.nodes_for(manifest, last) is not None
    assert placement.preference(manifest, len(manifest.chunks) - 1)
