from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import mmh3
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vectorcache.errors import InvalidInput, NotFound
from vectorcache.routing.ring import LOAD_CAP, HashRing

names = st.lists(st.text("abcxyz-019", min_size=1, max_size=8), min_size=1, max_size=8, unique=True)


def pods(count: int, prefix: str = "products-node") -> list[str]:
    return [f"{prefix}-{index}" for index in range(count)]


def random_centroids(random: np.random.Generator) -> list[bytes]:
    return [row.tobytes() for row in random.uniform(-1, 1, (100, 512)).astype(np.float32)]


def count_moved(before: HashRing, after: HashRing, keys: list[bytes]) -> int:
    return sum(before.owner(key) != after.owner(key) for key in keys)


def owner_names(ring: HashRing) -> NDArray[np.str_]:
    return np.array(ring.nodes)[ring.owner_table]


# Resizing, as the centroids of a collection see it


def test_a_new_node_takes_its_share_of_100_centroids_and_few_others_move() -> None:
    centroids = random_centroids(np.random.default_rng(7))
    ten = HashRing(pods(10))
    eleven = ten.with_node("products-node-10")
    assert count_moved(ten, eleven, centroids) < 15
    assert sum(eleven.owner(key) == "products-node-10" for key in centroids) > 100 / (2 * 11)


def test_a_removed_node_moves_its_share_of_100_centroids() -> None:
    centroids = random_centroids(np.random.default_rng(7))
    eleven = HashRing(pods(11))
    own = sum(eleven.owner(key) == "products-node-3" for key in centroids)
    moved = count_moved(eleven, eleven.without_node("products-node-3"), centroids)
    assert 0 < own <= moved < 15


def binomial_statistic(counts: Counter[int], trials: int, chance: float) -> tuple[float, int]:
    """Pearson's chi-square of observed counts against a binomial, and its degrees of freedom."""
    total = counts.total()
    observed, expected = [0.0], [0.0]
    for successes in range(trials + 1):
        share = math.comb(trials, successes) * chance**successes * (1 - chance) ** (trials - successes)
        observed[-1] += counts[successes]
        expected[-1] += total * share
        if expected[-1] >= 5 and total - sum(expected) >= 5:
            observed.append(0.0)
            expected.append(0.0)
    statistic = sum((seen - due) ** 2 / due for seen, due in zip(observed, expected, strict=True))
    return statistic, len(expected) - 1


def chi_square_limit(freedom: int, deviations: float = 3.09) -> float:
    """The value that chi-square exceeds once in a thousand (Wilson & Hilferty 1931)."""
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + deviations * math.sqrt(spread)) ** 3


@pytest.mark.exhaustive
def test_moved_centroids_follow_a_binomial_over_1000_seeds() -> None:
    grown: Counter[int] = Counter()
    taken: Counter[int] = Counter()
    for seed in range(1000):
        random = np.random.default_rng(seed)
        keys, nodes = random_centroids(random), pods(11, prefix=f"c{seed}-node")
        ten, eleven = HashRing(nodes[:10]), HashRing(nodes)
        grown[count_moved(ten, eleven, keys)] += 1
        taken[sum(eleven.owner(key) == nodes[10] for key in keys)] += 1
    for counts in (grown, taken):
        statistic, freedom = binomial_statistic(counts, 100, 1 / 11)
        assert freedom > 10
        assert statistic < chi_square_limit(freedom)


# Balance and collateral movement, in slots


@pytest.mark.parametrize(
    "first",
    [2, pytest.param(35, marks=pytest.mark.exhaustive), pytest.param(68, marks=pytest.mark.exhaustive)],
)
def test_no_node_owns_more_than_the_load_cap(first: int) -> None:
    for count in range(first, first + 33):
        owned = HashRing(pods(count)).slot_counts()
        assert sum(owned.values()) == 10_000
        assert max(owned.values()) <= LOAD_CAP * 10_000 / count


@pytest.mark.exhaustive
def test_growing_moves_slots_to_the_new_node_and_hardly_any_other() -> None:
    families = [f"collection{number}-node" for number in range(8)]
    collateral = np.array([collateral_shares(pods(50, family)) for family in families])
    assert collateral.max() <= 0.002
    assert collateral.mean(axis=0).max() <= 0.001
    assert collateral[:, :9].max() == 0


@pytest.mark.exhaustive
def test_names_without_numbers_move_little_more() -> None:
    collateral = np.array([collateral_shares(unnumbered(50, family)) for family in range(4)])
    assert collateral.mean(axis=0).max() <= 0.002
    assert collateral.max() <= 0.0035


def unnumbered(count: int, family: int) -> list[str]:
    return [f"{mmh3.hash64(f'{family}/{index}', signed=False)[0]:016x}-node" for index in range(count)]


def collateral_shares(nodes: list[str]) -> list[float]:
    """For each growth by one node, the share of slots that move although the new node does not take them.

    The same figure belongs to removing that node, which is the way back.
    """
    rings = [HashRing(nodes[:count]) for count in range(1, len(nodes) + 1)]
    return [
        float(np.mean(owner_names(after)[before.moved(after)] != new) * before.moved(after).size / 10_000)
        for (before, after), new in zip(pairwise(rings), nodes[1:], strict=True)
    ]


@pytest.mark.parametrize("count", [2, 3, 11, 30])
def test_removing_any_node_moves_its_own_slots_and_hardly_any_other(count: int) -> None:
    ring = HashRing(pods(count))
    for name in ring.nodes:
        moved = set(ring.moved(ring.without_node(name)).tolist())
        own = set(ring.slots_of(name).tolist())
        assert own <= moved
        assert len(moved - own) <= 0.002 * 10_000


# One ring for one set of names


@given(names.flatmap(lambda nodes: st.tuples(st.just(nodes), st.permutations(nodes))))
@settings(max_examples=30)
def test_the_order_of_names_and_of_insertion_does_not_matter(orders: tuple[list[str], list[str]]) -> None:
    whole, grown = (HashRing(nodes, virtual_nodes=500) for nodes in (orders[0], orders[1][:1]))
    for name in orders[1][1:]:
        grown = grown.with_node(name)
    assert grown == whole
    assert hash(grown) == hash(whole)
    assert grown.version == whole.version
    np.testing.assert_array_equal(grown.owner_table, whole.owner_table)


@given(names, st.text("abcxyz", min_size=9, max_size=9))
@settings(max_examples=30)
def test_removing_undoes_adding(nodes: list[str], extra: str) -> None:
    ring = HashRing(nodes, virtual_nodes=300, replication=2)
    back = ring.with_node(extra).without_node(extra)
    assert back == ring
    assert back.moved(ring).size == 0


FINGERPRINT = """
from vectorcache.routing.ring import HashRing
import mmh3
ring = HashRing([f"products-node-{index}" for index in range(10)], replication=2)
table = mmh3.hash_bytes(ring.owner_table.astype("<i4").tobytes()).hex()
print(ring.version, table, *ring.preference("a/1/7"))
"""
GOLDEN = (
    "fda192838dd5dcda a1b008d97219e362e522df1786a2877f "
    "products-node-0 products-node-6 products-node-1 products-node-8 products-node-9 "
    "products-node-7 products-node-5 products-node-3 products-node-4 products-node-2"
)


@pytest.mark.parametrize("hash_seed", ["1", "4711"])
def test_every_process_makes_the_same_ring(hash_seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", FINGERPRINT],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == GOLDEN


@pytest.mark.parametrize(
    "other",
    [
        HashRing(["a", "c"], 100, 1),
        HashRing(["a", "b", "c"], 100, 1),
        HashRing(["a", "b"], 101, 1),
        HashRing(["a", "b"], 100, 2),
    ],
)
def test_other_names_or_settings_are_another_ring(other: HashRing) -> None:
    ring = HashRing(["a", "b"], 100, 1)
    assert ring != other
    assert ring.version != other.version
    assert ring != "a ring"


# Keys


@given(names, st.integers(1, 10), st.text(max_size=20))
@settings(max_examples=50)
def test_preference_holds_every_node_once_and_begins_with_the_owners(
    nodes: list[str], replication: int, key: str
) -> None:
    ring = HashRing(nodes, virtual_nodes=200, replication=replication)
    preference, owners = ring.preference(key), ring.owners(key)
    assert sorted(preference) == list(ring.nodes)
    assert owners == preference[: len(owners)]
    assert owners[0] == ring.owner(key)
    assert len(set(owners)) == min(replication, len(nodes))


def test_a_lost_node_is_followed_by_the_next_of_the_preference() -> None:
    ring = HashRing(pods(11))
    rest = ring.without_node("products-node-4")
    keys = [key for key in map(str, range(2000)) if ring.owner(key) == "products-node-4"]
    followed = sum(rest.owner(key) == ring.preference(key)[1] for key in keys)
    assert followed >= 0.98 * len(keys) > 100


def test_slots_and_owner_table_agree_with_slot_and_owner() -> None:
    ring = HashRing(pods(5), virtual_nodes=777)
    keys = [f"collection/1/{chunk}" for chunk in range(300)]
    slots = ring.slots(keys)
    assert slots.tolist() == [ring.slot(key) for key in keys]
    assert owner_names(ring)[slots].tolist() == [ring.owner(key) for key in keys]
    assert ring.slots([]).shape == (0,)
    assert ring.slot("naïve") == ring.slot("naïve".encode())


def test_slots_of_all_nodes_are_all_slots() -> None:
    ring = HashRing(pods(7), virtual_nodes=100)
    slots = np.concatenate([ring.slots_of(name) for name in ring.nodes])
    assert sorted(slots.tolist()) == list(range(100))
    assert ring.slot_counts() == {name: ring.slots_of(name).size for name in ring.nodes}


def test_the_owner_table_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        HashRing(["a", "b"]).owner_table[0] = 1


@pytest.mark.parametrize(("virtual_nodes", "count"), [(1, 1), (1, 5), (3, 7), (7, 7), (8, 7)])
def test_fewer_slots_than_nodes_are_shared_out_one_each(virtual_nodes: int, count: int) -> None:
    ring = HashRing(pods(count), virtual_nodes=virtual_nodes)
    owned = ring.slot_counts()
    assert sum(owned.values()) == virtual_nodes
    assert max(owned.values()) <= math.ceil(virtual_nodes / count)
    assert len(ring.preference("key")) == count


# What is refused


@pytest.mark.parametrize("nodes", [[], [""], ["a", ""], ["a", "b", "a"], ["a" * 254], ["a\nb"], ["\ud800"]])
def test_bad_names_are_refused(nodes: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        HashRing(nodes)
    assert caught.value.field == "nodes"


@pytest.mark.parametrize("setting", ["virtual_nodes", "replication"])
@pytest.mark.parametrize("value", [0, -1])
def test_settings_below_one_are_refused(setting: str, value: int) -> None:
    with pytest.raises(InvalidInput, match=setting):
        HashRing(["a"], **{setting: value})


def test_the_longest_name_is_taken() -> None:
    assert HashRing(["a" * 253]).owner("key") == "a" * 253


def test_nodes_come_once_and_leave_only_if_there() -> None:
    ring = HashRing(["a", "b"])
    with pytest.raises(InvalidInput, match="unique names"):
        ring.with_node("a")
    with pytest.raises(NotFound):
        ring.without_node("c")
    with pytest.raises(NotFound):
        ring.slots_of("c")


def test_the_last_node_cannot_be_removed() -> None:
    with pytest.raises(InvalidInput, match="the last"):
        HashRing(["a"]).without_node("a")


def test_rings_of_different_sizes_cannot_be_compared() -> None:
    with pytest.raises(InvalidInput, match="virtual_nodes"):
        HashRing(["a"], 10).moved(HashRing(["a"], 11))
