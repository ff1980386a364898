from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.support.llm.clock import FakeClock
from tests.support.llm.embedder_contract import EmbedderContract
from tests.support.llm.store_contract import entry

from vectorcache.errors import DeadlineExceeded, InvalidInput, Unavailable
from vectorcache.vectors.metric import Floats
from vectorcache_llm.embedders import CachedEmbedder, Embedder, HashingEmbedder
from vectorcache_llm.embedders.cached import DELETE_BATCH
from vectorcache_llm.kv import Entry, KeyValueStore, MemoryStore, SQLiteStore
from vectorcache_llm.observer import Observer, Outcome
from vectorcache_llm.scope import EVERYBODY, EVERYTHING, Scope, Selection


class Counting(Embedder):
    """Records the texts it is called with. It can be blocked or made to fail."""

    def __init__(self, dimension: int = 64) -> None:
        self._inner = HashingEmbedder(dimension)
        self.asked: list[list[str]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.error: Exception | None = None
        self.closed = 0

    @property
    def fingerprint(self) -> str:
        return self._inner.fingerprint

    @property
    def dimension(self) -> int:
        return self._inner.dimension

    async def embed(self, texts: Sequence[str]) -> Floats:
        self.asked.append(list(texts))
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return await self._inner.embed(texts)

    async def close(self) -> None:
        self.closed += 1


class Broken(MemoryStore):
    """A store that can be made to raise or hang."""

    name = "broken"
    failure: str | None = None

    async def _suffer(self) -> None:
        if self.failure == "hangs":
            await asyncio.Event().wait()
        if self.failure is not None:
            raise Unavailable(self.failure)

    async def open(self) -> None:
        await self._suffer()

    async def get_many(self, scope: Scope, keys: Sequence[str]) -> dict[str, Entry]:
        await self._suffer()
        return await super().get_many(scope, keys)

    async def put(self, *entries: Entry) -> None:
        await self._suffer()
        await super().put(*entries)

    async def delete(self, scope: Scope, *keys: str) -> int:
        await self._suffer()
        return await super().delete(scope, *keys)


class Noting(Observer):
    def __init__(self) -> None:
        self.looked: list[tuple[str, str, Outcome, str]] = []
        self.kept: list[tuple[str, str, str, int]] = []
        self.failures: list[tuple[str, str, str, type[BaseException]]] = []

    def looked_up(
        self, cache: str, tenant: str, outcome: Outcome, seconds: float, *, tier: str = "", key: str = ""
    ) -> None:
        assert seconds >= 0
        assert len(key) == (0 if tier else 64)  # a hot key is counted once
        self.looked.append((cache, tenant, outcome, tier))

    def stored(self, cache: str, tenant: str, tier: str, size: int) -> None:
        self.kept.append((cache, tenant, tier, size))

    def failed(self, cache: str, tier: str, operation: str, error: BaseException) -> None:
        self.failures.append((cache, tier, operation, type(error)))


@pytest.fixture
def inner() -> Counting:
    return Counting()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def observer() -> Noting:
    return Noting()


@pytest.fixture
def upper(clock: FakeClock) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def lower(clock: FakeClock) -> Broken:
    return Broken(clock=clock)


@pytest.fixture
async def cached(
    inner: Counting, upper: MemoryStore, lower: Broken, clock: FakeClock, observer: Noting
) -> AsyncIterator[CachedEmbedder]:
    async with CachedEmbedder(
        inner, [upper, lower], ttl=100, deadline=0.05, clock=clock, observer=observer
    ) as cached:
        yield cached


async def held(store: KeyValueStore) -> list[Entry]:
    return sorted([one async for one in store.scan()], key=lambda one: one.key)


async def settled(cached: CachedEmbedder) -> None:
    await cached._tasks.drain()


class TestContract(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> CachedEmbedder:
        return CachedEmbedder(HashingEmbedder(), [MemoryStore()])

    @pytest.fixture
    def other_settings(self) -> CachedEmbedder:
        return CachedEmbedder(HashingEmbedder(128), [MemoryStore()])


async def test_a_text_is_embedded_only_once(inner: Counting, cached: CachedEmbedder) -> None:
    first = await cached.embed(["a", "b", "a"])
    again = await cached.embed(["b", "a"])
    assert inner.asked == [["a", "b"]]
    assert np.array_equal(first[[1, 0]], again)
    assert np.array_equal(first[0], first[2])


async def test_missing_texts_are_embedded_in_one_call_and_order_is_kept(
    inner: Counting, cached: CachedEmbedder
) -> None:
    await cached.embed(["b", "d"])
    vectors = await cached.embed(["a", "b", "c", "d", "e", "a"])
    assert inner.asked == [["b", "d"], ["a", "c", "e"]]
    expected = await HashingEmbedder(64).embed(["a", "b", "c", "d", "e", "a"])
    assert np.array_equal(vectors, expected)


async def test_callers_of_the_same_text_share_a_call(inner: Counting, cached: CachedEmbedder) -> None:
    inner.go.clear()
    callers = [asyncio.create_task(cached.embed(["same", str(number)])) for number in range(100)]
    for _ in range(20):
        await asyncio.sleep(0)
    callers[0].cancel()  # the caller that started the load
    inner.go.set()
    answers = await asyncio.gather(*callers[1:])
    asked = [text for texts in inner.asked for text in texts]
    assert sorted(asked) == sorted(["same", *map(str, range(100))])
    assert all(np.array_equal(answer[0], answers[0][0]) for answer in answers)
    assert ((await cached.stats())["hits"], (await cached.stats())["misses"]) == (99, 101)


async def test_an_error_reaches_all_waiting_callers_and_is_not_cached(
    inner: Counting, cached: CachedEmbedder
) -> None:
    inner.error = Unavailable("the model is unavailable")
    inner.go.clear()
    callers = [asyncio.create_task(cached.embed(["a"])) for _ in range(3)]
    for _ in range(20):
        await asyncio.sleep(0)
    inner.go.set()
    for result in await asyncio.gather(*callers, return_exceptions=True):
        assert isinstance(result, Unavailable)
    inner.error = None
    assert (await cached.embed(["a"])).any()
    assert inner.asked == [["a"], ["a"]]


async def test_a_lower_store_fills_the_upper_one_without_extending_lifetimes(
    inner: Counting, cached: CachedEmbedder, upper: MemoryStore, lower: Broken, clock: FakeClock
) -> None:
    await cached.embed(["a", "b"])
    await settled(cached)
    before = await held(lower)
    assert before == await held(upper)
    assert {one.expires_at for one in before} == {clock() + 100}
    await upper.delete_where(EVERYTHING)
    clock.advance(60)
    await cached.embed(["a"])
    await settled(cached)
    (copied,) = await held(upper)
    assert copied in before
    assert len(inner.asked) == 1
    clock.advance(40)
    await cached.embed(["a"])
    assert inner.asked == [["a", "b"], ["a"]]


async def test_no_text_is_stored(cached: CachedEmbedder, upper: MemoryStore) -> None:
    await cached.embed(["something private"])
    await settled(cached)
    (one,) = await held(upper)
    assert "private" not in repr(one)
    assert one.key.startswith(f"embedding:{cached.fingerprint}:")


async def test_another_embedder_finds_nothing_of_this_one(
    cached: CachedEmbedder, upper: MemoryStore, lower: Broken
) -> None:
    await cached.embed(["a"])
    await settled(cached)
    other = Counting(32)
    async with CachedEmbedder(other, [upper, lower]) as cached_other:
        assert (await cached_other.embed(["a"])).shape == (1, 32)
    assert other.asked == [["a"]]


async def test_a_scope_keeps_entries_apart(inner: Counting, cached: CachedEmbedder) -> None:
    one, other = Scope("one"), Scope("other")
    answers = await asyncio.gather(*(cached.embed(["a"], scope=scope) for scope in (one, other, None)))
    assert len(inner.asked) == 3
    assert np.array_equal(answers[0], answers[1])
    await cached.embed(["a"], scope=one)
    assert len(inner.asked) == 3
    assert await cached.delete_where(Selection(tenant="one")) == 1
    await cached.embed(["a"], scope=one)
    await cached.embed(["a"], scope=other)
    assert len(inner.asked) == 4


@pytest.mark.parametrize("failure", ["is unavailable", "hangs"])
async def test_a_failing_store_is_skipped_and_used_again_later(
    inner: Counting, cached: CachedEmbedder, lower: Broken, observer: Noting, failure: str
) -> None:
    lower.failure = failure
    assert (await cached.embed(["a"])).any()
    await settled(cached)
    kind = DeadlineExceeded if failure == "hangs" else Unavailable
    assert observer.failures == [("embedding", "broken", step, kind) for step in ("get", "put")]
    assert (await cached.embed(["a"])).any()
    assert len(inner.asked) == 1
    lower.failure = None
    await cached.embed(["b"])
    await settled(cached)
    assert len(await held(lower)) == 1


async def test_an_unavailable_store_does_not_prevent_opening(lower: Broken, observer: Noting) -> None:
    lower.failure = "is unavailable"
    async with CachedEmbedder(Counting(), [lower], observer=observer) as cached:
        assert (await cached.embed(["a"])).any()
    assert observer.failures[0] == ("embedding", "broken", "open", Unavailable)


async def test_an_invalid_vector_is_embedded_again(
    inner: Counting, cached: CachedEmbedder, upper: MemoryStore, observer: Noting
) -> None:
    await upper.put(entry(cached._key("a"), b"torn"))
    assert (await cached.embed(["a"])).any()
    await settled(cached)
    assert inner.asked == [["a"]]
    assert len((await held(upper))[0].value) == 4 * 64
    assert [failure[:3] for failure in observer.failures] == [("embedding", "memory", "get")]


async def test_every_look_up_is_reported_to_the_observer(
    cached: CachedEmbedder, upper: MemoryStore, lower: Broken, observer: Noting
) -> None:
    async def heard(texts: list[str]) -> list[tuple[str, str]]:
        observer.looked.clear()
        await cached.embed(texts)
        await settled(cached)
        return sorted((tier, outcome.value) for _, _, outcome, tier in observer.looked)

    absent = [("broken", "miss"), ("memory", "miss")]
    assert await heard(["a"]) == [("", "miss"), *absent]
    await upper.delete_where(EVERYTHING)
    found_below = [("", "exact"), ("", "miss"), ("broken", "exact"), ("broken", "miss")]
    assert await heard(["a", "b"]) == [*found_below, ("memory", "miss"), ("memory", "miss")]
    assert await heard(["a", "b"]) == [("", "exact")] * 2 + [("memory", "exact")] * 2
    lower.failure = "is unavailable"
    assert await heard(["c"]) == [("", "miss"), ("broken", "failed"), ("memory", "miss")]
    assert {looked[:2] for looked in observer.looked} == {("embedding", "default")}
    assert observer.kept[:2] == [("embedding", "default", tier, 256) for tier in ("memory", "broken")]


async def test_deleting_counts_entries_of_several_stores_once(
    cached: CachedEmbedder, upper: MemoryStore, lower: Broken
) -> None:
    texts = [str(number) for number in range(1200)]
    await cached.embed(texts)
    await settled(cached)
    for one in (await held(upper))[:100]:
        await upper.delete(one.scope, one.key)
    for one in (await held(lower))[500:600]:
        await lower.delete(one.scope, one.key)
    await upper.put(entry("of another cache"))
    assert await cached.delete_where(EVERYTHING) == 1200
    assert [one.key for one in await held(upper)] == ["of another cache"]
    assert await held(lower) == []


async def test_deleting_by_pattern_and_age(cached: CachedEmbedder, clock: FakeClock) -> None:
    await cached.embed(["old"])
    clock.advance(10)
    await cached.embed(["new"])
    await settled(cached)
    assert await cached.delete_where(Selection(pattern="other-embedder:*")) == 0
    assert await cached.delete_where(Selection(created_before=clock())) == 1
    assert await cached.delete_where(Selection(pattern=f"{cached.fingerprint}:*")) == 1


async def test_deleting_continues_in_the_other_stores_when_one_is_unavailable(
    cached: CachedEmbedder, upper: MemoryStore, lower: Broken
) -> None:
    await cached.embed([str(number) for number in range(3 * DELETE_BATCH)])
    await settled(cached)
    lower.failure = "is unavailable"
    with pytest.raises(Unavailable, match="is unavailable"):
        await cached.delete_where(EVERYTHING)
    assert await held(upper) == []


async def test_a_look_up_from_before_a_deletion_stores_nothing_after_it(
    inner: Counting, cached: CachedEmbedder, upper: MemoryStore, observer: Noting
) -> None:
    inner.go.clear()
    asking = asyncio.create_task(cached.embed(["a"]))
    for _ in range(50):
        await asyncio.sleep(0)
    assert inner.asked == [["a"]]
    assert await cached.delete_where(EVERYTHING) == 0
    inner.go.set()
    assert (await asking).any()
    await settled(cached)
    assert observer.kept == []
    await cached.embed(["a"])
    await settled(cached)
    assert len(await held(upper)) == 1


async def test_entries_written_during_a_deletion_are_removed(inner: Counting) -> None:
    class Slow(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.putting, self.go = asyncio.Event(), asyncio.Event()

        async def put(self, *entries: Entry) -> None:
            self.putting.set()
            await self.go.wait()
            await super().put(*entries)

    store = Slow()
    async with CachedEmbedder(inner, [store], deadline=10) as cached:
        await cached.embed(["a"])
        await store.putting.wait()
        await cached.delete_where(EVERYTHING)
        store.go.set()
        await settled(cached)
        assert await held(store) == []


async def test_an_export_restores_all_entries(
    inner: Counting, cached: CachedEmbedder, upper: MemoryStore, lower: Broken, clock: FakeClock
) -> None:
    await cached.embed(["a", "b"])
    await cached.embed(["c"], scope=Scope("other"))
    await settled(cached)
    before = await held(lower)
    await upper.delete(EVERYBODY, before[0].key)
    records = [json.loads(json.dumps(one)) async for one in cached.export()]
    assert len(records) == 3
    await upper.delete_where(EVERYTHING)
    await lower.delete_where(EVERYTHING)
    assert await cached.restore(records) == 3
    assert await held(upper) == await held(lower) == before
    clock.advance(100)
    assert await cached.restore(records) == 0
    with pytest.raises(InvalidInput, match=r"record\.key"):
        await cached.restore([{**records[0], "key": "something else"}])


async def test_health_checks_every_part(inner: Counting, cached: CachedEmbedder, lower: Broken) -> None:
    assert [(part.name, part.ok) for part in await cached.health()] == [
        ("memory", True),
        ("broken", True),
        ("embedder", True),
    ]
    inner.error = Unavailable("the model is unavailable")
    (*_, embedder) = await cached.health()
    assert (embedder.ok, embedder.detail) == (False, "the model is unavailable")


async def test_stats_are_json(cached: CachedEmbedder) -> None:
    await cached.embed(["a"])
    await cached.embed(["a", "b"])
    await settled(cached)
    stats = json.loads(json.dumps(await cached.stats()))
    assert (stats["hits"], stats["misses"], stats["fingerprint"]) == (1, 2, cached.fingerprint)
    assert [(tier["name"], tier["entries"]) for tier in stats["tiers"]] == [("memory", 2), ("broken", 2)]


async def test_closing_waits_for_writes_and_closes_the_embedder(inner: Counting, tmp_path: Path) -> None:
    path = tmp_path / "embeddings.db"
    cached = CachedEmbedder(inner, [SQLiteStore(path)])
    await cached.open()
    await cached.embed(["a", "b"])
    await cached.close()
    assert inner.closed == 1
    async with CachedEmbedder(inner, [SQLiteStore(path)]) as cached:
        await cached.embed(["b", "a"])
    assert inner.asked == [["a", "b"]]


async def test_concurrent_loads_are_limited(inner: Counting, upper: MemoryStore) -> None:
    inner.go.clear()
    async with CachedEmbedder(inner, [upper], max_loads=2) as cached:
        callers = [asyncio.create_task(cached.embed([str(number)])) for number in range(10)]
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(inner.asked) == 2
        inner.go.set()
        await asyncio.gather(*callers)


@pytest.mark.parametrize("arguments", [{"stores": []}, {"ttl": 0}, {"deadline": 0}, {"max_loads": 0}])
def test_settings_are_checked(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(arguments))):
        CachedEmbedder(**{"embedder": HashingEmbedder(), "stores": [MemoryStore()], **arguments})
