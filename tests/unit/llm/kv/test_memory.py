from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.support.llm.clock import FakeClock
from tests.support.llm.store_contract import StoreContract, entry, keys_of

from vectorcache.errors import InvalidInput
from vectorcache_llm.kv import EvictionPolicy, KeyValueStore, MemoryStore
from vectorcache_llm.kv.base import Entry
from vectorcache_llm.kv.expiry import EntryId
from vectorcache_llm.kv.memory import PURGE_BATCH
from vectorcache_llm.scope import EVERYBODY


class TestContract(StoreContract):
    @pytest.fixture
    async def store(self, clock: FakeClock) -> AsyncIterator[KeyValueStore]:
        async with MemoryStore(clock=clock) as store:
            yield store

    @pytest.fixture
    async def small_store(self, clock: FakeClock) -> AsyncIterator[KeyValueStore]:
        async with MemoryStore(max_bytes=1000, clock=clock) as store:
            yield store


@pytest.mark.parametrize("bounds", [{"max_entries": 0}, {"max_bytes": -1}])
def test_limits_are_positive(bounds: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(bounds))):
        MemoryStore(**bounds)


async def test_the_number_of_entries_is_limited() -> None:
    store = MemoryStore(max_entries=3)
    for key in "abcde":
        await store.put(entry(key))
    assert await keys_of(store) == ["c", "d", "e"]
    assert (await store.stats()).evicted == 2


async def test_the_bytes_of_keys_values_tags_and_metadata_are_limited() -> None:
    store = MemoryStore(max_bytes=100)
    await store.put(entry("ab", b"x" * 30, tags=("é",), metadata={"k": "value"}))
    assert (await store.stats()).bytes == 2 + 30 + 2 + 1 + 5
    await store.put(entry("b", b"x" * 60))
    assert await keys_of(store) == ["ab", "b"] or (await store.stats()).bytes == 61
    assert (await store.stats()).bytes == 61
    await store.put(entry("b", b"x" * 10))
    assert (await store.stats()).bytes == 11


async def test_replacing_needs_space_for_the_difference_only() -> None:
    store = MemoryStore(max_bytes=100)
    await store.put(entry("a", b"x" * 40), entry("b", b"x" * 40))
    await store.put(entry("b", b"x" * 55))
    assert await keys_of(store) == ["a", "b"]
    assert (await store.stats()).evicted == 0


async def test_expired_entries_are_evicted_before_live_ones() -> None:
    clock = FakeClock()
    store = MemoryStore(max_entries=2 * PURGE_BATCH, clock=clock)
    await store.put(entry("oldest"))
    await store.put(*(entry(f"ends {n}", expires_at=clock() + 1) for n in range(2 * PURGE_BATCH - 1)))
    clock.advance(1)
    await store.put(*(entry(f"new {n}") for n in range(2 * PURGE_BATCH - 1)))
    assert await store.get(EVERYBODY, "oldest") is not None
    stats = await store.stats()
    assert (stats.entries, stats.evicted, stats.expired) == (2 * PURGE_BATCH, 0, 2 * PURGE_BATCH - 1)


async def test_writes_remove_expired_entries_that_are_not_looked_up() -> None:
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    await store.put(*(entry(str(n), expires_at=clock() + 1) for n in range(PURGE_BATCH)))
    clock.advance(1)
    await store.put(entry("new"))
    assert (await store.stats()).entries == 1


async def test_a_custom_policy_is_used() -> None:
    class LargestFirst(EvictionPolicy):
        def __init__(self) -> None:
            self.sizes: dict[EntryId, int] = {}

        def added(self, identity: EntryId, entry: Entry) -> None:
            self.sizes[identity] = len(entry.value)

        def used(self, identity: EntryId) -> None:
            pass

        def removed(self, identity: EntryId) -> None:
            del self.sizes[identity]

        def victim(self) -> EntryId:
            return max(self.sizes, key=self.sizes.__getitem__)

    store = MemoryStore(max_entries=2, policy=LargestFirst())
    await store.put(entry("small", b"1"), entry("large", b"1" * 100), entry("middle", b"1" * 10))
    assert await keys_of(store) == ["middle", "small"]
