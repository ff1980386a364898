"""A cache with JSON values in a key-value store, whose texts can be found by similarity."""

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
"""Number of entries in one batch."""


class Searchable(NamedTuple):
    """The text by which an entry is found, and the context to which searches are limited."""

    context: str
    text: str


class Found(NamedTuple):
    """The key of an entry, its text, and its similarity."""

    key: str
    text: str
    similarity: float


class StoredCache(ManagedCache):
    """A cache whose source of truth is a store. The index only finds keys, so an entry missing there is found by key.

    This object opens and closes the store and the index, but not the embedder, which caches share.

    Args:
        store: store of the values.
        embedder, index: for similarity; both or none.
        observer: receives lookups and failures.
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
        """Return the text by which an entry is found, or None.

        Raises:
            CorruptData: the entry does not have a value of this cache.
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
        """See ``ManagedCache``. ``pattern`` is matched with keys and with the indexed texts."""
        try:
            gone = await self._delete_stored(selection)
        finally:  # even if the store failed; the store goes first: see ``_remove_deleted``
            await self._delete_indexed(selection)
        self._observer.removed(self.name, "", gone, "invalidated")
        return gone

    async def delete_similar(self, scope: Scope, text: str, min_similarity: float) -> int:
        """See ``ManagedCache``. Scans all texts of the scope, since an approximate search could miss some."""
        if self._index is None:
            raise Unsupported(f"the {self.name} cache has no index")
        index = await self._index()
        vector = await self._embed([text])
        near = [
            one
            async for one in index.scan(Selection.of(scope))
            if float(one.vector @ vector[0]) >= min_similarity
        ]
        for batch in _batches(
            near
        ):  # the index last: a retry after a failure finds the remaining entries by it
            await self._drop(scope, [one.payload.decode() for one in batch])
            await index.delete(scope, *(one.id for one in batch))
        self._observer.removed(self.name, "", len(near), "invalidated")
        return len(near)

    async def _drop(self, scope: Scope, keys: Sequence[str]) -> None:
        """Delete entries, and values derived from them, from the store."""
        await (await self._store()).delete(scope, *keys)

    async def export(self, selection: Selection = EVERYTHING) -> AsyncIterator[Record]:
        """See ``ManagedCache``. Damaged entries are skipped and reported to the observer."""
        async for entry in self._selected(selection, damaged=False):
            yield to_record(entry)

    async def restore(self, records: Sequence[Record]) -> int:
        """See ``ManagedCache``. Texts are embedded again."""
        now = self._clock()
        entries = [self._checked(from_record(record)) for record in records]
        living = [entry for entry in entries if entry.expires_at is None or entry.expires_at > now]
        for batch in _batches(living):
            await (await self._store()).put(*batch)
            await self._add_to_index(batch)
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
            raise InvalidInput("record.value", entry.key, f"a value of this cache ({error})") from error
        return entry

    async def _add_to_index(self, entries: Sequence[Entry]) -> None:
        """Add entries to the index. If this fails, they are found by key only."""
        texts = [(entry, text) for entry in entries if (text := self._searchable(entry)) is not None]
        if self._index is None or not texts:
            return
        try:
            vectors = await self._embed([text.text for _, text in texts])
            found = [
                _indexed(entry, text, vector) for (entry, text), vector in zip(texts, vectors, strict=True)
            ]
            await (await self._index()).add(found)
            await self._remove_deleted([entry for entry, _ in texts])
        except VectorCacheError as error:
            self._failed("index", error)

    async def _remove_deleted(self, entries: Sequence[Entry]) -> None:
        """Remove entries from the index that were deleted from the store meanwhile.

        1. A writer stores an entry and embeds its text.
        2. A deletion removes the entry from the store, then from the index, where it is not yet.
        3. The writer adds the entry to the index, so it must check the store again.
        """
        keys: dict[Scope, list[str]] = {}
        for entry in entries:
            keys.setdefault(entry.scope, []).append(entry.key)
        for scope, put in keys.items():
            there = await (await self._store()).get_many(scope, put)
            await self._unindex(scope, [key for key in put if key not in there])

    async def _similar(self, partition: Partition, text: str, k: int, min_similarity: float) -> list[Found]:
        """Return the entries whose texts are most similar.

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
        """Delete entries from the store and the index, and return how many the store had."""
        await self._unindex(scope, keys)  # a retry after a failure finds the keys in the store
        gone = await (await self._store()).delete(scope, *keys)
        await self._unindex(scope, keys)  # entries indexed meanwhile
        return gone

    async def _unindex(self, scope: Scope, keys: Sequence[str]) -> None:
        if self._index is not None and keys:
            await (await self._index()).delete(scope, *map(_id, keys))

    async def _selected(self, selection: Selection, *, damaged: bool = True) -> AsyncIterator[Entry]:
        """Yield the selected entries. The pattern is matched here, because the store does not know the texts."""
        anything = replace(selection, pattern=None)
        async for entry in (await self._store()).scan(anything):
            text = self._text(entry)
            if text is None and not damaged:
                continue
            if selection.matches(entry.scope, entry.created_at, entry.tags, entry.key, text or ""):
                yield entry

    def _text(self, entry: Entry) -> str | None:
        """Return the indexed text of an entry, or None if it is damaged, so that the others can be processed."""
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
        """Delete by the index's own metadata, so that this works and can be repeated even if the store fails."""
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
    """Return the index id of a key, which may be too long for an index."""
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
