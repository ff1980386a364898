"""The response cache: hits, storing, single flight, lifetimes, isolation."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from tests.support.llm.clock import FakeClock
from tests.support.llm.fakes import Hears, Model, cache_of, hanging_index
from tests.support.llm.flaky import FlakyEmbedder, flaky_index
from tests.support.waiting import until

from vectorcache.errors import InvalidInput
from vectorcache_llm.errors import FingerprintMismatch
from vectorcache_llm.observer import Outcome
from vectorcache_llm.response import Fixed, Reply, Request, repeatable
from vectorcache_llm.scope import Scope

QUESTION = "How do I reverse a string in Python?"
SIMILAR = "Please, how do I reverse a string in Python"
TRAP = "How do I reverse a string in Java?"
ACME, OTHER = Scope("acme"), Scope("other")


@pytest.fixture
def embedder() -> FlakyEmbedder:
    return FlakyEmbedder()


async def test_the_same_request_is_an_exact_hit_without_an_embedding(embedder: FlakyEmbedder) -> None:
    async with cache_of(embedder) as cache:
        first = await cache.get_or_call(Request(QUESTION), Model())
        embedded = embedder.texts
        second = await cache.get_or_call(Request(f" {QUESTION} "), Model())
    assert first.lookup.outcome is Outcome.MISS
    assert second.lookup.outcome is Outcome.EXACT
    assert second.reply == first.reply
    assert second.lookup.tier == "memory"
    assert embedder.texts == embedded


async def test_a_similar_question_is_a_semantic_hit(embedder: FlakyEmbedder) -> None:
    async with cache_of(embedder) as cache:
        await cache.put(Request(QUESTION), Reply("use slices"))
        lookup = await cache.get(Request(SIMILAR))
    assert lookup.outcome is Outcome.SEMANTIC
    assert lookup.reply == Reply("use slices")
    assert lookup.matched == QUESTION
    assert lookup.similarity is not None
    assert 0.5 <= lookup.similarity < 1


async def test_the_guard_refuses_with_a_reason(embedder: FlakyEmbedder) -> None:
    async with cache_of(embedder) as cache:
        await cache.put(Request(QUESTION), Reply("use slices"))
        lookup = await cache.get(Request(TRAP))
        statistics = await cache.stats()
    assert (lookup.outcome, lookup.reply, lookup.matched) == (Outcome.REFUSED, None, QUESTION)
    assert lookup.reason == "names: Java, Python"
    assert statistics["refusals"] == {"names": 1}


async def test_a_paraphrase_is_found_after_a_trap(embedder: FlakyEmbedder) -> None:
    async with cache_of(embedder) as cache:
        await cache.put(Request(TRAP), Reply("wrong"))
        await cache.put(Request("hello, how do I reverse a string in Python please, thanks"), Reply("right"))
        lookup = await cache.get(Request(QUESTION))
    assert lookup.reply == Reply("right")


async def test_without_a_threshold_only_the_same_request_hits(embedder: FlakyEmbedder) -> None:
    async with cache_of(embedder, threshold=Fixed(None)) as cache:
        await cache.put(Request(QUESTION), Reply("use slices"))
        assert (await cache.get(Request(SIMILAR))).outcome is Outcome.MISS
        assert (await cache.get(Request(QUESTION))).outcome is Outcome.EXACT


@pytest.mark.parametrize(
    "other",
    [
        Request(SIMILAR, model="n"),
        Request(SIMILAR, parameters={"temperature": 1}),
        Request(SIMILAR, tools=[{"name": "t"}]),
        Request([{"role": "system", "content": "Be brief."}, {"role": "user", "content": SIMILAR}]),
        Request([{"role": "user", "content": SIMILAR}, {"role": "assistant", "content": SIMILAR}]),
    ],
)
async def test_only_the_question_may_differ(embedder: FlakyEmbedder, other: Request) -> None:
    async with cache_of(embedder) as cache:
        await cache.put(Request(QUESTION), Reply("use slices"))
        assert (await cache.get(other)).reply is None


@pytest.mark.parametrize("scope", [OTHER, Scope("acme", "ann"), Scope("acme", "", "app")])
@pytest.mark.parametrize("question", [QUESTION, SIMILAR])
async def test_replies_are_isolated_by_scope(embedder: FlakyEmbedder, scope: Scope, question: str) -> None:
    async with cache_of(embedder) as cache:
        await cache.put(Request(QUESTION), Reply("secret"), ACME)
        assert (await cache.get(Request(question), scope)).reply is None
        assert (await cache.get(Request(question), ACME)).reply is not None


@pytest.mark.parametrize(
    "reply",
    [
        Reply(""),
        Reply("Hi", finish_reason="length"),
        Reply("Hi", finish_reason="content_filter"),
        Reply("Hi", "", None),
    ],
)
async def test_incomplete_replies_are_returned_but_not_stored(embedder: FlakyEmbedder, reply: Reply) -> None:
    async def call(request: Request) -> Reply:
        return reply

    async with cache_of(embedder) as cache:
        assert (await cache.get_or_call(Request(QUESTION), call)).reply == reply
        assert not await cache.put(Request(QUESTION), reply)
        assert (await cache.get(Request(QUESTION))).reply is None


async def test_a_reply_that_cannot_be_stored_is_returned(embedder: FlakyEmbedder) -> None:
    async def call(request: Request) -> Reply:
        return Reply("Hi", raw=object())

    ears = Hears()
    async with cache_of(embedder, observer=ears) as cache:
        assert (await cache.get_or_call(Request(QUESTION), call)).reply.text == "Hi"
    assert ears.failures == ["store"]


async def test_an_error_of_the_model_reaches_all_callers_and_is_not_stored(embedder: FlakyEmbedder) -> None:
    gate = asyncio.Event()
    model = Model(gate, error=RuntimeError("no quota"))
    async with cache_of(embedder) as cache:
        callers = [asyncio.create_task(cache.get_or_call(Request(QUESTION), model)) for _ in range(10)]
        await until(lambda: model.calls == 1)
        gate.set()
        results = await asyncio.gather(*callers, return_exceptions=True)
        assert [str(result) for result in results] == ["no quota"] * 10
        assert model.calls == 1
        assert (await cache.get_or_call(Request(QUESTION), Model())).reply.text == f"{QUESTION} #1"


async def test_a_hundred_callers_make_one_call(embedder: FlakyEmbedder) -> None:
    gate = asyncio.Event()
    model = Model(gate)
    async with cache_of(embedder) as cache:
        callers = [asyncio.create_task(cache.get_or_call(Request(QUESTION), model)) for _ in range(100)]
        await until(lambda: model.calls == 1)
        gate.set()
        answers = await asyncio.gather(*callers)
    assert model.calls == 1
    assert {answer.reply.text for answer in answers} == {f"{QUESTION} #1"}


async def test_callers_of_other_scopes_do_not_share_a_call(embedder: FlakyEmbedder) -> None:
    gate = asyncio.Event()
    model = Model(gate)
    async with cache_of(embedder) as cache:
        callers = [
            asyncio.create_task(cache.get_or_call(Request(QUESTION), model, scope)) for scope in (ACME, OTHER)
        ]
        await until(lambda: model.calls == 2)
        gate.set()
        await asyncio.gather(*callers)


async def test_a_cancelled_caller_does_not_affect_the_others(embedder: FlakyEmbedder) -> None:
    gate = asyncio.Event()
    model = Model(gate)
    async with cache_of(embedder) as cache:
        callers = [asyncio.create_task(cache.get_or_call(Request(QUESTION), model)) for _ in range(3)]
        await until(lambda: model.calls == 1)
        callers[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await callers[0]
        gate.set()
        assert {(await caller).reply.text for caller in callers[1:]} == {f"{QUESTION} #1"}
        assert (await cache.get(Request(QUESTION))).reply is not None


async def test_hits_do_not_extend_a_lifetime(embedder: FlakyEmbedder) -> None:
    clock = FakeClock()
    settings = {"ttl": 100.0, "ttl_jitter": 0.0, "clock": clock}
    async with cache_of(embedder, flaky_index(embedder, clock=clock), **settings) as cache:
        await cache.put(Request(QUESTION), Reply("use slices"))
        for _ in range(9):
            clock.advance(11)
            assert (await cache.get(Request(QUESTION))).outcome is Outcome.EXACT
            assert (await cache.get(Request(SIMILAR))).outcome is Outcome.SEMANTIC
        clock.advance(1.5)
        assert (await cache.get(Request(QUESTION))).reply is None
        assert (await cache.get(Request(SIMILAR))).reply is None


async def test_an_entry_may_have_its_own_ttl(embedder: FlakyEmbedder) -> None:
    clock = FakeClock()
    async with cache_of(embedder, flaky_index(embedder, clock=clock), clock=clock) as cache:
        await cache.put(Request(QUESTION), Reply("use slices"), ttl=10)
        clock.advance(10)
        assert (await cache.get(Request(QUESTION))).reply is None
        with pytest.raises(InvalidInput):
            await cache.get_or_call(Request(QUESTION), Model(), ttl=0)


async def test_a_stale_reply_is_served_and_refreshed_once(embedder: FlakyEmbedder) -> None:
    clock = FakeClock()
    gate = asyncio.Event()
    model = Model(gate)
    settings = {"ttl": 10.0, "ttl_jitter": 0.0, "stale_while_revalidate": 60.0, "clock": clock}
    async with cache_of(embedder, flaky_index(embedder, clock=clock), **settings) as cache:
        await cache.put(Request(QUESTION), Reply("old"))
        clock.advance(11)
        assert (await cache.get(Request(QUESTION))).reply is None  # get serves fresh replies only
        for _ in range(3):
            answer = await cache.get_or_call(Request(QUESTION), model)
            assert (answer.reply.text, answer.lookup.outcome) == ("old", Outcome.STALE)
            await until(lambda: model.calls == 1)
        gate.set()
        await until(lambda: not cache._background._running)
        answer = await cache.get_or_call(Request(QUESTION), model)
        assert (answer.reply.text, answer.lookup.outcome) == (f"{QUESTION} #1", Outcome.EXACT)
        clock.advance(80)
        assert (await cache.get_or_call(Request(QUESTION), model)).lookup.outcome is Outcome.MISS
    assert model.calls == 2


async def test_a_failing_refresh_is_reported_and_keeps_the_stale_reply(embedder: FlakyEmbedder) -> None:
    clock, ears = FakeClock(), Hears()
    settings = {"ttl": 10.0, "ttl_jitter": 0.0, "stale_while_revalidate": 60.0}
    tier = flaky_index(embedder, clock=clock)
    async with cache_of(embedder, tier, clock=clock, observer=ears, **settings) as cache:
        await cache.put(Request(QUESTION), Reply("old"))
        clock.advance(11)
        model = Model(error=RuntimeError("no quota"))
        assert (await cache.get_or_call(Request(QUESTION), model)).reply.text == "old"
        await until(lambda: ears.failures == ["refresh"])
        assert (await cache.get_or_call(Request(QUESTION), model)).reply.text == "old"


async def test_lifetimes_are_spread(embedder: FlakyEmbedder) -> None:
    clock = FakeClock()
    tier = flaky_index(embedder, clock=clock)
    settings: dict[str, Any] = {"ttl": 100.0, "ttl_jitter": 0.2, "clock": clock, "rng": random.Random(1)}
    async with cache_of(embedder, tier, **settings) as cache:
        for number in range(50):
            await cache.put(Request(f"question {number}"), Reply("answer"))
        ends = [entry.expires_at - clock.now async for entry in tier.scan() if entry.expires_at]
    assert 80 <= min(ends) < 84
    assert 96 < max(ends) <= 100


async def test_requests_for_several_replies_are_not_cached(embedder: FlakyEmbedder) -> None:
    model = Model()
    async with cache_of(embedder) as cache:
        for _ in range(2):
            await cache.get_or_call(Request(QUESTION, parameters={"n": 2}), model)
    assert model.calls == 2


async def test_repeatable_accepts_only_repeatable_requests(embedder: FlakyEmbedder) -> None:
    async with cache_of(embedder, cacheable=repeatable) as cache:
        for parameters, kept in (
            ({}, False),
            ({"temperature": 1}, False),
            ({"temperature": 0}, True),
            ({"seed": 1}, True),
        ):
            assert await cache.put(Request(QUESTION, parameters=parameters), Reply("x")) is kept


async def test_a_saved_call_is_reported_with_its_tokens(embedder: FlakyEmbedder) -> None:
    ears = Hears()
    async with cache_of(embedder, observer=ears) as cache:
        request = Request(QUESTION, model="m")
        await cache.put(request, Reply("use slices", prompt_tokens=7, completion_tokens=3), ACME)
        await cache.get(request, ACME)
    assert ears.savings == [("acme", "m", 7, 3)]
    assert ears.outcomes == [Outcome.EXACT]
    assert ears.tiers == [("memory", Outcome.EXACT)]


async def test_exact_hits_work_without_the_embedder(embedder: FlakyEmbedder) -> None:
    ears = Hears()
    async with cache_of(embedder, observer=ears) as cache:
        embedder.down = True
        first = await cache.get_or_call(Request(QUESTION), Model())
        assert first.lookup.outcome is Outcome.FAILED
        assert (await cache.get_or_call(Request(QUESTION), Model())).lookup.outcome is Outcome.EXACT
        embedder.down = False
        assert (await cache.get(Request(SIMILAR))).outcome is Outcome.MISS
    assert ears.failures == ["embed"]


def test_settings_are_checked(embedder: FlakyEmbedder) -> None:
    for settings in ({"deadline": 0}, {"ttl": 0}, {"ttl_jitter": 2}, {"stale_while_revalidate": -1}):
        with pytest.raises(InvalidInput):
            cache_of(embedder, **settings)
    with pytest.raises(FingerprintMismatch):
        cache_of(embedder, threshold=Fixed(0.9, "another"))
    stranger = hanging_index(embedder)
    stranger._fingerprint = "another"
    with pytest.raises(FingerprintMismatch):
        cache_of(embedder, stranger)


async def test_close_waits_a_bounded_time_for_calls(embedder: FlakyEmbedder) -> None:
    cache = cache_of(embedder, drain=0.02)
    await cache.open()
    model = Model(asyncio.Event())
    caller = asyncio.create_task(cache.get_or_call(Request(QUESTION), model))
    await until(lambda: model.calls == 1)
    await cache.close()
    with pytest.raises(asyncio.CancelledError):
        await caller
