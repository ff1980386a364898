"""An in-process index whose entries are persisted in a key-value store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from vectorcache.concurrency import Tasks
from vectorcache.vectors.metric import Floats
from vectorcache_llm.kv.base import Entry, KeyValueStore
from vectorcache_llm.scope import EVERYTHING, Scope, Selection
from vectorcache_llm.similarity.base import IndexEntry, IndexStats, Match, Partition, SimilarityIndex
from vectorcache_llm.similarity.codec import decode_entry, encode_entry

BATCH = 256


class DiskIndex(SimilarityIndex):
    """An in-process index that also writes its entries to a store, and reads them back when it is opened.

    It supports one process at a time: entries that other processes add are found after the next ``open``. Entries that
    are evicted from memory stay in the store, which has separate limits; deletions and scans still reach them. Entries
    of another embedder in the store are visible to deletions only.

    Args:
        index: in-process index that is searched; opened and closed by this object.
        store: store that persists the entries; opened and closed by this object, and not shared.
    """

    name = "disk"

    def __init__(self, index: SimilarityIndex, store: KeyValueStore) -> None:
        self._index = index
        self._store = store
        self._prefix = hashlib.sha256(index.fingerprint.encode()).hexdigest()[:16] + ":"
        self._ours = self._prefix + "*"
        self._lock = asyncio.Lock()  # so that store and memory see changes in the same order
        self._tasks = Tasks()
        self._open = False

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the embedder whose vectors are accepted."""
        return self._index.fingerprint

    @property
    def dimension(self) -> int:
        """Number of components of a vector."""
        return self._index.dimension

    async def open(self) -> None:
        """Read all entries of the store; a second call does nothing. Reading continues if the caller is cancelled."""
        await self._tasks.complete(self._load())

    async def close(self) -> None:
        """See ``SimilarityIndex.close``."""
        await self._tasks.drain()
        await self._index.close()
        await self._store.close()

    async def add(self, entries: Sequence[IndexEntry]) -> None:
        """See ``SimilarityIndex.add``."""
        async with self._lock:
            await self._index.add(entries)  # validates the entries
            await self._store.put(*(self._as_stored(entry) for entry in entries))

    async def get(self, scope: Scope, id: str) -> IndexEntry | None:  # noqa: A002 - the field's name
        """See ``SimilarityIndex.get``."""
        return await self._index.get(scope, id)

    async def search(
        self, partition: Partition, vector: Floats, k: int = 1, min_similarity: float = 0.0
    ) -> list[Match]:
        """See ``SimilarityIndex.search``."""
        return await self._index.search(partition, vector, k, min_similarity)

    async def delete(self, scope: Scope, *ids: str) -> int:
        """See ``SimilarityIndex.delete``."""
        async with self._lock:
            await self._index.delete(scope, *ids)
            return await self._store.delete(scope, *(self._prefix + one for one in ids))

    async def delete_where(self, selection: Selection) -> int:
        """See ``SimilarityIndex.delete_where``."""
        async with self._lock:
            await self._index.delete_where(selection)
            return await self._delete_stored(selection)

    async def scan(self, selection: Selection = EVERYTHING) -> AsyncIterator[IndexEntry]:
        """See ``SimilarityIndex.scan``."""
        async for _, entry in self._selected(selection, self._ours):
            yield entry

    async def stats(self) -> IndexStats:
        """Return the size of the index in memory."""
        return await self._index.stats()

    async def _delete_stored(self, selection: Selection) -> int:
        """Delete from the store the selected entries of all embedders, so that none of them reappears later."""
        if selection.pattern is None:
            return await self._store.delete_where(selection)
        deleted = 0
        async for stored, _ in self._selected(selection, None):
            deleted += await self._store.delete(stored.scope, stored.key)
        return deleted

    async def _selected(
        self, selection: Selection, keys: str | None
    ) -> AsyncIterator[tuple[Entry, IndexEntry]]:
        """Yield the selected entries among the store's ``keys``. The store cannot match a pattern on ids and texts."""
        async for stored in self._store.scan(replace(selection, pattern=keys)):
            entry = decode_entry(stored.value)
            if selection.matches(stored.scope, stored.created_at, stored.tags, entry.id, entry.text):
                yield stored, entry

    async def _load(self) -> None:
        async with self._lock:
            if self._open:
                return
            await self._store.open()
            await self._index.open()
            batch: list[IndexEntry] = []
            async for entry in self.scan():
                batch.append(entry)
                if len(batch) == BATCH:
                    await self._index.add(batch)
                    batch = []
            await self._index.add(batch)
            self._open = True

    def _as_stored(self, entry: IndexEntry) -> Entry:
        return Entry(
            entry.partition.scope,
            self._prefix + entry.id,
            encode_entry(entry),
            entry.created_at,
            entry.expires_at,
            entry.tags,
        )
