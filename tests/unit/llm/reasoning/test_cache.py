import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from tests.support.llm.clock import FakeClock
from tests.support.llm.flaky import Ears, FlakyEmbedder, FlakyIndex, FlakyStore, flaky_index

from vectorcache.errors import InvalidInput, NotFound, Unavailable
from vectorcache_llm.errors import FingerprintMismatch, Unsupported
from vectorcache_llm.kv import Entry, MemoryStore
from vectorcache_llm.observer import Outcome
from vectorcache_llm.reasoning import (
    ChainOfThought,
    ReasoningCache,
    Step,
    Thought,
    TreeOfThought,
    reasoning_id,
)
from vectorcache_llm.response.guard import Guard
from vectorcache_llm.scope import EVERYTHING, Scope, Selection
from vectorcache_llm.similarity.local.memory import MemoryIndex
from vectorcache_llm.stored.parts import probe

ADA, BOB = Scope("acme", "ada"), Scope("acme", "bob")
CHAIN = ChainOfThought(
    problem="How many primes are below 20?", steps=(Step(number=1, thought="list them"),), answer="8"
)
TREE = TreeOfThought.grow("make 24 of 4 6 8 2", [Thought("r", None, ""), Thought("a", "r", "4 x 6", 0.9)])


@pytest.fixture
async def cache(
    store: FlakyStore, embedder: FlakyEmbedder, index: FlakyIndex, ears: Ears, clock: FakeClock
) -> AsyncIterator[ReasoningCache]:
    async with ReasoningCache(store, embedder, index, observer=ears, clock=clock) as opened:
        yield opened


async def test_by_problem_and_by_id(cache: ReasoningCache, ears: Ears) -> None:
    assert await cache.put(CHAIN, ADA)
    assert await cache.put(TREE, ADA)
    assert await cache.get(f"  {CHAIN.problem}\n", ADA) == CHAIN
    assert await cache.get_by_id(reasoning_id(TREE.problem), ADA) == TREE
    assert await cache.get("another problem", ADA) is None
    assert ears.outcomes == [Outcome.EXACT, Outcome.EXACT, Outcome.MISS]
    assert [tenant for tenant, _ in ears.kept] == ["acme", "acme"]


async def test_scopes_are_isolated(cache: ReasoningCache) -> None:
    await cache.put(CHAIN, ADA)
    assert await cache.get(CHAIN.problem, BOB) is None
    assert await cache.similar(CHAIN.problem, BOB, min_similarity=0.0) == []


async def test_a_single_step_and_node(cache: ReasoningCache) -> None:
    await cache.put(CHAIN)
    await cache.put(TREE)
    assert await cache.get_step(CHAIN.problem, 1) == CHAIN.steps[0]
    node = await cache.get_node(TREE.problem, "a")
    assert node is not None
    assert node.thought == "4 x 6"
    assert await cache.get_step(TREE.problem, 1) is None
    assert await cache.get_node("nowhere", "a") is None
    with pytest.raises(NotFound, match="step"):
        await cache.get_step(CHAIN.problem, 2)


async def test_steps_and_nodes_are_put_one_by_one(cache: ReasoningCache) -> None:
    assert await cache.put_step("p", Step(number=1, thought="one"))
    assert await cache.put_step("p", Step(number=2, thought="two"))
    chain = await cache.get("p")
    assert isinstance(chain, ChainOfThought)
    assert [step.thought for step in chain.steps] == ["one", "two"]
    assert await cache.put_node("q", Thought("r", None, ""))
    assert await cache.put_node("q", Thought("a", "r", "below", 0.5))
    tree = await cache.get("q")
    assert isinstance(tree, TreeOfThought)
    assert [node.id for node in tree.best_path()] == ["r", "a"]
    with pytest.raises(InvalidInput, match="ChainOfThought"):
        await cache.put_step("q", Step(number=1, thought=""))
    with pytest.raises(InvalidInput, match="TreeOfThought"):
        await cache.put_node("p", Thought("r", None, ""))


async def test_concurrent_steps_lose_nothing(cache: ReasoningCache) -> None:
    await cache.put_node("q", Thought("r", None, ""))
    await asyncio.gather(*(cache.put_node("q", Thought(str(n), "r", "")) for n in range(50)))
    tree = await cache.get("q")
    assert isinstance(tree, TreeOfThought)
    assert len(tree.nodes) == 51


async def test_a_changed_entry_keeps_its_expiry_and_tags(cache: ReasoningCache, clock: FakeClock) -> None:
    await cache.put(CHAIN, ttl=10, tags=["maths"])
    clock.now += 6
    await cache.put_step(CHAIN.problem, Step(number=2, thought="count them"))
    clock.now += 3
    assert await cache.get_step(CHAIN.problem, 2)
    clock.now += 1
    assert await cache.get(CHAIN.problem) is None
    assert await cache.similar(CHAIN.problem, min_similarity=0.0) == []


async def test_similar_problems(cache: ReasoningCache, ears: Ears) -> None:
    await cache.put(CHAIN)
    await cache.put(TREE)
    found = await cache.similar("How many primes are there below 20?", min_similarity=0.5)
    assert [one.reasoning for one in found] == [CHAIN]
    assert found[0].id == reasoning_id(CHAIN.problem)
    assert 0.5 <= found[0].similarity <= 1
    assert ears.outcomes[-1] is Outcome.SEMANTIC
    assert await cache.similar("qqq zzz", min_similarity=0.9) == []
    assert ears.outcomes[-1] is Outcome.MISS


async def test_the_guard_marks_or_leaves_out(store: FlakyStore, embedder: FlakyEmbedder, ears: Ears) -> None:
    async with ReasoningCache(store, embedder, flaky_index(embedder), guard=Guard(), observer=ears) as cache:
        await cache.put(CHAIN)
        asked = "How many primes are below 30?"
        assert await cache.similar(asked) == []
        assert ears.outcomes[-1] is Outcome.REFUSED
        (marked,) = await cache.similar(asked, refused=True)
        assert marked.refused is not None
        assert marked.refused.check == "numbers"


async def test_entries_missing_in_the_store_are_left_out(cache: ReasoningCache, store: FlakyStore) -> None:
    await cache.put(CHAIN)
    await store.delete_where(EVERYTHING)
    assert await cache.similar(CHAIN.problem) == []


async def test_a_failing_store_is_a_miss(cache: ReasoningCache, store: FlakyStore, ears: Ears) -> None:
    store.down = True
    assert await cache.get(CHAIN.problem) is None
    assert not await cache.put(CHAIN)
    assert not await cache.put_step(CHAIN.problem, CHAIN.steps[0])
    assert ears.outcomes == [Outcome.FAILED]
    assert ears.failures == ["get", "put", "get"]
    store.down = False
    assert await cache.put(CHAIN)


async def test_a_damaged_value_is_a_miss(cache: ReasoningCache, store: FlakyStore, ears: Ears) -> None:
    await store.put(Entry(ADA, reasoning_id("p"), b'{"kind": "chain"}', 1000.0))
    assert await cache.get("p", ADA) is None
    assert ears.outcomes == [Outcome.FAILED]
    assert not await cache.put_step("p", Step(number=1, thought="t"), ADA)
    assert ears.failures == ["get", "get"]


async def test_entries_deleted_while_being_embedded_leave_the_index(
    cache: ReasoningCache, embedder: FlakyEmbedder, index: FlakyIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = embedder.embed

    async def delete_meanwhile(texts: list[str]) -> object:
        await cache.delete_where(Selection.of(ADA))
        return await embed(texts)

    monkeypatch.setattr(embedder, "embed", delete_meanwhile)
    await cache.put(CHAIN, ADA)
    assert [entry.text async for entry in index.scan()] == []


@pytest.mark.parametrize("error", [TypeError("odd"), None])
async def test_health_never_raises_and_has_a_deadline(error: Exception | None) -> None:
    async def ask() -> None:
        if error is not None:
            raise error
        await asyncio.Event().wait()

    health = await probe("part", ask, 0.01)
    assert (health.ok, health.detail) == (False, "odd" if error else "no answer within 0.01 s")


async def test_a_damaged_entry_does_not_affect_the_others(cache: ReasoningCache, store: FlakyStore) -> None:
    await store.put(Entry(ADA, "damaged", b"{", 1000.0))
    await cache.put(CHAIN, ADA)
    assert [record["key"] async for record in cache.export()] == [reasoning_id(CHAIN.problem)]
    assert await cache.delete_where(Selection(pattern=CHAIN.problem)) == 1
    assert await cache.delete_where(Selection(pattern="dam*")) == 1


async def test_without_the_index_all_is_found_by_problem(
    cache: ReasoningCache, index: FlakyIndex, embedder: FlakyEmbedder, ears: Ears
) -> None:
    index.down = True
    assert await cache.put(CHAIN)
    assert await cache.similar(CHAIN.problem) == []
    index.down, embedder.down = False, True
    assert await cache.put(TREE)
    assert await cache.get(TREE.problem) == TREE
    assert ears.failures == ["index", "similar", "index"]
    assert ears.outcomes == [Outcome.FAILED, Outcome.EXACT]


async def test_backends_unavailable_at_first_are_opened_later(
    store: FlakyStore, embedder: FlakyEmbedder, index: FlakyIndex, ears: Ears
) -> None:
    store.down = index.down = True
    async with ReasoningCache(store, embedder, index, observer=ears) as cache:
        assert ears.failures == ["open", "open"]
        assert [part.ok for part in await cache.health()] == [False, False, True]
        store.down = index.down = False
        assert await cache.put(CHAIN)
        assert len(await cache.similar(CHAIN.problem)) == 1
        assert all(part.ok for part in await cache.health())


async def test_an_index_needs_its_embedder(store: FlakyStore, embedder: FlakyEmbedder) -> None:
    with pytest.raises(InvalidInput, match="embedder, index"):
        ReasoningCache(store, embedder)
    with pytest.raises(FingerprintMismatch):
        ReasoningCache(store, embedder, MemoryIndex("another", embedder.dimension))
    async with ReasoningCache(store) as cache:
        await cache.put(CHAIN)
        assert await cache.get(CHAIN.problem) == CHAIN
        with pytest.raises(Unsupported):
            await cache.similar(CHAIN.problem)
        with pytest.raises(Unsupported):
            await cache.delete_similar(ADA, "x", 0.5)


@pytest.mark.parametrize("ttl", [0, -1, float("nan")])
async def test_a_ttl_is_positive(cache: ReasoningCache, ttl: float) -> None:
    with pytest.raises(InvalidInput, match="ttl"):
        await cache.put(CHAIN, ttl=ttl)


async def test_invalid_unicode_is_rejected(cache: ReasoningCache) -> None:
    with pytest.raises(InvalidInput, match="surrogates"):
        await cache.get("\ud800")
    with pytest.raises(InvalidInput, match="surrogates"):
        await cache.put(ChainOfThought(problem="p", answer="\ud800"))


class TestManaged:
    @pytest.fixture
    async def filled(self, cache: ReasoningCache, clock: FakeClock) -> ReasoningCache:
        await cache.put(CHAIN, ADA, tags=["maths"])
        clock.now += 100
        await cache.put(TREE, BOB, ttl=1000)
        await cache.put(TREE, Scope("other"))
        return cache

    @pytest.mark.parametrize(
        ("selection", "left"),
        [
            (EVERYTHING, []),
            (Selection(tenant="acme"), ["other"]),
            (Selection(tenant="acme", user="ada"), ["acme", "other"]),
            (Selection(tags=frozenset({"maths", "x"})), ["acme", "other"]),
            (Selection(created_before=1050.0), ["acme", "other"]),
            (Selection(pattern="make 24*"), ["acme"]),
            (Selection(pattern=reasoning_id(TREE.problem)[:10] + "*", tenant="other"), ["acme", "acme"]),
            (Selection(pattern="nothing"), ["acme", "acme", "other"]),
        ],
    )
    async def test_deletion_removes_from_store_and_index(
        self, filled: ReasoningCache, index: FlakyIndex, ears: Ears, selection: Selection, left: list[str]
    ) -> None:
        gone = await filled.delete_where(selection)
        assert gone == 3 - len(left)
        assert sorted([record["tenant"] async for record in filled.export()]) == left
        assert sorted([entry.partition.scope.tenant async for entry in index.scan()]) == left
        assert ears.gone == [(gone, "invalidated")]

    async def test_deletion_by_similarity_stays_in_its_scope(self, filled: ReasoningCache) -> None:
        assert await filled.delete_similar(BOB, "make 24 of 4 6 8 3", 0.6) == 1
        assert await filled.get(TREE.problem, BOB) is None
        assert await filled.get(TREE.problem, Scope("other")) == TREE
        assert await filled.delete_similar(ADA, "make 24 of 4 6 8 2", 0.9) == 0

    @pytest.mark.parametrize("pattern", [None, "*24*"])
    async def test_a_deletion_that_fails_in_one_backend_raises_and_is_done_in_the_other(
        self, filled: ReasoningCache, store: FlakyStore, index: FlakyIndex, pattern: str | None
    ) -> None:
        index.down = True
        with pytest.raises(Unavailable, match="FlakyIndex"):
            await filled.delete_where(Selection(pattern=pattern))
        assert await filled.get(TREE.problem, BOB) is None
        index.down, store.down = False, True
        with pytest.raises(Unavailable, match="FlakyStore"):
            await filled.delete_where(Selection(pattern=pattern))
        assert [entry.text async for entry in index.scan(Selection(pattern=pattern))] == []

    async def test_export_and_restore_are_exact(
        self, filled: ReasoningCache, embedder: FlakyEmbedder, clock: FakeClock
    ) -> None:
        records = [json.loads(json.dumps(record)) async for record in filled.export()]
        again = MemoryStore(clock=clock)
        index = MemoryIndex(embedder.fingerprint, embedder.dimension, clock=clock)
        async with ReasoningCache(again, embedder, index, clock=clock) as other:
            assert await other.restore(records) == 3
            assert [record async for record in other.export()] == records
            assert len(await other.similar(TREE.problem, BOB)) == 1
            clock.now += 2000
            assert await other.restore(records) == 2

    @pytest.mark.parametrize("change", [{"value": "e30="}, {"key": 5}, {"extra": 1}, {"tenant": ""}])
    async def test_invalid_records_are_rejected(
        self, filled: ReasoningCache, change: dict[str, object]
    ) -> None:
        (record,) = [record async for record in filled.export(Selection(tenant="other"))]
        with pytest.raises(InvalidInput, match=next(iter(change)).replace("extra", "record")):
            await filled.restore([{**record, **change}])

    async def test_stats(self, filled: ReasoningCache) -> None:
        stats = await filled.stats()
        assert stats["entries"] == 3
        assert stats["index"]["entries"] == 3
