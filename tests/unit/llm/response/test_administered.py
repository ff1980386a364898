"""Administration of the response cache: deletion, export and restore, health, statistics."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from tests.support.llm.clock import FakeClock
from tests.support.llm.fakes import HangingIndex, Hears, Model, cache_of, hanging_index
from tests.support.llm.flaky import FlakyEmbedder
from tests.support.waiting import until

from vectorcache.errors import InvalidInput, Unavailable
from vectorcache_llm.embedders import HashingEmbedder
from vectorcache_llm.response import Chunk, Reply, Request, ResponseCache
from vectorcache_llm.response.invalidations import REMEMBERED, Invalidations
from vectorcache_llm.scope import EVERYBODY, Scope, Selection
from vectorcache_llm.similarity import MemoryIndex

ACME = Scope("acme", "ann")


@pytest.fixture
def embedder() -> FlakyEmbedder:
    return FlakyEmbedder()


@pytest.fixture
def tiers(embedder: FlakyEmbedder) -> list[HangingIndex]:
    return [hanging_index(embedder, name) for name in ("near", "middle", "far")]


async def fill(cache: ResponseCache, *questions: str, scope: Scope = EVERYBODY, **settings: Any) -> None:
    for question in questions:
        await cache.put(Request(question), Reply(f"reply to {question}"), scope, **settings)


async def questions_of(tier: HangingIndex) -> set[str]:
    return {entry.text async for entry in tier.scan()}


@pytest.mark.parametrize(
    ("selection", "left"),
    [
        (Selection(), set()),
        (Selection(tenant="acme"), {"one", "two"}),
        (Selection(tags=frozenset({"news"})), {"one", "two"}),
        (Selection(pattern="t*"), {"one"}),
        (Selection(tenant="nobody"), {"one", "two", "three"}),
    ],
)
async def test_selected_entries_are_deleted_from_every_tier(
    embedder: FlakyEmbedder, tiers: list[HangingIndex], selection: Selection, left: set[str]
) -> None:
    async with cache_of(embedder, *tiers) as cache:
        await fill(cache, "one", "two")
        await fill(cache, "three", scope=ACME, tags=["news"])
        assert await cache.delete_where(selection) == 3 - len(left)
        for tier in tiers:
            assert await questions_of(tier) == left


async def test_an_entry_in_several_tiers_counts_once(
    embedder: FlakyEmbedder, tiers: list[HangingIndex]
) -> None:
    ears = Hears()
    async with cache_of(embedder, *tiers, observer=ears) as cache:
        await fill(cache, "in all", "in two", "in one")
        for tier, text in ((tiers[0], "in two"), (tiers[0], "in one"), (tiers[2], "in one")):
            [entry] = [entry async for entry in tier.scan() if entry.text == text]
            await tier.delete(EVERYBODY, entry.id)
        assert await cache.delete_where(Selection()) == 3
    assert ears.gone == [(1, "invalidated"), (2, "invalidated"), (0, "invalidated")]


async def test_a_failing_tier_is_named_and_the_others_delete(
    embedder: FlakyEmbedder, tiers: list[HangingIndex]
) -> None:
    async with cache_of(embedder, *tiers) as cache:
        await fill(cache, "one")
        tiers[1].down = True
        with pytest.raises(Unavailable, match="middle"):
            await cache.delete_where(Selection())
        tiers[1].down = False
        assert [await questions_of(tier) for tier in tiers] == [set(), {"one"}, set()]


async def test_replies_requested_before_a_deletion_are_not_stored(embedder: FlakyEmbedder) -> None:
    gate = asyncio.Event()
    async with cache_of(embedder) as cache:
        for selection, kept in ((Selection(tenant="acme"), False), (Selection(tenant="else"), True)):
            model = Model(gate)
            gate.clear()
            caller = asyncio.create_task(cache.get_or_call(Request("one"), model, ACME))
            await until(lambda: model.calls == 1)  # noqa: B023 - awaited here
            await cache.delete_where(selection)
            gate.set()
            await caller
            assert ((await cache.get(Request("one"), ACME)).reply is not None) is kept


async def test_similar_questions_are_deleted_in_one_scope(
    embedder: FlakyEmbedder, tiers: list[HangingIndex]
) -> None:
    async with cache_of(embedder, *tiers) as cache:
        await fill(cache, "how do I bake bread", "how do I bake a bread", "what is a monad")
        await fill(cache, "how do I bake bread", scope=ACME)
        system = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "how do I bake bread"},
        ]
        await cache.put(Request(system), Reply("x"))
        assert await cache.delete_similar(EVERYBODY, "how do I bake bread", 0.8) == 3
        for tier in tiers:
            assert [entry.text async for entry in tier.scan(Selection.of(EVERYBODY))] == ["what is a monad"]
            assert await questions_of(tier) == {"what is a monad", "how do I bake bread"}


async def test_export_and_restore_are_exact(embedder: FlakyEmbedder) -> None:
    clock = FakeClock()

    def tiers() -> list[HangingIndex]:
        return [hanging_index(embedder, name, clock=clock) for name in ("near", "far")]

    first, second = tiers(), tiers()
    async with cache_of(embedder, *first, clock=clock) as cache:
        await fill(cache, "one", "zwei 🎉", tags=["b", "a"])
        await cache.put(
            Request("three", model="m"), Reply("r", raw={"x": [1.5]}, chunks=(Chunk("r", "stop"),)), ACME
        )
        await first[0].delete(EVERYBODY, Request("one").key())
        records = [record async for record in cache.export()]
        assert json.loads(json.dumps(records)) == records
        everything = {entry.id: entry async for entry in first[1].scan()}
    async with cache_of(embedder, *second, clock=clock) as cache:
        assert await cache.restore(records) == 3
        for tier in second:
            restored = {entry.id: entry async for entry in tier.scan()}
            assert restored.keys() == everything.keys()
            for key, entry in restored.items():
                assert (entry.vector == everything[key].vector).all()
                nothing = entry.vector
                assert replace(entry, vector=nothing) == replace(everything[key], vector=nothing)
        assert sorted(map(str, [record async for record in cache.export()])) == sorted(map(str, records))


async def test_expired_entries_are_not_restored_and_foreign_vectors_embedded_again(
    embedder: FlakyEmbedder,
) -> None:
    clock = FakeClock()
    async with cache_of(embedder, hanging_index(embedder, clock=clock), clock=clock) as cache:
        await fill(cache, "how do I bake bread", ttl=100)
        await fill(cache, "soon over", ttl=10)
        records = [record async for record in cache.export()]
    clock.advance(50)
    other = HashingEmbedder(64)
    index = MemoryIndex(other.fingerprint, 64, clock=clock)
    async with cache_of(other, index, clock=clock) as cache:  # type: ignore[arg-type]
        assert await cache.restore(records) == 1
        assert (await cache.get(Request("please, how do I bake bread"))).reply is not None


@pytest.mark.parametrize(
    "change",
    [{"cache": "chat"}, {"vector": "AAAA"}, {"extra": 1}, {"tenant": ""}, {"reply": 3}, {"created_at": "x"}],
)
async def test_records_are_checked(embedder: FlakyEmbedder, change: dict[str, Any]) -> None:
    async with cache_of(embedder) as cache:
        await fill(cache, "one")
        records = [record async for record in cache.export()]
        with pytest.raises(InvalidInput):
            await cache.restore([records[0] | change])


async def test_restore_raises_if_no_tier_stores(embedder: FlakyEmbedder, tiers: list[HangingIndex]) -> None:
    async with cache_of(embedder, *tiers) as cache:
        await fill(cache, "one")
        records = [record async for record in cache.export()]
        tiers[0].down = True
        assert await cache.restore(records) == 1
        for tier in tiers:
            tier.down = True
        with pytest.raises(Unavailable):
            await cache.restore(records)


async def test_health_and_statistics_of_every_part(
    embedder: FlakyEmbedder, tiers: list[HangingIndex]
) -> None:
    async with cache_of(embedder, *tiers) as cache:
        await fill(cache, "one")
        await cache.get(Request("one"))
        tiers[1].down = True
        assert [(part.name, part.ok) for part in await cache.health()] == [
            ("embedder", True),
            ("near", True),
            ("middle", False),
            ("far", True),
        ]
        statistics = json.loads(json.dumps(await cache.stats()))
    assert statistics["lookups"] == {"exact": 1}
    assert statistics["min_similarity"] == 0.5
    assert statistics["tiers"]["near"]["entries"] == 1
    assert statistics["tiers"]["middle"]["entries"] is None


async def test_work_older_than_all_invalidations_is_lost(embedder: FlakyEmbedder) -> None:
    async with cache_of(embedder) as cache:
        await fill(cache, "one")
        [entry] = [entry async for entry in cache._tiers[0].scan(Selection())]
    invalidations = Invalidations()
    mark = invalidations.mark
    assert not invalidations.lost(entry, mark)
    for _ in range(REMEMBERED):
        invalidations.add(Selection(tenant="nobody"))
    assert not invalidations.lost(entry, mark)
    invalidations.add(Selection(tenant="nobody"))
    assert invalidations.lost(entry, mark)
    assert not invalidations.lost(entry, invalidations.mark)
