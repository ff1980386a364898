import asyncio
import json
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.llm.clock import FakeClock
from tests.support.llm.flaky import Ears, FlakyEmbedder, FlakyIndex, FlakyStore, flaky_index
from tests.support.waiting import until

from vectorcache.errors import InvalidInput, Unavailable
from vectorcache_llm.chat import ChatMemory, Context, Tokenizer, Turn, byte_tokenizer
from vectorcache_llm.chat.turns import head_key, summary_key
from vectorcache_llm.kv import MemoryStore
from vectorcache_llm.observer import Outcome
from vectorcache_llm.scope import EVERYTHING, Scope, Selection
from vectorcache_llm.similarity.local.memory import MemoryIndex

ADA, BOB = Scope("acme", "ada"), Scope("acme", "bob")
WORDS = Tokenizer("words", lambda text: len(text.split()), per_message=0, per_request=0)
"""Counts one token per word, without overhead."""


@pytest.fixture
def memory(
    store: FlakyStore, embedder: FlakyEmbedder, index: FlakyIndex, ears: Ears, clock: FakeClock
) -> Any:
    """A function that makes a memory with all parts and the given settings."""

    def make(limit: int = 10, tokenizer: Tokenizer = WORDS, **settings: Any) -> ChatMemory:
        return ChatMemory(store, tokenizer, limit, embedder, index, observer=ears, clock=clock, **settings)

    return make


@pytest.fixture
async def chat(memory: Any) -> AsyncIterator[ChatMemory]:
    async with memory() as opened:
        yield opened


def said(*contents: str) -> list[Turn]:
    """Alternating turns of a user and an assistant."""
    return [
        Turn("user" if place % 2 == 0 else "assistant", content) for place, content in enumerate(contents)
    ]


def texts(context: Context) -> list[str]:
    return [message["content"] for message in context.messages]


class TestRecent:
    async def test_the_last_turns_that_fit_follow_the_system_prompt(self, chat: ChatMemory) -> None:
        await chat.append("s", *said("one two three", "four five six", "seven eight", "nine"))
        context = await chat.context("s", system="be brief", query="")
        assert context.messages == [
            {"role": "system", "content": "be brief"},
            {"role": "assistant", "content": "four five six"},
            {"role": "user", "content": "seven eight"},
            {"role": "assistant", "content": "nine"},
        ]
        assert (context.tokens, context.recent, context.relevant, context.summarised) == (8, 3, 0, False)

    async def test_a_session_without_turns(self, chat: ChatMemory, ears: Ears) -> None:
        assert texts(await chat.context("new", system="be brief")) == ["be brief"]
        assert ears.outcomes == [Outcome.MISS]

    async def test_a_turn_longer_than_the_limit_is_left_out(self, chat: ChatMemory) -> None:
        await chat.append("s", *said("short", "x " * 11))
        assert texts(await chat.context("s", query="")) == []

    async def test_the_overhead_of_messages_counts(self, memory: Any) -> None:
        tokenizer = Tokenizer("words", WORDS.count, per_message=2, per_request=1)
        async with memory(7, tokenizer) as chat:
            await chat.append("s", *said("a", "b", "c"))
            context = await chat.context("s", query="")
            assert (texts(context), context.tokens) == (["b", "c"], 7)

    async def test_a_system_prompt_beyond_the_limit_is_rejected(self, chat: ChatMemory) -> None:
        with pytest.raises(InvalidInput, match="system"):
            await chat.context("s", system="x " * 11)

    async def test_many_turns_are_read_in_pages_up_to_max_turns(self, memory: Any) -> None:
        async with memory(1000, max_turns=150) as chat:
            await chat.append("s", *said(*map(str, range(300))))
            assert texts(await chat.context("s", query="")) == [str(n) for n in range(150, 300)]
            assert [turn.content for turn in await chat.history("s", last=200)] == [
                str(n) for n in range(100, 300)
            ]

    async def test_another_tokenizer_counts_again(self, memory: Any) -> None:
        async with memory() as chat:
            await chat.append("s", *said("one two three"))
        async with memory(20, byte_tokenizer()) as chat:
            context = await chat.context("s")
            assert context.tokens == 3 + 4 + 5

    @settings(max_examples=50)
    @given(
        contents=st.lists(st.text(max_size=30), max_size=12),
        limit=st.integers(1, 60),
        system=st.text(max_size=10),
        query=st.none() | st.text(max_size=10),
    )
    async def test_a_context_never_exceeds_the_limit(
        self, contents: list[str], limit: int, system: str, query: str | None
    ) -> None:
        letters = Tokenizer("letters", len, per_message=1, per_request=1)
        embedder = FlakyEmbedder()
        async with ChatMemory(
            MemoryStore(), letters, limit, embedder, flaky_index(embedder), min_similarity=0
        ) as chat:
            await chat.append("s", *said(*contents))
            try:
                context = await chat.context("s", query, system=system)
            except InvalidInput:
                assert len(system) + 2 > limit
                return
        total = 1 + sum(1 + len(message["content"]) for message in context.messages)
        assert context.tokens == total <= limit
        spoken = texts(context)[1 if system else 0 :]
        assert len(spoken) == context.recent + context.relevant
        places = iter(contents)
        assert all(content in places for content in spoken)  # in the order of the turns


class TestRelevant:
    async def test_older_relevant_turns_precede_the_recent_ones(self, memory: Any) -> None:
        async with memory(16, relevant_share=0.5) as chat:
            await chat.append("s", *said("my sister is called Maria", "noted"))
            await chat.append("s", *said(*(f"filler number {n} here" for n in range(8))))
            context = await chat.context("s", "what is my sister called")
            assert texts(context)[0] == "my sister is called Maria"
            assert (context.relevant, context.recent) == (1, 2)
            assert context.tokens <= 16

    async def test_they_get_at_most_their_share(self, memory: Any) -> None:
        async with memory(16, relevant_share=0.2) as chat:
            await chat.append(
                "s", *said("my sister is called Maria", *(f"filler number {n} here" for n in range(8)))
            )
            context = await chat.context("s", "what is my sister called")
            assert (context.relevant, context.recent) == (0, 4)

    async def test_the_last_turn_is_the_default_query(self, memory: Any) -> None:
        async with memory(16, relevant_share=0.5) as chat:
            filler = [f"filler number {n} here" for n in range(8)]
            await chat.append("s", *said("my sister is called Maria", *filler, "what is my sister called"))
            assert texts(await chat.context("s"))[0] == "my sister is called Maria"

    async def test_other_sessions_and_users_are_not_searched(self, memory: Any) -> None:
        async with memory(16, relevant_share=0.5) as chat:
            filler = said(*(f"filler number {n} here" for n in range(8)))
            await chat.append("other", *said("my sister is called Maria"), scope=ADA)
            await chat.append("s", *said("my sister is called Maria"), scope=BOB)
            await chat.append("s", *filler, scope=ADA)
            context = await chat.context("s", "what is my sister called", scope=ADA)
            assert context.relevant == 0

    async def test_without_the_index_or_the_embedder_only_recent_turns_are_used(
        self, memory: Any, index: FlakyIndex, embedder: FlakyEmbedder, ears: Ears
    ) -> None:
        async with memory(8, relevant_share=0.5) as chat:
            index.down = True
            await chat.append(
                "s", *said("my sister is called Maria", "filler here", "filler there", "and more")
            )
            assert (await chat.context("s", "my sister")).recent == 3
            index.down, embedder.down = False, True
            assert (await chat.context("s", "my sister")).recent == 3
            assert ears.failures == ["index", "similar", "similar"]


class TestAppend:
    async def test_concurrent_appends_lose_nothing(self, chat: ChatMemory) -> None:
        await asyncio.gather(*(chat.append("s", *said(f"{n} a", f"{n} b")) for n in range(100)))
        contents = [turn.content for turn in await chat.history("s", last=1000)]
        assert sorted(contents) == sorted(f"{n} {letter}" for n in range(100) for letter in "ab")

    async def test_concurrent_appends_of_several_processes_lose_nothing(self, store: FlakyStore) -> None:
        memories = [ChatMemory(store, WORDS, 10) for _ in range(4)]
        for one in memories:
            await one.open()
        await asyncio.gather(*(memories[n % 4].append("s", Turn("user", str(n))) for n in range(80)))
        assert sorted(int(turn.content) for turn in await memories[0].history("s", last=1000)) == list(
            range(80)
        )

    @pytest.mark.parametrize("lost", ["head", "lags"])
    async def test_a_lost_or_outdated_head_loses_no_turn(
        self, chat: ChatMemory, store: FlakyStore, lost: str
    ) -> None:
        await chat.append("s", *said("a", "b"))
        if lost == "head":
            await store.delete(Scope(), head_key("s"))
        else:
            early = await store.get(Scope(), head_key("s"))
            assert early is not None
            await chat.append("s", *said(*"cdefg"))
            await store.put(early)
        await chat.append("s", Turn("user", "last"))
        contents = [turn.content for turn in await chat.history("s")]
        assert contents == (["a", "b", "last"] if lost == "head" else [*"abcdefg", "last"])

    async def test_a_failing_store_raises(self, chat: ChatMemory, store: FlakyStore) -> None:
        store.down = True
        with pytest.raises(Unavailable):
            await chat.append("s", Turn("user", "hello"))
        with pytest.raises(Unavailable):
            await chat.context("s")

    @pytest.mark.parametrize("session", ["", "x" * 201, "a\nb"])
    async def test_session_names_are_checked(self, chat: ChatMemory, session: str) -> None:
        with pytest.raises(InvalidInput, match="session"):
            await chat.append(session, Turn("user", "hello"))

    async def test_session_names_that_look_like_keys_are_separate(self, chat: ChatMemory) -> None:
        for name in ("a", "a/000000000", "a/head", "a*", "a/summary"):
            await chat.append(name, Turn("user", name))
        assert await chat.sessions() == sorted(("a", "a/000000000", "a/head", "a*", "a/summary"))
        for name in await chat.sessions():
            assert [turn.content for turn in await chat.history(name)] == [name]
        assert await chat.delete_session("a*") == 1
        assert len(await chat.sessions()) == 4

    @pytest.mark.parametrize(
        ("role", "content", "field"), [("system", "x", "role"), ("user", "\ud800", "content")]
    )
    def test_invalid_turns_are_rejected(self, role: str, content: str, field: str) -> None:
        with pytest.raises(InvalidInput, match=field):
            Turn(role, content)

    async def test_turns_expire_and_the_session_continues(self, memory: Any, clock: FakeClock) -> None:
        async with memory(ttl=100) as chat:
            await chat.append("s", *said("old"))
            clock.now += 60
            await chat.append("s", *said("new"))
            clock.now += 60
            assert texts(await chat.context("s")) == ["new"]
            await chat.append("s", *said("newer"))
            assert texts(await chat.context("s")) == ["new", "newer"]


class TestSummaries:
    @staticmethod
    def recorder(answers: list[Any]) -> tuple[list[tuple[str, list[str]]], Any]:
        asked: list[tuple[str, list[str]]] = []

        async def summarise(before: str, turns: Sequence[Turn]) -> str:
            asked.append((before, [turn.content for turn in turns]))
            answer = answers[min(len(asked), len(answers)) - 1]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return asked, summarise

    async def test_it_replaces_its_turns(self, memory: Any) -> None:
        asked, summarise = self.recorder(["first", "second"])
        async with memory(20, summarise=summarise, summarise_every=4, keep_recent=2) as chat:
            await chat.append("s", *said("a", "b", "c", "d"))
            await until(lambda: not chat._running._tasks)
            context = await chat.context("s", query="")
            assert texts(context) == ["Summary of the conversation so far: first", "c", "d"]
            assert context.summarised
            await chat.append("s", *said("e", "f", "g", "h"))
            await until(lambda: not chat._running._tasks)
            assert texts(await chat.context("s", query=""))[1:] == ["g", "h"]
        assert asked == [("", ["a", "b"]), ("first", ["c", "d", "e", "f"])]

    async def test_a_plain_function_runs_in_a_thread(self, memory: Any) -> None:
        threads = []

        def summarise(before: str, turns: Sequence[Turn]) -> str:
            threads.append(threading.current_thread())
            return "plain"

        async with memory(20, summarise=summarise, summarise_every=2, keep_recent=0) as chat:
            await chat.append("s", *said("a", "b"))
        assert len(threads) == 1
        assert threads[0] is not threading.main_thread()
        async with memory(20) as chat:
            assert texts(await chat.context("s"))[0].endswith("plain")

    async def test_one_that_does_not_fit_is_replaced_by_its_turns(self, memory: Any) -> None:
        _, summarise = self.recorder(["much too long " * 10])
        async with memory(20, summarise=summarise, summarise_every=4, keep_recent=2) as chat:
            await chat.append("s", *said("a", "b", "c", "d"))
            await until(lambda: not chat._running._tasks)
            context = await chat.context("s", query="")
            assert (texts(context), context.summarised) == (["a", "b", "c", "d"], False)

    async def test_expired_turns_do_not_block_later_summaries(self, memory: Any, clock: FakeClock) -> None:
        async with memory(20, ttl=100) as chat:
            await chat.append("s", *said(*"abcdefgh"))
            clock.now += 60
            await chat.append("s", Turn("user", "i"))
            clock.now += 60
        asked, summarise = self.recorder(["the rest"])
        settings = {"summarise_every": 1, "keep_recent": 0, "max_turns": 4, "ttl": 100}
        async with memory(20, summarise=summarise, **settings) as chat:
            await chat.append("s", Turn("user", "j"))
            await until(lambda: not chat._running._tasks)
        assert asked == [("", ["i", "j"])]

    async def test_a_failure_is_retried_with_all_turns(self, memory: Any, ears: Ears) -> None:
        asked, summarise = self.recorder([RuntimeError("model away"), "both"])
        async with memory(20, summarise=summarise, summarise_every=2, keep_recent=0) as chat:
            await chat.append("s", *said("a", "b"))
            await until(lambda: ears.failures == ["summarise"])
            assert texts(await chat.context("s", query="")) == ["a", "b"]
            await chat.append("s", *said("c", "d"))
            await until(lambda: len(asked) == 2 and not chat._running._tasks)
            assert texts(await chat.context("s", query="")) == ["Summary of the conversation so far: both"]
        assert asked[1] == ("", ["a", "b", "c", "d"])

    async def test_a_late_one_is_cancelled(self, memory: Any, ears: Ears) -> None:
        async def summarise(before: str, turns: Sequence[Turn]) -> str:
            await asyncio.Event().wait()
            return ""

        settings = {"summarise_every": 1, "keep_recent": 0, "summary_timeout": 0.01}
        async with memory(20, summarise=summarise, **settings) as chat:
            await chat.append("s", Turn("user", "a"))
            await until(lambda: ears.failures == ["summarise"])

    async def test_their_number_is_bounded(self, memory: Any) -> None:
        in_flight, go = [], asyncio.Event()

        async def summarise(before: str, turns: Sequence[Turn]) -> str:
            in_flight.append(1)
            await go.wait()
            return "done"

        settings = {"summarise_every": 1, "keep_recent": 0, "max_summaries": 2}
        async with memory(20, summarise=summarise, **settings) as chat:
            for number in range(5):
                await chat.append(f"s{number}", Turn("user", "a"))
                await chat.append(f"s{number}", Turn("user", "b"))
            await until(lambda: len(in_flight) == 2)
            go.set()
        assert len(in_flight) == 2

    async def test_one_that_ends_after_a_deletion_is_not_stored(self, memory: Any, store: FlakyStore) -> None:
        begun = asyncio.Event()

        async def summarise(before: str, turns: Sequence[Turn]) -> str:
            begun.set()
            await asyncio.Event().wait()
            return "what Ada said"

        async with memory(20, summarise=summarise, summarise_every=1, keep_recent=0) as chat:
            await chat.append("s", Turn("user", "a secret"), scope=ADA)
            await begun.wait()
            await chat.delete_user("acme", "ada")
            assert not chat._running._tasks
        assert [entry.key async for entry in store.scan()] == []

    async def test_one_of_another_process_that_ends_after_a_deletion_is_not_stored(
        self, memory: Any, store: FlakyStore
    ) -> None:
        begun, go = asyncio.Event(), asyncio.Event()

        async def summarise(before: str, turns: Sequence[Turn]) -> str:
            begun.set()
            await go.wait()
            return "what Ada said"

        async with (
            memory(20, summarise=summarise, summarise_every=1, keep_recent=0) as chat,
            ChatMemory(store, WORDS, 20) as another,
        ):
            await chat.append("s", Turn("user", "a secret"), scope=ADA)
            await begun.wait()
            await another.delete_user("acme", "ada")
            await another.append("s", Turn("user", "a new session"), scope=ADA)
            go.set()
            await until(lambda: not chat._running._tasks)
            assert texts(await chat.context("s", scope=ADA)) == ["a new session"]
            assert await store.get(ADA, summary_key("s")) is None

    async def test_one_of_another_process_is_not_stored_after_deleting_a_turn(
        self, memory: Any, store: FlakyStore
    ) -> None:
        begun, go = asyncio.Event(), asyncio.Event()

        async def summarise(before: str, turns: Sequence[Turn]) -> str:
            begun.set()
            await go.wait()
            return "what Ada said"

        async with (
            memory(20, summarise=summarise, summarise_every=2, keep_recent=0) as chat,
            ChatMemory(store, WORDS, 20) as another,
        ):
            await chat.append("s", *said("a secret", "noted"), scope=ADA)
            await begun.wait()
            assert await another.delete_where(Selection(pattern="*secret*")) == 1
            go.set()
            await until(lambda: not chat._running._tasks)
            assert texts(await chat.context("s", query="", scope=ADA)) == ["noted"]


class TestDeletion:
    @pytest.fixture
    async def filled(self, memory: Any, clock: FakeClock) -> AsyncIterator[ChatMemory]:
        async def summarise(before: str, turns: Sequence[Turn]) -> str:
            return "they talk about fish"

        async with memory(20, summarise=summarise, summarise_every=2, keep_recent=0) as chat:
            await chat.append("s", *said("my fish is red", "nice"), scope=ADA, tags=["pets"])
            await chat.append("s", *said("I am Bob", "hello Bob"), scope=BOB)
            await until(lambda: not chat._running._tasks)
            clock.now += 100
            await chat.append("t", *said("later"), scope=ADA)
            yield chat

    async def test_deleting_a_user_deletes_everywhere(
        self, filled: ChatMemory, store: FlakyStore, index: FlakyIndex
    ) -> None:
        assert await filled.delete_user("acme", "ada") == 6
        assert {entry.scope async for entry in store.scan()} == {BOB}
        assert {entry.partition.scope async for entry in index.scan()} == {BOB}
        assert await filled.sessions(ADA) == []
        assert len(await filled.history("s", scope=BOB)) == 2

    @pytest.mark.parametrize(
        "selection",
        [
            Selection(pattern="*fish is red*"),
            Selection(tags=frozenset({"pets"})),
            Selection(created_before=1050.0),
        ],
    )
    async def test_deleting_a_turn_deletes_the_summary(
        self, filled: ChatMemory, store: FlakyStore, selection: Selection
    ) -> None:
        assert await store.get(ADA, summary_key("s")) is not None
        assert await filled.delete_where(selection) >= 1
        assert await store.get(ADA, summary_key("s")) is None
        assert "my fish is red" not in [turn.content for turn in await filled.history("s", scope=ADA)]
        assert [turn.content for turn in await filled.history("t", scope=ADA)] == ["later"]

    async def test_the_summary_is_deleted_even_if_the_index_fails(
        self, filled: ChatMemory, store: FlakyStore, index: FlakyIndex
    ) -> None:
        index.down = True
        with pytest.raises(Unavailable):
            await filled.delete_where(Selection(tags=frozenset({"pets"})))
        assert await store.get(ADA, summary_key("s")) is None

    async def test_a_session(self, filled: ChatMemory, store: FlakyStore, index: FlakyIndex) -> None:
        assert await filled.delete_session("s", ADA) == 2
        assert await filled.sessions(ADA) == ["t"]
        assert sorted([entry.text async for entry in index.scan(Selection.of(ADA))]) == ["later"]
        assert await filled.delete_session("s", ADA) == 0

    async def test_similar_turns_and_the_summary(self, filled: ChatMemory, store: FlakyStore) -> None:
        assert await filled.delete_similar(ADA, "my fish is blue", 0.5) == 1
        assert await store.get(ADA, summary_key("s")) is None
        assert [turn.content for turn in await filled.history("s", scope=ADA)] == ["nice"]

    async def test_export_and_restore_are_exact(
        self, filled: ChatMemory, embedder: FlakyEmbedder, clock: FakeClock
    ) -> None:
        records = [json.loads(json.dumps(record)) async for record in filled.export()]
        index = MemoryIndex(embedder.fingerprint, embedder.dimension, clock=clock)
        async with ChatMemory(MemoryStore(clock=clock), WORDS, 20, embedder, index, clock=clock) as other:
            assert await other.restore(records) == len(records)
            assert [record async for record in other.export()] == records
            for scope in (ADA, BOB):
                for query in ("", "fish"):
                    assert await other.context("s", query, scope=scope) == await filled.context(
                        "s", query, scope=scope
                    )
            await other.append("s", Turn("user", "on"), scope=BOB)
            assert len(await other.history("s", scope=BOB)) == 3

    async def test_everything(self, filled: ChatMemory, store: FlakyStore, index: FlakyIndex) -> None:
        await filled.delete_where(EVERYTHING)
        assert [entry async for entry in store.scan()] == [entry async for entry in index.scan()] == []


@pytest.mark.parametrize(
    "setting",
    [
        {"limit": 0},
        {"summarise_every": 0},
        {"max_summaries": 0},
        {"max_turns": 0},
        {"summary_timeout": 0},
        {"ttl": 0},
        {"keep_recent": -1},
        {"relevant_turns": -1},
        {"relevant_share": 1.5},
        {"relevant_share": float("nan")},
    ],
)
def test_invalid_settings_are_rejected(memory: Any, setting: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(setting))):
        memory(**setting)
