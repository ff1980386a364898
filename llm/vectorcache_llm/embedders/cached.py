"""The embedding cache, which keeps the vectors of an embedder in stores."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeAlias, TypeVar

import numpy as np

from vectorcache.concurrency import Tasks
from vectorcache.errors import CorruptData, DeadlineExceeded, InvalidInput, Unavailable
from vectorcache.vectors.metric import Floats
from vectorcache_llm.embedders.base import Embedder
from vectorcache_llm.embedders.texts import check_texts
from vectorcache_llm.kv.base import Entry, KeyValueStore
from vectorcache_llm.kv.checks import check_positive
from vectorcache_llm.kv.records import from_record, to_record
from vectorcache_llm.managed import ManagedCache, PartHealth, Record
from vectorcache_llm.observer import Observer, Outcome
from vectorcache_llm.scope import EVERYBODY, EVERYTHING, Scope, Selection

T = TypeVar("T")
_FlightId: TypeAlias = tuple[Scope, str]

PREFIX = "embedding:"
"""Prefix of every key, so that a store can be shared with other caches."""

DEADLINE = 0.1
"""Default deadline of a store call, in seconds."""

HEALTH_SECONDS = 5.0
"""Time limit of the health check of the embedder, in seconds."""

MAX_LOADS = 64
"""Default limit of concurrent loads."""

DELETE_BATCH = 500
"""Number of keys that are deleted per batch."""


class CachedEmbedder(ManagedCache, Embedder):
    """An embedder whose vectors are cached in one or more stores, fastest first.

    Stores are searched in order. A vector found in a lower store is promoted to the stores above, with its expiry
    unchanged. Texts that no store has are embedded in one call and written to all stores. Concurrent callers of the
    same text share one look-up and one call. A store that fails or misses the deadline is skipped and reported to the
    observer; only errors of the embedder reach the caller.

    Keys contain the embedder's fingerprint and the SHA-256 of the text, so texts are not stored, and entries of other
    embedders are never found.

    A vector depends only on its text, so by default all callers share entries. The response time then reveals whether
    the same text has been embedded before. To prevent this, pass a scope per tenant: ``embed(texts, scope=...)``.

    Args:
        embedder: opened embedder; closed with this object.
        stores: opened and closed with this object.
        scope: scope of the entries if ``embed`` is given none.
        ttl: lifetime of an entry, in seconds; None for no expiry.
        deadline: time limit of each store call, in seconds.
        max_loads: maximum number of concurrent look-ups; further ones wait.
        observer: receives look-ups, stored entries and failures, as cache "embedding".
        clock: returns seconds since the epoch.

    Raises:
        InvalidInput: no store is given, or a number is not positive.
    """

    name = "embedding"

    def __init__(
        self,
        embedder: Embedder,
        stores: Sequence[KeyValueStore],
        *,
        scope: Scope = EVERYBODY,
        ttl: float | None = None,
        deadline: float = DEADLINE,
        max_loads: int = MAX_LOADS,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not stores:
            raise InvalidInput("stores", stores, "at least one store")
        check_positive(deadline=deadline, max_loads=max_loads, ttl=1 if ttl is None else ttl)
        self._embedder = embedder
        self._stores = tuple(stores)
        self._scope = scope
        self._ttl = ttl
        self._deadline = deadline
        self._observer = observer or Observer()
        self._clock = clock
        self._tasks = Tasks()
        self._room = asyncio.Semaphore(max_loads)
        self._flights: dict[_FlightId, asyncio.Future[Floats]] = {}
        self._hits = self._misses = 0
        self._deletions = 0

    @property
    def fingerprint(self) -> str:
        """See ``Embedder.fingerprint``."""
        return self._embedder.fingerprint

    @property
    def dimension(self) -> int:
        """See ``Embedder.dimension``."""
        return self._embedder.dimension

    @property
    def max_tokens(self) -> int | None:
        """See ``Embedder.max_tokens``."""
        return self._embedder.max_tokens

    @property
    def truncated(self) -> int:
        """See ``Embedder.truncated``; texts found in a store are not counted again."""
        return self._embedder.truncated

    async def open(self) -> None:
        """Open the stores. An unavailable store is skipped, and used once it works."""
        for store in self._stores:
            await self._tolerate(store, "open", store.open())

    async def close(self) -> None:
        """Finish pending writes, then close the stores and the embedder."""
        await self._tasks.drain()
        for store in self._stores:
            await self._tolerate(store, "close", store.close())
        await self._embedder.close()

    async def embed(self, texts: Sequence[str], *, scope: Scope | None = None) -> Floats:
        """Return vectors (n, d) float32 of length 1, from the cached entries of ``scope`` or from the embedder.

        Raises:
            InvalidInput: an item of ``texts`` is not a string.
            VectorCacheError: the embedder failed.
        """
        check_texts(texts)
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        start, scope = time.perf_counter(), scope or self._scope
        keys = [self._key(text) for text in texts]
        answers, shared = self._join(scope, dict(zip(keys, texts, strict=True)))
        await asyncio.wait(answers.values())
        vectors = np.stack([answers[key].result() for key in keys])
        self._hits += len(shared)
        for key in shared:
            self._report(scope, Outcome.EXACT, start, key=key)
        return vectors

    async def delete_where(self, selection: Selection) -> int:
        """Delete all selected entries from every store, and return the number of distinct ones.

        A pattern is matched against ``<fingerprint>:<SHA-256 of the text>``, because texts are not stored.
        """
        self._deletions += 1
        count = 0
        failures: dict[KeyValueStore, Unavailable] = {}
        for store in self._stores:
            try:
                count += await self._delete_from(store, _of_this_cache(selection), failures)
            except Unavailable as error:
                failures[store] = error
        if failures:
            raise next(iter(failures.values()))
        return count

    async def export(self, selection: Selection = EVERYTHING) -> AsyncIterator[Record]:
        """Yield every selected entry once. Keeps the identities from all stores except the last one in memory."""
        seen: set[_FlightId] = set()
        for store in self._stores:
            async for entry in store.scan(_of_this_cache(selection)):
                identity = (entry.scope, entry.key)
                if identity in seen:
                    continue
                if store is not self._stores[-1]:
                    seen.add(identity)
                yield to_record(entry)

    async def restore(self, records: Sequence[Record]) -> int:
        """Write exported entries to every store, and return how many have not expired."""
        entries = [from_record(record) for record in records]
        for entry in entries:
            if not entry.key.startswith(PREFIX):
                raise InvalidInput("record.key", entry.key, f"a key that begins with {PREFIX}")
        now = self._clock()
        living = [entry for entry in entries if entry.expires_at is None or entry.expires_at > now]
        for store in self._stores:
            await store.put(*living)
        return len(living)

    async def health(self) -> Sequence[PartHealth]:
        """Check each store by reading a key, and the embedder by embedding a text."""
        stores = (
            self._probe(one.name, self._deadline, one.get(self._scope, "health")) for one in self._stores
        )
        embedder = self._probe("embedder", HEALTH_SECONDS, self._embedder.embed(["health"]))
        return await asyncio.gather(*stores, embedder)

    async def stats(self) -> Mapping[str, Any]:
        """Return hits (including shared look-ups), misses, and the counters of each store that answers."""
        tiers = []
        for store in self._stores:
            counted = await self._call_store(store, "stats", store.stats())
            tiers.append({"name": store.name, **(asdict(counted) if counted else {})})
        return {
            "fingerprint": self.fingerprint,
            "hits": self._hits,
            "misses": self._misses,
            "truncated": self.truncated,
            "tiers": tiers,
        }

    def _key(self, text: str) -> str:
        return f"{PREFIX}{self.fingerprint}:{hashlib.sha256(text.encode()).hexdigest()}"

    def _join(
        self, scope: Scope, texts: Mapping[str, str]
    ) -> tuple[dict[str, asyncio.Future[Floats]], list[str]]:
        """Return the pending answers by key, and the keys that other calls are loading. Start loading the rest."""
        loop = asyncio.get_running_loop()
        new = {key: text for key, text in texts.items() if (scope, key) not in self._flights}
        for key in new:
            self._flights[scope, key] = loop.create_future()
        answers = {key: self._flights[scope, key] for key in texts}
        if new:
            self._tasks.start(self._load(scope, new, {key: answers[key] for key in new}))
        return answers, [key for key in texts if key not in new]

    async def _load(
        self, scope: Scope, texts: Mapping[str, str], answers: Mapping[str, asyncio.Future[Floats]]
    ) -> None:
        deletions = self._deletions
        try:
            async with self._room:
                copies = await self._look_up(scope, answers)
                copies += await self._embed_missing(scope, texts, answers)
                for store, entries in copies:
                    await self._write(store, entries, deletions)
        except Exception as error:  # noqa: BLE001 - passed to the waiting callers
            for answer in answers.values():
                _fail(answer, error)
        finally:
            for key, answer in answers.items():
                answer.cancel()  # no effect unless this task was cancelled
                del self._flights[scope, key]

    async def _look_up(
        self, scope: Scope, answers: Mapping[str, asyncio.Future[Floats]]
    ) -> list[tuple[KeyValueStore, list[Entry]]]:
        """Resolve answers from the stores, and return the entries to promote to each store."""
        start = time.perf_counter()
        copies = []
        for depth, store in enumerate(self._stores):
            missing = [key for key, answer in answers.items() if not answer.done()]
            if not missing:
                break
            asked = time.perf_counter()
            entries = await self._call_store(store, "get", store.get_many(scope, missing))
            found = [
                entry for key, entry in (entries or {}).items() if self._answer(store, answers[key], entry)
            ]
            absent = Outcome.FAILED if entries is None else Outcome.MISS
            for key in missing:
                there = answers[key].done()
                self._report(scope, Outcome.EXACT if there else absent, asked, tier=store.name)
                if there:
                    self._report(scope, Outcome.EXACT, start, key=key)
            copies += [(above, found) for above in self._stores[:depth] if found]
        return copies

    def _answer(self, store: KeyValueStore, answer: asyncio.Future[Floats], entry: Entry) -> bool:
        if len(entry.value) != 4 * self.dimension:
            error = CorruptData(f"{len(entry.value)} bytes are not a vector of {self.dimension} components")
            self._observer.failed(self.name, store.name, "get", error)
            return False
        self._hits += 1
        answer.set_result(np.frombuffer(entry.value, dtype="<f4").astype(np.float32))
        return True

    async def _embed_missing(
        self, scope: Scope, texts: Mapping[str, str], answers: Mapping[str, asyncio.Future[Floats]]
    ) -> list[tuple[KeyValueStore, list[Entry]]]:
        """Embed the remaining texts, and return the entries to write to each store."""
        missing = [key for key, answer in answers.items() if not answer.done()]
        if not missing:
            return []
        start = time.perf_counter()
        vectors = await self._embedder.embed([texts[key] for key in missing])
        self._misses += len(missing)
        now = self._clock()
        end = None if self._ttl is None else now + self._ttl
        for key, vector in zip(missing, vectors, strict=True):
            answers[key].set_result(vector)
            self._report(scope, Outcome.MISS, start, key=key)
        entries = [
            Entry(scope, key, vector.astype("<f4").tobytes(), now, end)
            for key, vector in zip(missing, vectors, strict=True)
        ]
        return [(store, entries) for store in self._stores]

    async def _write(self, store: KeyValueStore, entries: Sequence[Entry], deletions: int) -> None:
        """Write entries, unless a deletion has started since their look-up, which may have selected them."""

        async def put() -> bool:
            await store.put(*entries)
            return True

        if self._deletions != deletions:
            return
        if await self._call_store(store, "put", put()):
            for entry in entries:
                self._observer.stored(self.name, entry.scope.tenant, store.name, len(entry.value))
        if self._deletions != deletions:
            await self._call_store(
                store, "delete", store.delete(entries[0].scope, *(one.key for one in entries))
            )

    def _report(self, scope: Scope, outcome: Outcome, start: float, *, tier: str = "", key: str = "") -> None:
        """Report a look-up to the observer: with ``key`` for the whole cache, or with ``tier`` for one store."""
        seconds = time.perf_counter() - start
        digest = key.rpartition(":")[2]
        self._observer.looked_up(self.name, scope.tenant, outcome, seconds, tier=tier, key=digest)

    async def _delete_from(
        self, store: KeyValueStore, selection: Selection, failures: dict[KeyValueStore, Unavailable]
    ) -> int:
        """Delete the selected entries of a store from all stores that have not failed, so each is counted once."""
        count = 0
        batch: dict[Scope, list[str]] = {}
        async for entry in store.scan(selection):
            batch.setdefault(entry.scope, []).append(entry.key)
            count += 1
            if count % DELETE_BATCH == 0:
                await self._delete_everywhere(batch, failures)
                batch = {}
        await self._delete_everywhere(batch, failures)
        return count

    async def _delete_everywhere(
        self, batch: Mapping[Scope, Sequence[str]], failures: dict[KeyValueStore, Unavailable]
    ) -> None:
        for store in self._stores:
            if store in failures:
                continue
            try:
                for scope, keys in batch.items():
                    self._observer.removed(
                        self.name, store.name, await store.delete(scope, *keys), "invalidated"
                    )
            except Unavailable as error:
                failures[store] = error

    async def _probe(self, part: str, seconds: float, call: Awaitable[object]) -> PartHealth:
        start = time.perf_counter()
        try:
            async with asyncio.timeout(seconds):
                await call
        except Exception as error:  # noqa: BLE001 - any failure means that the part is unhealthy
            return PartHealth(part, False, str(error) or "timed out", time.perf_counter() - start)
        return PartHealth(part, True, "", time.perf_counter() - start)

    async def _call_store(self, store: KeyValueStore, operation: str, call: Awaitable[T]) -> T | None:
        """Await a store call within the deadline. Report a failure to the observer, and return None."""

        async def within() -> T:
            try:
                async with asyncio.timeout(self._deadline):
                    return await call
            except TimeoutError as error:
                raise DeadlineExceeded(f"{operation}: not done within {self._deadline:g} s") from error

        return await self._tolerate(store, operation, within())

    async def _tolerate(self, store: KeyValueStore, operation: str, call: Awaitable[T]) -> T | None:
        try:
            return await call
        except Exception as error:  # noqa: BLE001 - a failing store must not fail the caller
            self._observer.failed(self.name, store.name, operation, error)
            return None


def _of_this_cache(selection: Selection) -> Selection:
    return replace(selection, pattern=PREFIX + ("*" if selection.pattern is None else selection.pattern))


def _fail(answer: asyncio.Future[Floats], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # marks the exception as retrieved, in case no caller is left
