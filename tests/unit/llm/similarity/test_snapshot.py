"""Snapshots are exact, have limited parts, and are written atomically."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.llm.clock import FakeClock
from tests.support.llm.index_contract import DIMENSION, FINGERPRINT, entry, everything, same, vectors

from vectorcache import MemoryBlobStore
from vectorcache.errors import CorruptData, InvalidInput, NotFound, Unavailable
from vectorcache_llm.errors import FingerprintMismatch
from vectorcache_llm.scope import EVERYTHING, Scope, Selection
from vectorcache_llm.similarity import MemoryIndex, load_snapshot, save_snapshot, snapshot
from vectorcache_llm.similarity.base import IndexEntry, Partition


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def memory(clock: FakeClock, fingerprint: str = FINGERPRINT, dimension: int = DIMENSION) -> MemoryIndex:
    return MemoryIndex(fingerprint, dimension, method="exact", clock=clock)


def entries(count: int, seed: int = 0) -> list[IndexEntry]:
    places = [Partition(Scope("t", "u")), Partition(Scope("ä", "", "n"), "context")]
    return [
        entry(f"{number}", row, places[number % 2], tags=frozenset({"x"}), metadata={"k": "🙂"})
        for number, row in enumerate(vectors(count, seed))
    ]


async def test_all_entries_round_trip(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "PART_ENTRIES", 10)
    blobs, index, other = MemoryBlobStore(), memory(clock), memory(clock)
    await index.add(entries(25))
    written = await save_snapshot(index, blobs, "caches/a", clock=clock)
    assert (written.entries, len(written.parts), written.created_at) == (25, 3, clock())
    assert await load_snapshot(other, blobs, "caches/a", clock=clock) == 25
    for one in entries(25):
        assert same(await other.get(one.partition.scope, one.id), one)


async def test_parts_are_limited_in_bytes(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "PART_BYTES", 5000)
    blobs, index = MemoryBlobStore(), memory(clock)
    await index.add([entry(f"{number}", row, payload=bytes(2000)) for number, row in enumerate(vectors(9))])
    written = await save_snapshot(index, blobs, "a")
    assert [part.entries for part in written.parts] == [3, 3, 3]


async def test_an_empty_index_and_a_selection(clock: FakeClock) -> None:
    blobs, index, other = MemoryBlobStore(), memory(clock), memory(clock)
    await save_snapshot(index, blobs, "empty")
    assert await load_snapshot(other, blobs, "empty") == 0
    await index.add(entries(10))
    await save_snapshot(index, blobs, "some", selection=Selection(tenant="t"))
    assert await load_snapshot(other, blobs, "some") == 5


async def test_entries_that_have_expired_since_are_skipped(clock: FakeClock) -> None:
    blobs, index, other = MemoryBlobStore(), memory(clock), memory(clock)
    a, b = vectors(2)
    await index.add([entry("a", a, expires_at=clock() + 10), entry("b", b)])
    await save_snapshot(index, blobs, "a", clock=clock)
    clock.advance(11)
    assert await load_snapshot(other, blobs, "a", clock=clock) == 1
    assert await everything(other) == ["b"]


async def test_a_snapshot_of_another_embedder_is_refused(clock: FakeClock) -> None:
    blobs, index = MemoryBlobStore(), memory(clock)
    await save_snapshot(index, blobs, "a")
    with pytest.raises(FingerprintMismatch, match="'other'"):
        await load_snapshot(memory(clock, "other"), blobs, "a")
    with pytest.raises(InvalidInput, match="^dimension"):
        await load_snapshot(memory(clock, dimension=4), blobs, "a")
    with pytest.raises(NotFound):
        await load_snapshot(index, blobs, "none")


@pytest.mark.parametrize("what", ["part", "manifest", "format"])
async def test_a_changed_blob_is_corrupt(clock: FakeClock, what: str) -> None:
    blobs, index, other = MemoryBlobStore(), memory(clock), memory(clock)
    await index.add(entries(3))
    written = await save_snapshot(index, blobs, "a")
    key = written.parts[0].key if what == "part" else "a/snapshot.json"
    data = (await blobs.get(key)).data
    changed = {
        "part": data[:-1] + b"\xff",
        "manifest": data[:-3],
        "format": data.replace(b'"format":1', b'"format":9'),
    }
    await blobs.put(key, changed[what])
    with pytest.raises(CorruptData):
        await load_snapshot(other, blobs, "a")
    assert await everything(other) == []


async def test_a_reader_of_the_previous_snapshot_can_finish(clock: FakeClock) -> None:
    blobs, index = MemoryBlobStore(), memory(clock)
    written = []
    for _ in range(4):
        clock.advance(1)
        await index.add(entries(5, seed=int(clock())))
        written.append(await save_snapshot(index, blobs, "a", clock=clock))
    there = [[await blobs.head(part.key) is not None for part in one.parts] for one in written]
    assert there == [[False], [False], [True], [True]]
    assert len(await blobs.list_folders("a/")) == 2


async def test_a_save_that_starts_while_another_ends_is_complete(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Second(MemoryIndex):
        """Starts its scan when the first manifest is written, and continues when the first save has finished."""

        begun, first_done = asyncio.Event(), asyncio.Event()

        async def scan(self, selection: Selection = EVERYTHING) -> AsyncIterator[IndexEntry]:
            async for one in super().scan(selection):
                yield one
                self.begun.set()  # the entries yielded so far have been written
            await self.first_done.wait()

    class Blobs(MemoryBlobStore):
        saving: asyncio.Task[snapshot.Snapshot] | None = None

        async def put(self, key: str, data: bytes, **conditions: Any) -> str:
            etag = await super().put(key, data, **conditions)
            if key.endswith(".json") and self.saving is None:
                self.saving = asyncio.create_task(save_snapshot(second, self, "a", clock=clock))
                await second.begun.wait()
            return etag

    monkeypatch.setattr(snapshot, "PART_ENTRIES", 1)
    blobs, index, other = Blobs(), memory(clock), memory(clock)
    second = Second(FINGERPRINT, DIMENSION, method="exact", clock=clock)
    await index.add(entries(2))
    await second.add(entries(3))
    await save_snapshot(index, blobs, "a", clock=clock)
    second.first_done.set()
    assert blobs.saving is not None
    await blobs.saving
    assert await load_snapshot(other, blobs, "a", clock=clock) == 3


async def test_a_failed_save_keeps_the_previous_snapshot(clock: FakeClock) -> None:
    class Breaking(MemoryIndex):
        async def scan(self, selection: Selection = EVERYTHING) -> AsyncIterator[IndexEntry]:
            async for one in super().scan(selection):
                yield one
            raise Unavailable("away")

    blobs, index, other = MemoryBlobStore(), memory(clock), memory(clock)
    await index.add(entries(5))
    await save_snapshot(index, blobs, "a", clock=clock)
    breaking = Breaking(FINGERPRINT, DIMENSION, method="exact")
    await breaking.add(entries(7))
    clock.advance(1)
    with pytest.raises(Unavailable):
        await save_snapshot(breaking, blobs, "a", clock=clock)
    assert await load_snapshot(other, blobs, "a") == 5
