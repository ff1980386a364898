"""The response cache: serves a language model's replies again to the same or a similar request."""

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
"""Calls the model and returns a ``Reply``, a text, or a chat completion (a mapping or a model object)."""
StreamCall = Callable[[Request], Any]
"""Returns an async iterator, or an awaitable of one, of ``Chunk``s, texts, or events of a chat completion."""

DAY = 86_400.0
NOT_LOOKED_UP = Lookup(None, Outcome.MISS)
"""The lookup result of requests that bypass the cache."""


class ResponseCache(AdministeredCache):
    """Replies by request: to the same request first, then to a similar one that the threshold and the guard accept.

    Any failure within the cache counts as a miss, within the deadline, and is never raised to the caller. Errors of
    the model and replies that are empty, truncated or aborted are never stored. A hit does not extend an entry's
    lifetime. Concurrent callers of one missing request share one call to the model, which goes on if one of them is
    cancelled.

    Args:
        embedder: embeds the questions. The caller closes it, and the clients of the tiers.
        tiers: indexes with the embedder's fingerprint, the nearest first. This object opens and closes them. An entry
            is written to all of them, and a hit is copied to the tiers above.
        threshold: ``Fixed``, or the result of ``measure``.
        guard: refuses similar questions whose answers differ.
        ttl: seconds for which a reply is fresh, or None for no expiry.
        ttl_jitter: share of ``ttl``, 0 to 1, up to which a lifetime is randomly shortened, so that entries that were
            stored together do not expire together.
        stale_while_revalidate: seconds after that in which ``get_or_call`` still serves a reply to the same request,
            while one call in the background fetches a new one.
        deadline: maximum seconds that the cache adds to a call, for all of its parts together.
        cacheable: decides which requests are looked up and stored.
        shadow: collects would-be hits for labelling.
        background: number of running tasks, calls to the model included, from which on promotions, refreshes and
            shadow writes are skipped.
        drain: seconds for which ``close`` waits for background work and calls before it cancels them.
        observer: receives all events, with the cache name "response".
        clock: seconds since the epoch.
        rng: random numbers for the jitter.

    Raises:
        InvalidInput: a setting is invalid.
        FingerprintMismatch: a tier or the threshold belongs to another embedder.
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
        """The event loop on which the cache was opened; None before."""
        return self._loop

    async def open(self) -> None:
        """Open all tiers concurrently. One that is unavailable is opened by a later use."""
        self._loop = asyncio.get_running_loop()
        await asyncio.gather(*(tier.open() for tier in self._tiers))

    async def close(self) -> None:
        """Wait up to ``drain`` seconds for running work, then close all tiers."""
        await self._background.finish(self._drain)
        await asyncio.gather(*(tier.close() for tier in self._tiers))

    async def get(self, request: Request, scope: Scope = EVERYBODY) -> Lookup:
        """Look up a request. Only fresh replies are returned."""
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
        """Store a reply in all tiers and return whether one stored it. Replies that may not be stored return False.

        Args:
            request: the request.
            reply: the whole reply.
            scope: scope of the reply.
            ttl: lifetime in seconds, instead of the cache's.
            tags: tags for invalidation.
        """
        if not self._cacheable(request) or not reply.complete:
            return False
        query = self._query(request, scope)
        with query.spending() as deadline:
            entry = await self._entry(query, reply, self._life.of(ttl), frozenset(tags), deadline)
            writes = (
                self._lookup.keep_first(query, entry, deadline),
                self._lookup.keep_rest(query, entry, deadline),
            )
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
        """Return a stored reply, or else call the model and store its reply.

        Args:
            request: the request.
            call: calls the model, once for all concurrent callers of the same request.
            scope: scope of the reply.
            ttl: lifetime in seconds, instead of the cache's.
            tags: tags for invalidation.

        Raises:
            InvalidInput: ``call`` returned something else than a reply.
            Exception: whatever ``call`` raises, in all callers that wait for it.
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
        """Yield the chunks of a stored reply, or the model's chunks as they arrive, which are recorded.

        Only a stream that has finished with a reason such as "stop" is stored. Callers of the same request read the
        running stream from its beginning. When all of them have left, it is stopped.

        Raises:
            InvalidInput: ``call`` yielded something else than a chunk.
            Exception: whatever ``call`` raises, in all readers.
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
        """Call the model, store its reply in the first tier, answer the callers, then store it in the other tiers."""
        # Another call may have stored a reply after this caller's lookup of the first tier.
        stored = await self._lookup.get_cached(query)
        if stored is not None:
            flight.answer.set_result(stored)
            return
        reply = Reply.of(await call(query.request))
        entry = await self._store(query, reply, life, tags)
        flight.answer.set_result(reply)
        if entry is not None:
            await self._lookup.keep_rest(query, entry, self._background_deadline())

    async def _store(self, query: Query, reply: Reply, life: Life, tags: frozenset[str]) -> IndexEntry | None:
        """Store a reply in the first tier. Return the entry for the other tiers, or None if it may not be stored."""
        if self._shadow is not None and query.would_be is not None:
            self._background.offer(lambda: self._write_shadow(query, reply))
        if not reply.complete:
            return None
        with query.spending() as deadline:
            try:
                entry = await self._entry(query, reply, life, tags, deadline)
            except InvalidInput as error:  # a reply that cannot be stored is still returned to the caller
                self._observer.failed(CACHE, "", "store", error)
                return None
            await self._lookup.keep_first(query, entry, deadline)
        return entry

    async def _entry(
        self, query: Query, reply: Reply, life: Life, tags: frozenset[str], deadline: float
    ) -> IndexEntry:
        vector = await self._semantic.vector(query, deadline)
        self._semantic.guard.read(query.request.question)  # now, rather than during a later lookup
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
        """Return the running recording of the same request, or a new one."""
        recording = self._recordings.get(query.id)
        if recording is not None and recording.joinable:
            return recording

        async def finished(reply: Reply) -> None:
            entry = await self._store(query, reply, life, tags)
            if entry is not None:
                await self._lookup.keep_rest(query, entry, self._background_deadline())

        def forget(task: object) -> None:
            if self._recordings.get(query.id) is mine:
                del self._recordings[query.id]

        mine = self._recordings[query.id] = Recording(opened(call, query.request), finished)
        mine.start(self._background).add_done_callback(forget)
        return mine

    def _background_deadline(self) -> float:
        """Return the deadline of writes in the background."""
        return asyncio.get_running_loop().time() + self._deadline

    async def _refresh(self, key: str, make: Callable[[Flight[Reply]], Awaitable[None]]) -> None:
        try:
            await self._calls.join(key, make)
        except Exception as error:  # noqa: BLE001 - the caller has received the stale reply
            self._observer.failed(CACHE, "", "refresh", error)

    async def _write_shadow(self, query: Query, reply: Reply) -> None:
        assert self._shadow is not None
        assert query.would_be is not None
        try:
            await self._shadow.write(query.would_be, reply.text)
        except OSError as error:
            self._observer.failed(CACHE, "shadow", "write", error)
