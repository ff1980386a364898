"""The embedding cache: stores in front of an embedder."""

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
"""Of every key, so that a store may be shared with other caches."""

DEADLINE = 0.1
"""Default, seconds."""

HEALTH_SECONDS = 5.0
"""For the embedder to answer when it is asked how it is."""

MAX_LOADS = 64
"""Default bound on loads under way."""

DELETE_BATCH = 500
"""Keys that are deleted at a time."""


class CachedEmbedder(ManagedCache, Embedder):
    """An embedder whose vectors are kept in stores, the fastest first.

    A text is looked for in one store after the other; what a lower one has is copied to those above, with the end
    of its life unchanged. What none has is embedded in one call and kept in all of them. Callers who want the same
    text at the same time share one look-up and one call. A store that fails, or is later than the deadline, is
    passed over, and the observer hears of it; only the embedder's own errors reach a caller.

    Keys are the embedder's fingerprint and the SHA-256 of the text: no text is stored, and nothing of another
    embedder is ever found.

    A vector depends on its text alone, so that callers share entries unless told otherwise. The time that an answer
    takes then tells whether somebody has embedded the same text before; where that must not be, give each tenant a
    scope with ``embed(texts, scope=...)``.

    Args:
        embedder: opened before, closed with this one.
        stores: opened and closed with this one.
        scope: whose entries are used where ``embed`` is given none.
        ttl: seconds that an entry lives; None for ever.
        deadline: seconds for each call of a store.
        max_loads: look-ups under way at a time; others wait.
        observer: hears of look-ups, of what is stored, and of failures, as cache "embedding".
        clock: seconds since the epoch.

    Raises:
        InvalidInput: there is no store, or a number is not positive.
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
        """Of the embedder."""
        return self._embedder.fingerprint

    @property
    def dimension(self) -> int:
        """Of the embedder."""
        return self._embedder.dimension

    @property
    def max_tokens(self) -> int | None:
        """Of the embedder."""
        return self._embedder.max_tokens

    @property
    def truncated(self) -> int:
        """Of the embedder: a text that was found in a store is not counted again."""
        return self._embedder.truncated

    async def open(self) -> None:
        """Open the stores; one that is away is passed over, and taken up when it is back."""
        for store in self._stores:
            await self._tolerate(store, "open", store.open())

    async def close(self) -> None:
        """Finish what is being stored, then close the stores and the embedder."""
        await self._tasks.drain()
        for store in self._stores:
            await self._tolerate(store, "close", store.close())
        await self._embedder.close()

    async def embed(self, texts: Sequence[str], *, scope: Scope | None = None) -> Floats:
        """Vectors (n, d) float32 of length 1, from the entries of ``scope`` or made now.

        Raises:
            InvalidInput: something among ``texts`` is no string.
            VectorCacheError: of the embedder.
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
            self._tell(scope, Outcome.EXACT, start, key=key)
        return vectors

    async def delete_where(self, selection: Selection) -> int:
        """Delete every selected entry from every store; say how many different ones there were.

        A pattern is compared with ``<fingerprint>:<SHA-256 of the text>``: texts are not known.
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
        """Every selected entry once, whichever stores have it; remembers those of all stores but the last."""
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
        """Keep exported entries in every store; say how many have not expired."""
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
        """Each store, asked for a key, and the embedder, asked for a vector."""
        stores = (
            self._probe(one.name, self._deadline, one.get(self._scope, "health")) for one in self._stores
        )
        embedder = self._probe("embedder", HEALTH_SECONDS, self._embedder.embed(["health"]))
        return await asyncio.gather(*stores, embedder)

    async def stats(self) -> Mapping[str, Any]:
        """Texts whose vector was there or on its way, or was not, and each store's counters, where it answers."""
        tiers = []
        for store in self._stores:
            counted = await self._passing(store, "stats", store.stats())
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
        """The answers to come, and those that are on their way already; the others are looked up together."""
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
                copies += await self._make(scope, texts, answers)
                for store, entries in copies:
                    await self._keep(store, entries, deletions)
        except Exception as error:  # noqa: BLE001 - it is for those who wait
            for answer in answers.values():
                _fail(answer, error)
        finally:
            for key, answer in answers.items():
                answer.cancel()  # only where the task was: an answer that is there stays
                del self._flights[scope, key]

    async def _look_up(
        self, scope: Scope, answers: Mapping[str, asyncio.Future[Floats]]
    ) -> list[tuple[KeyValueStore, list[Entry]]]:
        """Answer what stores have; say what to copy to those above."""
        start = time.perf_counter()
        copies = []
        for depth, store in enumerate(self._stores):
            missing = [key for key, answer in answers.items() if not answer.done()]
            if not missing:
                break
            asked = time.perf_counter()
            entries = await self._passing(store, "get", store.get_many(scope, missing))
            found = [
                entry for key, entry in (entries or {}).items() if self._answer(store, answers[key], entry)
            ]
            absent = Outcome.FAILED if entries is None else Outcome.MISS
            for key in missing:
                there = answers[key].done()
                self._tell(scope, Outcome.EXACT if there else absent, asked, tier=store.name)
                if there:
                    self._tell(scope, Outcome.EXACT, start, key=key)
            copies += [(above, found) for above in self._stores[:depth] if found]
        return copies

    def _answer(self, store: KeyValueStore, answer: asyncio.Future[Floats], entry: Entry) -> bool:
        if len(entry.value) != 4 * self.dimension:
            error = CorruptData(f"{len(entry.value)} bytes are no vector of {self.dimension} components")
            self._observer.failed(self.name, store.name, "get", error)
            return False
        self._hits += 1
        answer.set_result(np.frombuffer(entry.value, dtype="<f4").astype(np.float32))
        return True

    async def _make(
        self, scope: Scope, texts: Mapping[str, str], answers: Mapping[str, asyncio.Future[Floats]]
    ) -> list[tuple[KeyValueStore, list[Entry]]]:
        """Embed what no store has; say what to keep in all of them."""
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
            self._tell(scope, Outcome.MISS, start, key=key)
        entries = [
            Entry(scope, key, vector.astype("<f4").tobytes(), now, end)
            for key, vector in zip(missing, vectors, strict=True)
        ]
        return [(store, entries) for store in self._stores]

    async def _keep(self, store: KeyValueStore, entries: Sequence[Entry], deletions: int) -> None:
        """Keep entries unless something was deleted since they were asked for: it may have been they."""

        async def put() -> bool:
            await store.put(*entries)
            return True

        if self._deletions != deletions:
            return
        if await self._passing(store, "put", put()):
            for entry in entries:
                self._observer.stored(self.name, entry.scope.tenant, store.name, len(entry.value))
        if self._deletions != deletions:
            await self._passing(
                store, "delete", store.delete(entries[0].scope, *(one.key for one in entries))
            )

    def _tell(self, scope: Scope, outcome: Outcome, start: float, *, tier: str = "", key: str = "") -> None:
        """Of a look-up in the cache as a whole by its key, or in one tier."""
        seconds = time.perf_counter() - start
        digest = key.rpartition(":")[2]
        self._observer.looked_up(self.name, scope.tenant, outcome, seconds, tier=tier, key=digest)

    async def _delete_from(
        self, store: KeyValueStore, selection: Selection, failures: dict[KeyValueStore, Unavailable]
    ) -> int:
        """Delete what a store has selected from all that have not failed: what is in several is counted once."""
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
        except Exception as error:  # noqa: BLE001 - whatever it is, the part is not well
            return PartHealth(part, False, str(error) or "late", time.perf_counter() - start)
        return PartHealth(part, True, "", time.perf_counter() - start)

    async def _passing(self, store: KeyValueStore, operation: str, call: Awaitable[T]) -> T | None:
        """Wait within the deadline; a failure is told, and None."""

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
        except Exception as error:  # noqa: BLE001 - a cache's failure is nobody's error
            self._observer.failed(self.name, store.name, operation, error)
            return None


def _of_this_cache(selection: Selection) -> Selection:
    return replace(selection, pattern=PREFIX + ("*" if selection.pattern is None else selection.pattern))


def _fail(answer: asyncio.Future[Floats], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # retrieved, for the case that nobody waits any more
