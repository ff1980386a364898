"""The contract, and tests of limits, threads and HNSW."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.llm.clock import FakeClock
from tests.support.llm.index_contract import (
    DIMENSION,
    FINGERPRINT,
    HERE,
    IndexContract,
    Make,
    entry,
    everything,
    ids,
    near,
    vectors,
)

from vectorcache.errors import InvalidInput
from vectorcache_llm.scope import EVERYBODY, Scope, Selection
from vectorcache_llm.similarity.base import Partition
from vectorcache_llm.similarity.local import shard
from vectorcache_llm.similarity.local.hnsw import MIN_ROWS
from vectorcache_llm.similarity.local.index import STEP
from vectorcache_llm.similarity.local.memory import METHODS, MemoryIndex


class MemoryContract(IndexContract):
    keeps = False
    method = "auto"

    @pytest.fixture
    def make(self, clock: FakeClock) -> Make:
        def make(**changes: object) -> MemoryIndex:
            settings = {"fingerprint": FINGERPRINT, "dimension": DIMENSION, "clock": clock, **changes}
            return MemoryIndex(method=self.method, **settings)  # type: ignore[arg-type]

        return make


class TestAuto(MemoryContract):
    recall = 0.98


class TestExact(MemoryContract):
    method = "exact"


def memory(**changes: object) -> MemoryIndex:
    return MemoryIndex(FINGERPRINT, DIMENSION, **changes)  # type: ignore[arg-type]


async def filled(index: MemoryIndex, count: int, seed: int = 0) -> None:
    await index.add([entry(f"{number}", vector) for number, vector in enumerate(vectors(count, seed))])
    await index.close()  # waits for the graph


def graph(index: MemoryIndex) -> bool:
    return any(one.has_ann for one in index._shards.values())


async def test_the_least_recently_used_entries_are_evicted_and_reported() -> None:
    heard: list[tuple[int, str]] = []
    index = memory(max_entries=3, on_removed=lambda count, reason: heard.append((count, reason)))
    a, b, c, d = vectors(4)
    await index.add([entry("a", a), entry("b", b), entry("c", c)])
    await index.get(EVERYBODY, "a")
    await index.search(HERE, b)
    await index.add([entry("d", d)])
    assert await everything(index) == ["a", "b", "d"]
    assert await index.search(HERE, c, 3, 0.999) == []
    assert heard == [(1, "evicted")]


async def test_bytes_are_limited() -> None:
    index = memory(max_bytes=20_000)
    await index.add(
        [entry(f"{number}", vector, payload=bytes(3000)) for number, vector in enumerate(vectors(30))]
    )
    stats = await index.stats()
    assert stats.bytes is not None
    assert 10_000 < stats.bytes <= 20_000
    await index.add([entry("29", vectors(1)[0], payload=bytes(30_000))])
    assert await index.get(EVERYBODY, "29") is None
    assert await index.search(HERE, vectors(30)[29], 1, 0.999) == []


async def test_tags_and_metadata_count_towards_the_bytes() -> None:
    index, long = memory(), "x" * 10_000
    await index.add([entry("a", vectors(1)[0], tags=frozenset({long}), metadata={long + "k": long})])
    stats = await index.stats()
    assert stats.bytes is not None
    assert 30_000 < stats.bytes < 40_000


async def test_expired_entries_are_removed_and_reported() -> None:
    clock, heard = FakeClock(), []
    index = memory(clock=clock, on_removed=lambda count, reason: heard.append((count, reason)))
    await index.add(
        [entry(f"{n}", vector, expires_at=clock() + n) for n, vector in enumerate(vectors(400), 1)]
    )
    clock.advance(300)
    assert (await index.stats()).entries == 100
    assert sum(count for count, _ in heard) == 300
    assert {reason for _, reason in heard} == {"expired"}


async def test_empty_partitions_leave_nothing_behind() -> None:
    index = memory()
    for number, vector in enumerate(vectors(50)):
        await index.add([entry("a", vector, Partition(Scope(f"t{number}")))])
    await index.delete_where(Selection())
    assert not index._shards


async def test_a_large_partition_has_a_graph_and_a_small_one_has_none() -> None:
    index = memory()
    await filled(index, MIN_ROWS - 1)
    assert not graph(index)
    await index.add([entry("one more", vectors(1, 5)[0])])
    await index.close()
    assert graph(index)
    exact = memory(method="exact")
    await filled(exact, MIN_ROWS)
    assert not graph(exact)


async def test_the_graph_reflects_every_change() -> None:
    index = memory()
    await filled(index, MIN_ROWS)
    rows = vectors(MIN_ROWS)
    fresh = vectors(200, 7)
    await index.delete(EVERYBODY, *(f"{number}" for number in range(200)))  # more than a search removes
    assert await index.search(HERE, rows[0], 1, 0.999) == []
    await index.add([entry(f"{number}", row) for number, row in enumerate(fresh)])
    for number in range(0, 200, 10):
        assert ids(await index.search(HERE, fresh[number], 1, 0.999)) == [f"{number}"]
        assert await index.search(HERE, rows[number], 1, 0.999) == []
    assert ids(await index.search(HERE, rows[300], 1, 0.999)) == ["300"]
    await index.delete(EVERYBODY, "300")
    assert await index.search(HERE, rows[300], 1, 0.999) == []
    assert len(await index.search(HERE, rows[0], MIN_ROWS, -1.0)) == MIN_ROWS - 1


async def test_changes_during_a_build_are_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard, "MAX_CHANGES", 50)  # larger additions wait for the build
    index = memory()
    rows = vectors(3 * MIN_ROWS)
    await index.add([entry(f"{number}", row) for number, row in enumerate(rows[:MIN_ROWS])])
    assert not graph(index)
    deletes = index.delete(EVERYBODY, *(f"{number}" for number in range(100)))
    adds = (
        index.add(
            [entry(f"{MIN_ROWS + number}", rows[MIN_ROWS + number]) for number in range(start, start + 64)]
        )
        for start in range(0, 640, 64)
    )
    await asyncio.gather(deletes, *adds)
    await index.close()
    assert graph(index)
    for number in (0, 50, 99):
        assert await index.search(HERE, rows[number], 1, 0.999) == []
    for number in (100, MIN_ROWS, MIN_ROWS + 639):
        assert ids(await index.search(HERE, rows[number], 1, 0.999)) == [f"{number}"]


async def test_a_cancelled_add_leaves_a_consistent_index() -> None:
    index = memory()
    await filled(index, MIN_ROWS)
    rows = vectors(100, 3)
    adding = asyncio.create_task(index.add([entry(f"new{n}", row) for n, row in enumerate(rows)]))
    while await index.get(EVERYBODY, "new0") is None:  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0)
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    await index.close()
    found = [await index.search(HERE, row, 1, 0.999) for row in rows]
    assert [ids(one) for one in found] == [[f"new{number}"] for number in range(100)]


async def test_entries_are_replaced_for_a_long_time() -> None:
    index = memory(max_entries=MIN_ROWS + 200)
    rows = vectors(3 * MIN_ROWS, 11)
    for start in range(0, len(rows), 256):
        await index.add([entry(f"{start + n}", row) for n, row in enumerate(rows[start : start + 256])])
    await index.close()
    assert (await index.stats()).entries == MIN_ROWS + 200
    last = len(rows) - 1
    found = [ids(await index.search(HERE, near(rows[last - n], 0.95, n), 1)) for n in range(0, MIN_ROWS, 20)]
    right = sum(one == [f"{last - n}"] for one, n in zip(found, range(0, MIN_ROWS, 20), strict=True))
    assert right >= 0.98 * len(found)


@pytest.mark.parametrize(
    "changes", [{"method": "best"}, {"expansion": 0}, {"max_entries": 0}, {"max_bytes": 0}]
)
def test_bad_settings_are_named(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=f"^{next(iter(changes))}"):
        memory(**changes)
    assert METHODS == ("auto", "exact")


async def test_the_event_loop_is_not_blocked_while_many_entries_are_added() -> None:
    index, turns, adding = memory(), 0, True

    async def count() -> None:
        nonlocal turns
        while adding:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    await index.add([entry(f"{number}", vector) for number, vector in enumerate(vectors(1500))])
    adding = False
    await counting
    assert turns >= 1500 / STEP
