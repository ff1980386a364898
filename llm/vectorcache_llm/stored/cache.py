"""A cache whose values are JSON in a key-value store and whose texts are found by similarity."""

from __future__ import annotations

import asyncio
import hashlib
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple, TypeVar

from vectorcache.errors import CorruptData, InvalidInput, VectorCacheError
from vectorcache_llm.embedders.base import Embedder
from vectorcache_llm.errors import FingerprintMismatch, Unsupported
from vectorcache_llm.kv.base import Entry, KeyValueStore
from vectorcache_llm.kv.records import from_record, to_record
from vectorcache_llm.managed import ManagedCache, PartHealth, Record
from vectorcache_llm.observer import Observer
from vectorcache_llm.scope import EVERYBODY, EVERYTHING, Scope, Selection
from vectorcache_llm.similarity.base import IndexEntry, Partition, SimilarityIndex
from vectorcache_llm.stored.parts import Opened, probe

T = TypeVar("T")

BATCH = 256
"""Entries that are worked on at once."""


class Searchable(NamedTuple):
    """A text by which an entry is found, and the context within which it is."""

    context: str
    text: str


class Found(NamedTuple):
    """An entry's key, the text that was compared, and its similarity."""

    key: str
    text: str
    similarity: float


class StoredCache(ManagedCache):
    """The store has the truth; the index only finds keys, so that what it lost is found by key all the same.

    The store and the index are opened and closed by this object, the embedder is not: caches share it.

    Args:
        store: where the values are.
        embedder, index: for similarity; both or none.
        observer: hears of look-ups and failures.
        clock: seconds since the epoch.

    Raises:
        InvalidInput: one of ``embedder`` and ``index`` is missing.
        FingerprintMismatch: the index is for another embedder.
    """

    def __init__(
        self,
        store: KeyValueStore,
        embedder: Embedder | None = None,
        index: SimilarityIndex | None = None,
        *,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if (embedder is None) != (index is None):
            raise InvalidInput("embedder, index", (embedder, index), "both or none")
        if embedder is not None and index is not None and embedder.fingerprint != index.fingerprint:
            raise FingerprintMismatch(index.fingerprint, embedder.fingerprint)
        self._store = Opened(store)
        self._index = None if index is None else Opened(index)
        self._embedder = embedder
        self._observer = observer or Observer()
        self._clock = clock

    @abstractmethod
    def _searchable(self, entry: Entry) -> Searchable | None:
        """The text by which an entry is found, or None.

        Raises:
            CorruptData: the entry's value is not what this cache stores.
        """

    async def open(self) -> None:
        """See ``ManagedCache``."""
        for part in (self._store, self._index):
            if part is not None:
                try:
                    await part()
                except VectorCacheError as error:
                    self._failed("open", error)

    async def close(self) -> None:
        """See ``ManagedCache``."""
        await self._store.close()
        if self._index is not None:
            await self._index.close()

    async def delete_where(self, selection: Selection) -> int:
        """See ``ManagedCache``. ``pattern`` is matched with keys and with the texts that are compared."""
        try:
            gone = await self._delete_stored(selection)
        finally:  # each whatever the other does; the store first: see ``_take_back``
            await self._delete_indexed(selection)
        self._observer.removed(self.name, "", gone, "invalidated")
        return gone

    async def delete_similar(self, scope: Scope, text: str, min_similarity: float) -> int:
        """See ``ManagedCache``. Compares with every text of the scope: what must go is not left to approximation."""
        if self._index is None:
            raise Unsupported(f"the {self.name} cache has no index")
        index = await self._index()
        vector = await self._embed([text])
        near = [
            one
            async for one in index.scan(Selection.of(scope))
            if float(one.vector @ vector[0]) >= min_similarity
        ]
        for batch in _batches(near):  # the index last: who tries again after a failure finds the rest by it
            await self._drop(scope, [one.payload.decode() for one in batch])
            await index.delete(scope, *(one.id for one in batch))
        self._observer.removed(self.name, "", len(near), "invalidated")
        return len(near)

    async def _drop(self, scope: Scope, keys: Sequence[str]) -> None:
        """Delete entries, and what was made of them, from the store."""
        await (await self._store()).delete(scope, *keys)

    async def export(self, selection: Selection = EVERYTHING) -> AsyncIterator[Record]:
        """See ``ManagedCache``. Damaged entries are left out, and told to the observer."""
        async for entry in self._selected(selection, damaged=False):
            yield to_record(entry)

    async def restore(self, records: Sequence[Record]) -> int:
        """See ``ManagedCache``. Texts are embedded anew."""
        now = self._clock()
        entries = [self._checked(from_record(record)) for record in records]
        living = [entry for entry in entries if entry.expires_at is None or entry.expires_at > now]
        for batch in _batches(living):
            await (await self._store()).put(*batch)
            await self._find_by_text(batch)
        return len(living)

    async def health(self) -> Sequence[PartHealth]:
        """See ``ManagedCache``."""

        async def read() -> None:
            await (await self._store()).get(EVERYBODY, "health")

        async def count() -> None:
            if self._index is not None:
                await (await self._index()).stats()

        probes = [probe("store", read)]
        if self._index is not None:
            probes += [probe("index", count), probe("embedder", lambda: self._embed(["health"]))]
        return await asyncio.gather(*probes)

    async def stats(self) -> Mapping[str, Any]:
        """See ``ManagedCache``."""
        found: dict[str, Any] = asdict(await (await self._store()).stats())
        if self._index is not None:
            found["index"] = asdict(await (await self._index()).stats())
        return found

    def _checked(self, entry: Entry) -> Entry:
        try:
            self._searchable(entry)
        except CorruptData as error:
            raise InvalidInput("record.value", entry.key, f"what this cache stores ({error})") from error
        return entry

    async def _find_by_text(self, entries: Sequence[Entry]) -> None:
        """Make entries findable by their texts; where this fails, they are found by key only."""
        texts = [(entry, text) for entry in entries if (text := self._searchable(entry)) is not None]
        if self._index is None or not texts:
            return
        try:
            vectors = await self._embed([text.text for _, text in texts])
            found = [
                _indexed(entry, text, vector) for (entry, text), vector in zip(texts, vectors, strict=True)
            ]
            await (await self._index()).add(found)
            await self._take_back([entry for entry, _ in texts])
        except VectorCacheError as error:
            self._failed("index", error)

    async def _take_back(self, entries: Sequence[Entry]) -> None:
        """What was deleted while it was embedded must not stay in the index; deletions leave the store first."""
        keys: dict[Scope, list[str]] = {}
        for entry in entries:
            keys.setdefault(entry.scope, []).append(entry.key)
        for scope, put in keys.items():
            there = await (await self._store()).get_many(scope, put)
            await self._unindex(scope, [key for key in put if key not in there])

    async def _similar(self, partition: Partition, text: str, k: int, min_similarity: float) -> list[Found]:
        """Keys of the entries whose texts are most similar.

        Raises:
            Unsupported: there is no index.
            Unavailable: the embedder or the index failed.
        """
        if self._index is None:
            raise Unsupported(f"the {self.name} cache has no index")
        vector = await self._embed([text])
        matches = await (await self._index()).search(partition, vector[0], k, min_similarity)
        return [Found(entry.payload.decode(), entry.text, similarity) for entry, similarity in matches]

    async def _embed(self, texts: Sequence[str]) -> Any:
        assert self._embedder is not None
        return await self._embedder.embed(texts)

    async def _delete(self, scope: Scope, keys: Sequence[str]) -> int:
        """Delete entries from the store and the index; say how many the store had."""
        await self._unindex(scope, keys)  # who tries again after a failure finds the keys by the store
        gone = await (await self._store()).delete(scope, *keys)
        await self._unindex(scope, keys)  # what was being put meanwhile
        return gone

    async def _unindex(self, scope: Scope, keys: Sequence[str]) -> None:
        if self._index is not None and keys:
            await (await self._index()).delete(scope, *map(_id, keys))

    async def _selected(self, selection: Selection, *, damaged: bool = True) -> AsyncIterator[Entry]:
        """Selected entries; the pattern is matched here, since the store does not know the texts."""
        anything = replace(selection, pattern=None)
        async for entry in (await self._store()).scan(anything):
            text = self._text(entry)
            if text is None and not damaged:
                continue
            if selection.matches(entry.scope, entry.created_at, entry.tags, entry.key, text or ""):
                yield entry

    def _text(self, entry: Entry) -> str | None:
        """What is compared; None for a damaged entry, which must not stand in the way of the others."""
        try:
            found = self._searchable(entry)
        except CorruptData as error:
            self._failed("read", error)
            return None
        return "" if found is None else found.text

    async def _delete_stored(self, selection: Selection) -> int:
        store = await self._store()
        if selection.pattern is None:
            return await store.delete_where(selection)
        gone = 0
        for scope, keys in (
            await _by_scope(self._selected(selection), lambda one: (one.scope, one.key))
        ).items():
            for batch in _batches(keys):
                gone += await store.delete(scope, *batch)
        return gone

    async def _delete_indexed(self, selection: Selection) -> None:
        """By what the index itself holds, so that it works, and can be repeated, whatever the store does."""
        if self._index is None:
            return
        index = await self._index()
        if selection.pattern is None:
            await index.delete_where(selection)
            return
        ours = (
            one
            async for one in index.scan(replace(selection, pattern=None))
            if selection.matches(
                one.partition.scope, one.created_at, one.tags, one.payload.decode(), one.text
            )
        )
        for scope, ids in (await _by_scope(ours, lambda one: (one.partition.scope, one.id))).items():
            for batch in _batches(ids):
                await index.delete(scope, *batch)

    def _failed(self, operation: str, error: BaseException) -> None:
        self._observer.failed(self.name, "", operation, error)


def _indexed(entry: Entry, found: Searchable, vector: Any) -> IndexEntry:
    return IndexEntry(
        _id(entry.key),
        Partition(entry.scope, found.context),
        vector,
        found.text,
        entry.key.encode(),
        entry.created_at,
        entry.expires_at,
        entry.tags,
        entry.metadata,
    )


def _id(key: str) -> str:
    """Keys may be longer than what an index takes."""
    return hashlib.sha256(key.encode()).hexdigest()


async def _by_scope(
    entries: AsyncIterator[T], place: Callable[[T], tuple[Scope, str]]
) -> dict[Scope, list[str]]:
    found: dict[Scope, list[str]] = {}
    async for entry in entries:
        scope, name = place(entry)
        found.setdefault(scope, []).append(name)
    return found


def _batches(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[at : at + BATCH] for at in range(0, len(items), BATCH))
