from __future__ import annotations

from vectorcache.routing.ring import HashRing
from vectorcache_operator.ring import MAX_SCORES, RingShares
from vectorcache_operator.spec import Ring

NODES = ["products-node-1", "products-node-0", "products-node-2"]


async def test_the_ring_equals_that_of_the_routers() -> None:
    ring = HashRing(NODES, 10_000, 2)
    found = await RingShares().of(NODES, Ring())
    assert found["version"] == ring.version
    assert {one["name"]: one["slots"] for one in found["nodes"]} == ring.slot_counts()
    assert (found["virtualNodes"], found["replication"]) == (10_000, 2)
    assert sum(one["slots"] for one in found["nodes"]) == 10_000


async def test_without_nodes_there_is_no_ring() -> None:
    assert await RingShares().of([], Ring()) == {"virtualNodes": 10_000, "replication": 2}


async def test_a_ring_that_takes_too_much_memory_is_not_computed() -> None:
    names = [f"node-{number}" for number in range(MAX_SCORES // 10_000 + 1)]
    assert "nodes" not in await RingShares().of(names, Ring())


async def test_the_latest_rings_are_cached() -> None:
    shares = RingShares(max_entries=2)
    first = await shares.of(NODES[:1], Ring(virtual_nodes=10))
    assert await shares.of(NODES[:1], Ring(virtual_nodes=10)) is first
    for count in (2, 3):
        await shares.of(NODES[:count], Ring(virtual_nodes=10))
    assert await shares.of(NODES[:1], Ring(virtual_nodes=10)) is not first
