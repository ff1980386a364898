"""Tiers: order, promotion, failures that are not raised, deadlines, recovery."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.support.llm.clock import FakeClock
from tests.support.llm.fakes import HangingIndex, Hears, Model, cache_of, hanging_index
from tests.support.llm.flaky import FlakyEmbedder
from tests.support.waiting import until

from vectorcache_llm.observer import Outcome
from vectorcache_llm.response import Reply, Request, ResponseCache
from vectorcache_llm.response.breaker import State
from vectorcache_llm.similarity.base import SimilarityIndex

QUESTION = "How do I reverse a string in Python?"
SIMILAR = "Please, how do I reverse a string in Python"
DEADLINE = 0.1


@pytest.fixture
def embedder() -> FlakyEmbedder:
    return FlakyEmbedder()


def tiers_of(embedder: FlakyEmbedder, *names: str, **settings: Any) -> list[HangingIndex]:
    return [hanging_index(embedder, name, **settings) for name in names]


async def count(index: SimilarityIndex) -> int:
    return (await index.stats()).entries or 0


async def empty(index: SimilarityIndex, cache: ResponseCache) -> None:
    entries = [entry async for entry in index.scan()]
    for entry in entries:
        await index.delete(entry.partition.scope, entry.id)


async def test_put_stores_in_every_tier(embedder: FlakyEmbedder) -> None:
    tiers = tiers_of(embedder, "near", "middle", "far")
    async with cache_of(embedder, *tiers) as cache:
        assert await cache.put(Request(QUESTION), Reply("use slices"))
        assert [await count(tier) for tier in tiers] == [1, 1, 1]


@pytest.mark.parametrize("question", [QUESTION, SIMILAR])
async def test_hits_below_are_promoted(embedder: FlakyEmbedder, question: str) -> None:
    tiers = tiers_of(embedder, "near", "middle", "far")
    ears = Hears()
    async with cache_of(embedder, *tiers, observer=ears) as cache:
        await cache.put(Request(QUESTION), Reply("use slices"))
        original = [entry async for entry in tiers[2].scan()]
        await empty(tiers[0], cache)
        await empty(tiers[1], cache)
        lookup = await cache.get(Request(question))
        assert (lookup.reply, lookup.tier) == (Reply("use slices"), "far")
        assert [tier for tier, _ in ears.tiers] == ["near", "middle", "far"]
        await until(lambda: not cache._background._running)
        assert [await count(tier) for tier in tiers] == [1, 1, 1]
        promoted = [entry async for entry in tiers[0].scan()]
        assert promoted[0].expires_at == original[0].expires_at
        assert (await cache.get(Request(question))).tier == "near"


async def test_promotions_run_between_lookups_that_never_suspend(embedder: FlakyEmbedder) -> None:
    near, far = tiers_of(embedder, "near", "far")
    requests = [Request(f"Question {number}?") for number in range(50)]
    async with cache_of(embedder, near, far) as cache:
        for request in requests:
            await cache.put(request, Reply("an answer"))
        await empty(near, cache)
        for request in requests:
            assert (await cache.get(request)).outcome is Outcome.EXACT
        assert await count(near) >= 40


async def test_an_exact_hit_below_beats_a_similar_one_above(embedder: FlakyEmbedder) -> None:
    near, far = tiers_of(embedder, "near", "far")
    async with cache_of(embedder, near, far) as cache:
        await cache.put(Request(SIMILAR), Reply("the same"))
        await empty(near, cache)
        await cache.put(Request(QUESTION), Reply("similar"))
        lookup = await cache.get(Request(SIMILAR))
    assert (lookup.outcome, lookup.reply, lookup.tier) == (Outcome.EXACT, Reply("the same"), "far")


async def test_a_failing_tier_is_skipped(embedder: FlakyEmbedder) -> None:
    near, middle, far = tiers_of(embedder, "near", "middle", "far")
    ears = Hears()
    async with cache_of(embedder, near, middle, far, observer=ears) as cache:
        await cache.put(Request(QUESTION), Reply("use slices"))
        await empty(near, cache)
        middle.down = True
        lookup = await cache.get(Request(QUESTION))
        assert (lookup.outcome, lookup.tier) == (Outcome.EXACT, "far")
        assert (await cache.get(Request("What is a monad?"))).outcome is Outcome.FAILED
    assert set(ears.failures) >= {"look up"}


async def test_all_tiers_failing_is_a_miss(embedder: FlakyEmbedder) -> None:
    tiers = tiers_of(embedder, "near", "far")
    async with cache_of(embedder, *tiers) as cache:
        for tier in tiers:
            tier.down = True
        answer = await cache.get_or_call(Request(QUESTION), Model())
        assert (answer.reply.text, answer.lookup.outcome) == (f"{QUESTION} #1", Outcome.FAILED)
        assert not await cache.put(Request(QUESTION), Reply("x"))


async def test_a_hanging_tier_costs_at_most_the_deadline(embedder: FlakyEmbedder) -> None:
    tiers = tiers_of(embedder, "near", "far")
    async with cache_of(embedder, *tiers, deadline=DEADLINE) as cache:
        for tier in tiers:
            tier.hangs = True
        for _ in range(4):
            answer = await cache.get_or_call(Request(QUESTION), Model())
            assert answer.lookup.reply is None


async def test_a_slow_write_below_does_not_delay_callers(embedder: FlakyEmbedder) -> None:
    near, far = tiers_of(embedder, "near", "far")
    async with cache_of(embedder, near, far, deadline=5.0) as cache:
        await cache.get(Request("warm"))

        class Slow(Model):
            async def __call__(self, request: Request) -> Any:
                far.hangs = True
                return await super().__call__(request)

        async with asyncio.timeout(1.0):
            await cache.get_or_call(Request(QUESTION), Slow())
        assert (await cache.get(Request(QUESTION))).tier == "near"
        far.hangs = False
        cache._background._running.copy().pop().cancel()  # the hanging write


async def test_a_breaker_opens_and_recovers_by_itself(embedder: FlakyEmbedder) -> None:
    (tier,) = tiers_of(embedder, "far")
    async with cache_of(embedder, tier) as cache:
        clock = FakeClock()
        cache._tiers[0]._breaker._clock = clock
        await cache.put(Request(QUESTION), Reply("use slices"))
        tier.down = True
        for _ in range(3):
            await cache.get(Request(QUESTION))
        assert cache._tiers[0].state is State.OPEN
        tier.down = False
        asked = tier.asked
        assert (await cache.get(Request(QUESTION))).reply is None
        assert tier.asked == asked
        clock.advance(1)
        assert (await cache.get(Request(QUESTION))).outcome is Outcome.EXACT
        assert cache._tiers[0].state is State.CLOSED


async def test_a_tier_unavailable_at_first_is_opened_later(embedder: FlakyEmbedder) -> None:
    (tier,) = tiers_of(embedder, "far")
    tier.down = True
    async with cache_of(embedder, tier) as cache:
        clock = FakeClock()
        cache._tiers[0]._breaker._clock = clock
        for _ in range(5):
            answer = await cache.get_or_call(Request(QUESTION), Model())
            assert answer.lookup.outcome is Outcome.FAILED
        tier.down = False
        clock.advance(10)
        await cache.get(Request(QUESTION))
        await until(lambda: not cache._background._running)
        await cache.get_or_call(Request(QUESTION), Model())
        assert (await cache.get(Request(QUESTION))).outcome is Outcome.EXACT


async def test_a_damaged_entry_is_a_miss(embedder: FlakyEmbedder) -> None:
    (tier,) = tiers_of(embedder, "far")
    ears = Hears()
    async with cache_of(embedder, tier, observer=ears) as cache:
        await cache.put(Request(QUESTION), Reply("use slices"))
        entries = [entry async for entry in tier.scan()]
        await tier.add([replace(entry, payload=b"torn") for entry in entries])
        assert (await cache.get(Request(QUESTION))).reply is None
        assert (await cache.get(Request(SIMILAR))).reply is None
    assert set(ears.failures) == {"decode"}


async def test_a_cancelled_lookup_does_not_change_the_breaker(embedder: FlakyEmbedder) -> None:
    (tier,) = tiers_of(embedder, "far")
    async with cache_of(embedder, tier, deadline=5.0) as cache:
        tier.hangs = True
        caller = asyncio.create_task(cache.get(Request(QUESTION)))
        await until(lambda: tier.asked == 1)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert cache._tiers[0].state is State.CLOSED
