from __future__ import annotations

import random

import pytest
from tests.support.llm.clock import FakeClock
from tests.support.llm.store_contract import entry, keys_of

from vectorcache.errors import InvalidInput
from vectorcache_llm.kv import POLICIES, MemoryStore
from vectorcache_llm.kv.eviction import EvictionPolicy, LeastFrequentlyUsed, eviction_policy
from vectorcache_llm.scope import EVERYBODY


async def left_of(policy: str) -> list[str]:
    """``a`` is the oldest and most used, ``b`` was used last, ``c`` never. ``c`` expires last, ``b`` never expires."""
    clock = FakeClock()
    store = MemoryStore(max_entries=3, policy=policy, clock=clock)
    await store.put(entry("a", expires_at=clock() + 10), entry("b"), entry("c", expires_at=clock() + 20))
    for key in "aab":
        await store.get(EVERYBODY, key)
    await store.put(entry("d"))
    await store.put(entry("e"))
    return await keys_of(store)


async def test_lru_keeps_the_most_recently_used() -> None:
    assert await left_of("lru") == ["b", "d", "e"]


async def test_lfu_keeps_the_most_frequently_used() -> None:
    assert await left_of("lfu") == ["a", "b", "e"]


async def test_ttl_keeps_the_last_to_expire() -> None:
    assert await left_of("ttl") == ["b", "d", "e"]


async def test_ttl_evicts_the_oldest_of_those_without_expiry() -> None:
    store = MemoryStore(max_entries=2, policy="ttl")
    await store.put(entry("b"), entry("a"), entry("c"))
    assert await keys_of(store) == ["a", "c"]


def test_the_error_for_an_unknown_policy_names_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="lru, lfu, ttl"):
        eviction_policy("fifo")


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_selects_an_existing_entry(name: str) -> None:
    policy: EvictionPolicy = eviction_policy(name)
    rng = random.Random(1)
    there: set[str] = set()
    for _ in range(3000):
        key = str(rng.randrange(40))
        if key not in there:
            policy.added((EVERYBODY, key), entry(key, expires_at=rng.choice([None, rng.random()])))
            there.add(key)
        elif rng.random() < 0.5:
            policy.used((EVERYBODY, key))
        else:
            policy.removed((EVERYBODY, key))
            there.remove(key)
        if there:
            assert policy.victim()[1] in there


def test_lfu_agrees_with_a_naive_implementation() -> None:
    policy, rng = LeastFrequentlyUsed(), random.Random(2)
    uses: dict[str, tuple[int, int]] = {}
    for step in range(2000):
        key = str(rng.randrange(20))
        if key not in uses:
            policy.added((EVERYBODY, key), entry(key))
            uses[key] = (0, step)
        else:
            policy.used((EVERYBODY, key))
            uses[key] = (uses[key][0] + 1, step)
        if len(uses) == 15:
            victim = policy.victim()
            assert victim[1] == min(uses, key=uses.__getitem__)
            policy.removed(victim)
            del uses[victim[1]]
