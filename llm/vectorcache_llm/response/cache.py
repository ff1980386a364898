"""The response cache: what a language model answered, served again to the same request or to a similar one."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any

import numpy as np

from vectorcache.concurrency import Flight
from vectorcache.errors import InvalidInput
from vectorcache_llm.embedders.base import Embedder
from vectorcache_llm.errors import FingerprintMismatch
from vectorcache_llm.observer import Observer, Outcome
from vectorcache_llm.response.administered import AdministeredCache
from vectorcache_llm.response.background import Background, SharedCalls
from vectorcache_llm.response.breaker import Breaker
from vectorcache_llm.response.cacheable import Cacheable, one_reply
from vectorcache_llm.response.guard import Guard
from vectorcache_llm.response.invalidations import Invalidations
from vectorcache_llm.response.life import Life
from vectorcache_llm.response.lookup import Answer, Lookup, Query
from vectorcache_llm.response.part import CACHE, Part
from vectorcache_llm.response.reply import Chunk, Reply, Stored
from vectorcache_llm.response.request import Request
from vectorcache_llm.response.semantic import Semantic
from vectorcache_llm.response.shadow import ShadowCollector
from vectorcache_llm.response.streams import Recording, opened
from vectorcache_llm.response.threshold import Threshold
from vectorcache_llm.response.tier import Tier
from vectorcache_llm.response.tiered_lookup import TieredLookup
from vectorcache_llm.scope import EVERYBODY, Scope
from vectorcache_llm.similarity.base import IndexEntry, SimilarityIndex

Call = Callable[[Request], Awaitable[Any]]
"""Calls the model: gives a ``Reply``, a text, or a chat completion (a mapping, or an object that dumps one)."""
StreamCall = Callable[[Request], Any]
"""Gives an async iterator (or an awaitable of one) of ``Chunk``s, texts, or a chat completion's events."""

DAY = 86_400.0
NOT_LOOKED_UP = Lookup(None, Outcome.MISS)
"""Of a request that is not cacheable."""


class ResponseCache(AdministeredCache):
    """Replies by request: the same one first, then a similar one that threshold and guard let pass.

    Whatever fails in the cache is a miss, within the deadline; the caller never hears of it. Errors of the model, and
    replies that are empty, cut off or aborted, are never stored. A hit never makes an entry live longer. Concurrent
    callers of one missing request share one call to the model; one that is cancelled cancels nobody else.

    Args:
        embedder: of the questions. It stays its owner's to close, as do the tiers' clients.
        tiers: indexes of the embedder's fingerprint, the nearest first; opened and closed by this object. An entry is
            written to all of them, and copied upwards from where it was found.
        threshold: ``Fixed``, or what ``measure`` gives.
        guard: refuses similar questions that differ in what matters.
        ttl: seconds that a reply is fresh, or None for ever.
        ttl_jitter: share of ``ttl``, 0 to 1, up to which a life is made shorter by chance, so that entries that were
            made together do not end together.
        stale_while_revalidate: seconds after that in which ``get_or_call`` still serves a reply to the same
            request at once, while one call in the background makes a new one.
        deadline: seconds that the cache may add to a call, all of its parts together.
        cacheable: which requests are looked up and stored at all.
        shadow: collects would-be hits for labelling.
        background: writes to lower tiers, promotions and refreshes under way; what is beyond that is left out.
        drain: seconds that ``close`` waits for these and for calls under way, before it cancels them.
        observer: hears of everything, as cache "response".
        clock: seconds since the epoch.
        rng: for the jitter.

    Raises:
        InvalidInput: a setting is not allowed.
        FingerprintMismatch: a tier or the threshold is of another embedder.
    """

    def __init__(
        self,
        embedder: Embedder,
        tiers: Sequence[SimilarityIndex],
        *,
        threshold: Threshold,
        guard: Guard,
        ttl: float | None = DAY,
        ttl_jitter: float = 0.1,
        stale_while_revalidate: float = 0.0,
        deadline: float = 0.25,
        cacheable: Cacheable = one_reply,
        shadow: ShadowCollector | None = None,
        background: int = 256,
        drain: float = 30.0,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        if not tiers:
            raise InvalidInput("tiers", tiers, "at least one")
        if not deadline > 0:
            raise InvalidInput("deadline", deadline, "more than 0 seconds")
        for index in tiers:
            if index.fingerprint != embedder.fingerprint:
                raise FingerprintMismatch(embedder.fingerprint, index.fingerprint)
        observer = observer or Observer()
        invalidations = Invalidations()
        self._background = Background(background)
        part = Part("embedder", Breaker(), observer)
        semantic = Semantic(embedder, threshold, guard, shadow, part, observer, clock)
        guarded = [Tier(index, Breaker(), observer, self._background) for index in tiers]
        super().__init__(guarded, semantic, invalidations, observer, deadline, clock)
        self._lookup = TieredLookup(guarded, semantic, invalidations, self._background, observer, deadline)
        self._life = Life(ttl, ttl_jitter, stale_while_revalidate, clock, rng)
        self._cacheable = cacheable
        self._shadow = shadow
        self._drain = drain
        self._calls: SharedCalls[Reply] = SharedCalls(self._background)
        self._recordings: dict[str, Recording] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that it was opened on, whose it is; None before."""
        return self._loop

    async def open(self) -> None:
        """Open every tier, side by side. One that is away is taken up when it is back."""
        self._loop = asyncio.get_running_loop()
        await asyncio.gather(*(tier.open() for tier in self._tiers))

    async def close(self) -> None:
        """Wait for what runs, a bounded time, then close every tier."""
        await self._background.finish(self._drain)
        await asyncio.gather(*(tier.close() for tier in self._tiers))

    async def get(self, request: Request, scope: Scope = EVERYBODY) -> Lookup:
        """Look a request up; fresh replies only."""
        if not self._cacheable(request):
            return NOT_LOOKED_UP
        return await self._look_up(self._query(request, scope))

    async def put(
        self,
        request: Request,
        reply: Reply,
        scope: Scope = EVERYBODY,
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
    ) -> bool:
        """Store a reply in every tier; say whether one kept it. False for what is never stored.

        Args:
            request: what was asked.
            reply: the whole reply.
            scope: whose it is.
            ttl: seconds, instead of the cache's own.
            tags: for invalidation.
        """
        if not self._cacheable(request) or not reply.complete:
            return False
        query = self._query(request, scope)
        with query.spending() as ends:
            entry = await self._entry(query, reply, self._life.of(ttl), frozenset(tags), ends)
            writes = self._lookup.keep_first(query, entry, ends), self._lookup.keep_rest(query, entry, ends)
            return any(await asyncio.gather(*writes))

    async def get_or_call(
        self,
        request: Request,
        call: Call,
        scope: Scope = EVERYBODY,
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
    ) -> Answer:
        """A stored reply, or the model's, which is stored.

        Args:
            request: what is asked.
            call: asks the model; once for all who ask for the same at the same time.
            scope: whose it is.
            ttl: seconds, instead of the cache's own.
            tags: for invalidation.

        Raises:
            InvalidInput: ``call`` gave what is no reply.
            Exception: whatever ``call`` raises, in everyone who waits for it.
        """
        if not self._cacheable(request):
            return Answer(Reply.of(await call(request)), NOT_LOOKED_UP)
        query = self._query(request, scope)
        life = self._life.of(ttl)
        lookup = await self._look_up(query, stale=True)

        async def make(flight: Flight[Reply]) -> None:
            await self._make(query, call, life, frozenset(tags), flight)

        if lookup.reply is None:
            return Answer(await self._calls.join(query.id, make), lookup)
        if lookup.outcome is Outcome.STALE and query.id not in self._calls:
            self._background.offer(lambda: self._refresh(query.id, make))
        return Answer(lookup.reply, lookup)

    async def stream(
        self,
        request: Request,
        call: StreamCall,
        scope: Scope = EVERYBODY,
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
    ) -> AsyncGenerator[Chunk, None]:
        """A stored reply's chunks at once, or the model's as they come, which are recorded.

        Only a stream that has come to its end and said so ("stop") is stored. Those who ask for the same while it
        runs read it from its beginning. When all of them have left, it is stopped.

        Raises:
            InvalidInput: ``call`` gave what is no chunk.
            Exception: whatever ``call`` raises, in everyone who reads it.
        """
        if not self._cacheable(request):
            async with aclosing(opened(call, request)) as source:
                async for chunk in source:
                    yield chunk
            return
        query = self._query(request, scope)
        life = self._life.of(ttl)
        lookup = await self._look_up(query)
        if lookup.reply is not None:
            for chunk in lookup.reply.pieces():
                yield chunk
            return
        recording = self._recording(query, call, life, frozenset(tags))
        async with aclosing(recording.follow()) as chunks:
            async for chunk in chunks:
                yield chunk

    def _query(self, request: Request, scope: Scope) -> Query:
        return Query(request, scope, request.key(scope), self._deadline, self._invalidations.mark)

    async def _look_up(self, query: Query, *, stale: bool = False) -> Lookup:
        lookup = await self._lookup.find(query, stale=stale)
        self._outcomes[lookup.outcome] += 1
        reply = lookup.reply
        if reply is not None:
            model = reply.model or query.request.model
            self._observer.saved(query.scope.tenant, model, reply.prompt_tokens, reply.completion_tokens)
        return lookup

    async def _make(
        self, query: Query, call: Call, life: Life, tags: frozenset[str], flight: Flight[Reply]
    ) -> None:
        """Call, store in the first tier, answer, then store in the others."""
        made = await self._lookup.get_cached(
            query
        )  # by a call that ended while this one's caller looked elsewhere
        if made is not None:
            flight.answer.set_result(made)
            return
        reply = Reply.of(await call(query.request))
        entry = await self._store(query, reply, life, tags)
        flight.answer.set_result(reply)
        if entry is not None:
            await self._lookup.keep_rest(query, entry, self._later())

    async def _store(self, query: Query, reply: Reply, life: Life, tags: frozenset[str]) -> IndexEntry | None:
        """In the first tier; the entry for the others, or None where nothing is to be stored."""
        if self._shadow is not None and query.would_be is not None:
            self._background.offer(lambda: self._write_down(query, reply))
        if not reply.complete:
            return None
        with query.spending() as ends:
            try:
                entry = await self._entry(query, reply, life, tags, ends)
            except (
                InvalidInput
            ) as error:  # the reply has what cannot be kept; the caller gets it all the same
                self._observer.failed(CACHE, "", "store", error)
                return None
            await self._lookup.keep_first(query, entry, ends)
        return entry

    async def _entry(
        self, query: Query, reply: Reply, life: Life, tags: frozenset[str], ends: float
    ) -> IndexEntry:
        vector = await self._semantic.vector(query, ends)
        self._semantic.guard.read(query.request.question)  # now, not when somebody waits for a hit
        span = life.span()
        return IndexEntry(
            id=query.id,
            partition=query.partition,
            vector=np.zeros(self._semantic.embedder.dimension, np.float32) if vector is None else vector,
            text=query.request.question,
            payload=Stored(reply, span.fresh_until).encode(),
            created_at=span.created_at,
            expires_at=span.expires_at,
            tags=tags,
            metadata={"model": query.request.model},
        )

    def _recording(self, query: Query, call: StreamCall, life: Life, tags: frozenset[str]) -> Recording:
        """The one under way for the same request, or a new one."""
        recording = self._recordings.get(query.id)
        if recording is not None and recording.joinable:
            return recording

        async def finished(reply: Reply) -> None:
            entry = await self._store(query, reply, life, tags)
            if entry is not None:
                await self._lookup.keep_rest(query, entry, self._later())

        def forget(task: object) -> None:
            if self._recordings.get(query.id) is mine:
                del self._recordings[query.id]

        mine = self._recordings[query.id] = Recording(opened(call, query.request), finished)
        mine.start(self._background).add_done_callback(forget)
        return mine

    def _later(self) -> float:
        """A deadline for writes that nobody waits for."""
        return asyncio.get_running_loop().time() + self._deadline

    async def _refresh(self, key: str, make: Callable[[Flight[Reply]], Awaitable[None]]) -> None:
        try:
            await self._calls.join(key, make)
        except Exception as error:  # noqa: BLE001 - nobody waits; the stale reply has been served
            self._observer.failed(CACHE, "", "refresh", error)

    async def _write_down(self, query: Query, reply: Reply) -> None:
        assert self._shadow is not None
        assert query.would_be is not None
        try:
            await self._shadow.write(query.would_be, reply.text)
        except OSError as error:
            self._observer.failed(CACHE, "shadow", "write", error)
