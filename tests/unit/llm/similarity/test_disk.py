"""The contract over SQLite, and tests of persistence and of entries evicted from memory."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.llm.clock import FakeClock
from tests.support.llm.flaky import FlakyStore
from tests.support.llm.index_contract import (
    DIMENSION,
    FINGERPRINT,
    IndexContract,
    Make,
    entry,
    everything,
    vectors,
)

from vectorcache.errors import Unavailable
from vectorcache_llm.kv import SQLiteStore
from vectorcache_llm.kv.base import Entry
from vectorcache_llm.scope import EVERYBODY, Selection
from vectorcache_llm.similarity.disk import DiskIndex
from vectorcache_llm.similarity.local.memory import MemoryIndex


class TestDiskIndex(IndexContract):
    keeps = True
    recall = 0.98
    many = 1000

    @pytest.fixture
    def make(self, clock: FakeClock, tmp_path: Path) -> Make:
        def make(fingerprint: str = FINGERPRINT, dimension: int = DIMENSION, **settings: Any) -> DiskIndex:
            index = MemoryIndex(fingerprint, dimension, clock=clock, **settings)
            return DiskIndex(index, SQLiteStore(tmp_path / "index.db", clock=clock))

        return make

    async def test_embedders_are_kept_apart(self, make: Make) -> None:
        """Deletions are an exception, since they reach all embedders: see the last test."""
        async with make() as one, make(fingerprint="other") as other:
            await one.add([entry("a", vectors(1)[0])])
            assert await other.get(EVERYBODY, "a") is None
            assert await everything(other) == []
            assert await everything(one) == ["a"]


async def test_evicted_entries_are_scanned_deleted_and_found_after_reopening(
    clock: FakeClock, tmp_path: Path
) -> None:
    store = FlakyStore(clock=clock)
    small = DiskIndex(MemoryIndex(FINGERPRINT, DIMENSION, max_entries=2, clock=clock), store)
    async with small:
        await small.add([entry(str(n), row) for n, row in enumerate(vectors(4))])
        assert (await small.stats()).entries == 2
        assert await everything(small) == ["0", "1", "2", "3"]
        assert await small.delete_where(Selection(pattern="text of 0")) == 1
    async with DiskIndex(MemoryIndex(FINGERPRINT, DIMENSION, clock=clock), store) as large:
        assert (await large.stats()).entries == 3


async def test_opening_succeeds_after_the_store_becomes_available(clock: FakeClock) -> None:
    store = FlakyStore(clock=clock)
    index = DiskIndex(MemoryIndex(FINGERPRINT, DIMENSION, clock=clock), store)
    store.down = True
    with pytest.raises(Unavailable):
        await index.open()
    store.down = False
    await index.open()
    await index.add([entry("a", vectors(1)[0])])
    assert await everything(index) == ["a"]


async def test_concurrent_writes_leave_store_and_memory_consistent(clock: FakeClock) -> None:
    class FirstIsSlow(FlakyStore):
        late, slow = asyncio.Event(), True

        async def put(self, *entries: Entry) -> None:
            if self.slow:
                self.slow = False
                await self.late.wait()
            await super().put(*entries)

    store = FirstIsSlow(clock=clock)
    index = DiskIndex(MemoryIndex(FINGERPRINT, DIMENSION, clock=clock), store)
    await index.open()
    first = asyncio.create_task(index.add([entry("a", vectors(1)[0], text="first")]))
    second = asyncio.create_task(index.add([entry("a", vectors(1)[0], text="second")]))
    await asyncio.wait([first, second], timeout=0.05)
    store.late.set()
    await asyncio.gather(first, second)
    found = await index.get(EVERYBODY, "a")
    assert found is not None
    assert [one.text async for one in index.scan()] == [found.text] == ["second"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.mark.parametrize(
    "selection", [Selection(), Selection(tenant=EVERYBODY.tenant), Selection(pattern="*text of 1*")]
)
async def test_deletions_reach_the_entries_of_a_former_embedder(
    clock: FakeClock, selection: Selection
) -> None:
    store = FlakyStore(clock=clock)
    async with DiskIndex(MemoryIndex("former", DIMENSION, clock=clock), store) as former:
        await former.add([entry("1", vectors(1)[0])])
    async with DiskIndex(MemoryIndex(FINGERPRINT, DIMENSION, clock=clock), store) as present:
        assert await everything(present) == []
        assert await present.delete_where(selection) == 1
    async with DiskIndex(MemoryIndex("former", DIMENSION, clock=clock), store) as former:
        assert await everything(former) == []
