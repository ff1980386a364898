"""Sessions of turns, and the context to send to a model."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import ClassVar

import msgspec

from vectorcache.concurrency import KeyLocks
from vectorcache.errors import InvalidInput, VectorCacheError
from vectorcache_llm.chat.context import SUMMARY, Builder, Context
from vectorcache_llm.chat.log import PAGE, Log, Session, State
from vectorcache_llm.chat.summaries import Running, Summarise, call
from vectorcache_llm.chat.tokens import Tokenizer
from vectorcache_llm.chat.turns import (
    Summary,
    Turn,
    check_session,
    decode,
    number_of,
    session_of,
)
from vectorcache_llm.embedders.base import Embedder
from vectorcache_llm.kv.base import Entry, KeyValueStore
from vectorcache_llm.observer import Observer, Outcome
from vectorcache_llm.scope import EVERYBODY, Scope, Selection
from vectorcache_llm.similarity.base import Partition, SimilarityIndex
from vectorcache_llm.stored import Searchable, StoredCache


class ChatMemory(StoredCache):
    """The turns of each scope and session.

    A turn is one entry that is never overwritten, so concurrent appends from any number of processes lose nothing.
    Unlike a cache, the memory raises if the store fails, because silently losing a conversation is worse than an
    error. If the index, the embedder or a summary fails, the context has the recent turns only, and the observer is
    notified.

    Args:
        store: store of turns and summaries.
        tokenizer: counts tokens.
        limit: maximum tokens of a context, including the system prompt and the overhead of messages.
        embedder, index: for relevant older turns; both or none.
        summarise: makes summaries in the background; None for no summaries.
        summarise_every: number of turns after which a summary is made.
        keep_recent: number of recent turns left out of summaries.
        summary_timeout: seconds for one summary.
        max_summaries: maximum number of concurrent summaries.
        max_turns: maximum recent turns in a context, and maximum new turns in one summary.
        relevant_turns: maximum older turns in a context.
        relevant_share: maximum share of a context's tokens for older turns.
        min_similarity: minimum cosine similarity of an older turn to the query.
        ttl: lifetime of a turn in seconds; None for no expiry.
        observer: receives lookups and failures.
        clock: seconds since the epoch.

    Raises:
        InvalidInput: a setting is invalid.
        FingerprintMismatch: the index is for another embedder.
    """

    name: ClassVar[str] = "chat"

    def __init__(
        self,
        store: KeyValueStore,
        tokenizer: Tokenizer,
        limit: int,
        embedder: Embedder | None = None,
        index: SimilarityIndex | None = None,
        *,
        summarise: Summarise | None = None,
        summarise_every: int = 20,
        keep_recent: int = 10,
        summary_timeout: float = 60.0,
        max_summaries: int = 4,
        max_turns: int = 200,
        relevant_turns: int = 8,
        relevant_share: float = 0.25,
        min_similarity: float = 0.4,
        ttl: float | None = None,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(store, embedder, index, observer=observer, clock=clock)
        for field, number in (
            ("limit", limit),
            ("summarise_every", summarise_every),
            ("max_summaries", max_summaries),
            ("max_turns", max_turns),
            ("summary_timeout", summary_timeout),
            ("ttl", 1 if ttl is None else ttl),
        ):
            if not number > 0:
                raise InvalidInput(field, number, "more than 0")
        for field, number in (("keep_recent", keep_recent), ("relevant_turns", relevant_turns)):
            if number < 0:
                raise InvalidInput(field, number, "0 or more")
        if not 0 <= relevant_share <= 1:
            raise InvalidInput("relevant_share", relevant_share, "a number between 0 and 1")
        self._tokenizer = tokenizer
        self._limit = limit
        self._summarise = summarise
        self._every = summarise_every
        self._keep_recent = keep_recent
        self._summary_timeout = summary_timeout
        self._max_turns = max_turns
        self._relevant_turns = relevant_turns
        self._relevant_share = relevant_share
        self._min_similarity = min_similarity
        self._log = Log(self._store, ttl, clock, lambda: secrets.token_hex(8))
        self._locks = KeyLocks()
        self._running = Running(max_summaries)

    async def close(self) -> None:
        """Wait up to ``summary_timeout`` for running summaries, then close the store and the index."""
        await self._running.drain(self._summary_timeout)
        await super().close()

    async def append(
        self, session: str, *turns: Turn, scope: Scope = EVERYBODY, tags: Iterable[str] = ()
    ) -> None:
        """Append turns to a session. The first turn creates it.

        Raises:
            InvalidInput: the session's name or a tag is invalid.
            Unavailable: the store failed; turns before the failed one may have been stored.
        """
        check_session(session)
        place = Session(scope, session)
        counted = [await self._with_tokens(turn) for turn in turns]
        async with self._locks[f"{scope}{session}"]:  # avoids races for numbers within one process
            entries = await self._log.append(place, counted, frozenset(tags))
        for entry in entries:
            self._observer.stored(self.name, scope.tenant, "", len(entry.value))
        await self._add_to_index(entries)
        if entries:
            self._summarise_after(place, number_of(entries[0].key), number_of(entries[-1].key) + 1)

    async def context(
        self, session: str, query: str | None = None, *, scope: Scope = EVERYBODY, system: str = ""
    ) -> Context:
        """Return the messages to send, within the limit.

        The context always has the system prompt, then the summary if it fits. The rest is filled with recent turns,
        the latest first, and with older turns that are relevant to the query, up to their share. Turns are never
        truncated.

        Args:
            session: name of the session; without turns, the context has the system prompt only.
            query: text to which older turns should be relevant, by default the last turn. It is not part of the
                context.
            scope: scope of the session.
            system: the system prompt.

        Raises:
            InvalidInput: the session's name is invalid, or the system prompt exceeds the limit.
            Unavailable: the store failed.
        """
        check_session(session)
        begin = time.perf_counter()
        place = Session(scope, session)
        builder = Builder(self._tokenizer, self._limit, system, await self._tokenizer.tokens(system))
        state = await self._log.state(place)
        if state.summary is not None:
            text = SUMMARY + state.summary.text
            fits = builder.add_summary(text, await self._tokenizer.tokens(text))
            state = state if fits else State(state.head, None)  # without the summary, its turns may be used
        context = await self._fill(builder, place, state, query)
        outcome = Outcome.EXACT if context.recent else Outcome.MISS
        self._observer.looked_up(self.name, scope.tenant, outcome, time.perf_counter() - begin)
        return context

    async def history(self, session: str, *, scope: Scope = EVERYBODY, last: int = 100) -> list[Turn]:
        """Return the last turns, the oldest first.

        Raises:
            InvalidInput: the session's name is invalid.
            Unavailable: the store failed.
        """
        check_session(session)
        place = Session(scope, session)
        end = await self._log.end(place, (await self._log.state(place)).head)
        turns: dict[int, Turn] = {}
        for first in range(max(0, end - last), end, PAGE):
            turns |= await self._log.read(place, range(first, min(first + PAGE, end)))
        return [turn for _, turn in sorted(turns.items())]

    async def sessions(self, scope: Scope = EVERYBODY) -> list[str]:
        """Return the names of a scope's sessions.

        Raises:
            Unavailable: the store failed.
        """
        return sorted({session_of(entry.key) async for entry in self._selected(Selection.of(scope))})

    async def delete_session(self, session: str, scope: Scope = EVERYBODY) -> int:
        """Delete a session and its summary, and return the number of its turns.

        Raises:
            InvalidInput: the session's name is invalid.
            Unavailable: a backend failed.
        """
        check_session(session)
        await self._running.stop(Selection.of(scope))
        keys = [
            entry.key
            async for entry in self._selected(Selection.of(scope))
            if session_of(entry.key) == session
        ]
        await self._delete(scope, keys)
        return sum(key.rpartition("/")[2].isdecimal() for key in keys)

    async def delete_user(self, tenant: str, user: str) -> int:
        """Delete all turns, summaries and index entries of a user, and return the number of deleted entries.

        Raises:
            Unavailable: a backend failed; try again.
        """
        return await self.delete_where(Selection(tenant=tenant, user=user))

    async def delete_where(self, selection: Selection) -> int:
        """See ``ManagedCache``. Deleting a turn deletes its session's summary too, which may repeat the turn."""
        await self._running.stop(selection)
        partial = selection.pattern is not None or selection.tags or selection.created_before is not None
        touched: set[Session] = set()
        if partial:
            touched = {Session(one.scope, session_of(one.key)) async for one in self._selected(selection)}
        try:
            return await super().delete_where(selection)
        finally:  # a retry after a failure of the index would no longer find the turns
            await self._forget_summaries(touched)

    async def delete_similar(self, scope: Scope, text: str, min_similarity: float) -> int:
        """See ``ManagedCache``. Summaries are deleted as in ``delete_where``."""
        await self._running.stop(Selection.of(scope))
        return await super().delete_similar(scope, text, min_similarity)

    async def _drop(self, scope: Scope, keys: Sequence[str]) -> None:
        await super()._drop(scope, keys)
        await self._forget_summaries({Session(scope, session_of(key)) for key in keys})

    async def _forget_summaries(self, sessions: Iterable[Session]) -> None:
        for session in sessions:
            await self._log.forget_summary(session)

    def _searchable(self, entry: Entry) -> Searchable | None:
        value = decode(entry.key, entry.value)
        if isinstance(value, Turn) and value.content.strip():
            return Searchable(session_of(entry.key), value.content)
        return None

    async def _fill(self, builder: Builder, place: Session, state: State, query: str | None) -> Context:
        oldest = state.summary.upto if state.summary else 0
        turns = await self._recent(builder, place, state, oldest)
        last_first = sorted(turns.items(), reverse=True)
        recent = builder.fitting(last_first, builder.left)
        if query is None:
            query = last_first[0][1].content if last_first else ""
        if not query.strip() or min(recent, default=1) == 0:  # all turns fit
            return builder.build({}, recent)
        ranked = await self._relevant(place, query, recent)
        older = builder.fitting(ranked.items(), int(builder.left * self._relevant_share))
        recent = builder.fitting(last_first, builder.left - builder.size(older))
        return builder.build(older, recent)

    async def _recent(self, builder: Builder, place: Session, state: State, oldest: int) -> dict[int, Turn]:
        """Return the last turns, at least as many as fit."""
        end = await self._log.end(place, state.head)
        turns: dict[int, Turn] = {}
        oldest = max(oldest, end - self._max_turns)
        while end > oldest and builder.size(turns) <= builder.left:
            first = max(oldest, end - PAGE)
            found = await self._log.read(place, range(first, end))
            turns |= {number: await self._with_tokens(turn) for number, turn in found.items()}
            end = first
        return turns

    async def _first_page(self, place: Session, first: int, end: int) -> tuple[dict[int, Turn], int]:
        """Return the turns of the first page of ``max_turns`` that has any, and the number after that page."""
        turns: dict[int, Turn] = {}
        while first < end and not turns:
            first, begin = min(end, first + self._max_turns), first
            turns = await self._log.read(place, range(begin, first))
        return turns, first

    async def _relevant(self, place: Session, query: str, recent: Collection[int]) -> dict[int, Turn]:
        """Return turns other than the recent ones, the most similar first; none if the index fails."""
        if self._index is None:
            return {}
        try:
            partition = Partition(place.scope, place.name)
            wanted = self._relevant_turns + len(recent)  # the results may include recent turns
            found = await self._similar(partition, query, wanted, self._min_similarity)
        except VectorCacheError as error:
            self._failed("similar", error)
            return {}
        numbers = [n for one in found if (n := number_of(one.key)) not in recent][: self._relevant_turns]
        turns = await self._log.read(place, numbers)
        return {number: await self._with_tokens(turns[number]) for number in numbers if number in turns}

    async def _with_tokens(self, turn: Turn) -> Turn:
        if turn.tokenizer == self._tokenizer.name:
            return turn
        tokens = await self._tokenizer.tokens(turn.content)
        return msgspec.structs.replace(turn, tokens=tokens, tokenizer=self._tokenizer.name)

    def _summarise_after(self, place: Session, first: int, end: int) -> None:
        """Start a summary if the turns from ``first`` to ``end`` cross a multiple of ``summarise_every``."""
        if self._summarise is not None and end // self._every > first // self._every:
            self._running.start(place, self._make_summary(self._summarise, place, end - self._keep_recent))

    async def _make_summary(self, summarise: Summarise, place: Session, upto: int) -> None:
        """Add the turns before ``upto`` to the summary. After a failure, the next summary includes them."""
        try:
            state = await self._log.state(place)
            before = state.summary or Summary("", 0, "")
            turns, reached = await self._first_page(place, before.upto, upto)
            if state.head is not None and turns:
                ordered = [turn for _, turn in sorted(turns.items())]
                text = await call(summarise, before.text, ordered, self._summary_timeout)
                await self._log.summarise(place, Summary(text, reached, state.head.born))
        except Exception as error:  # noqa: BLE001 - the user's callable, in a background task
            self._failed("summarise", error)
