"""An index in process whose entries outlive it in a key-value store."""

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
    """Searches what is in memory; what is added is in the store too, and comes back from there when it is opened.

    For one process at a time: what others add to the store is found after the next ``open``. Entries that leave
    memory for want of room stay in the store, where deletions and scans reach them; the store has a bound of its own.
    Entries of another embedder in the store are found by deletions only.

    Args:
        index: finds; an index in process, opened and closed by this object.
        store: keeps; opened and closed by this object, and used by nothing else.
    """

    name = "disk"

    def __init__(self, index: SimilarityIndex, store: KeyValueStore) -> None:
        self._index = index
        self._store = store
        self._prefix = hashlib.sha256(index.fingerprint.encode()).hexdigest()[:16] + ":"
        self._ours = self._prefix + "*"
        self._lock = asyncio.Lock()  # of changes, so that store and memory see them in the same order
        self._tasks = Tasks()
        self._open = False

    @property
    def fingerprint(self) -> str:
        """Of the embedder whose vectors it takes."""
        return self._index.fingerprint

    @property
    def dimension(self) -> int:
        """Components of a vector."""
        return self._index.dimension

    async def open(self) -> None:
        """Read all that the store has; a second call does nothing. Goes on if its caller gives up waiting."""
        await self._tasks.complete(self._load())

    async def close(self) -> None:
        """See ``SimilarityIndex.close``."""
        await self._tasks.drain()
        await self._index.close()
        await self._store.close()

    async def add(self, entries: Sequence[IndexEntry]) -> None:
        """See ``SimilarityIndex.add``."""
        async with self._lock:
            await self._index.add(entries)  # which checks them
            await self._store.put(*(self._kept(entry) for entry in entries))

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
            return await self._delete_kept(selection)

    async def scan(self, selection: Selection = EVERYTHING) -> AsyncIterator[IndexEntry]:
        """See ``SimilarityIndex.scan``."""
        async for _, entry in self._selected(selection, self._ours):
            yield entry

    async def stats(self) -> IndexStats:
        """What can be found now, in memory."""
        return await self._index.stats()

    async def _delete_kept(self, selection: Selection) -> int:
        """From the store, whichever embedder the entries are of: what must not be seen again must not come back."""
        if selection.pattern is None:
            return await self._store.delete_where(selection)
        gone = 0
        async for kept, _ in self._selected(selection, None):
            gone += await self._store.delete(kept.scope, kept.key)
        return gone

    async def _selected(
        self, selection: Selection, keys: str | None
    ) -> AsyncIterator[tuple[Entry, IndexEntry]]:
        """What is selected among some of the store's keys; it knows not the ids and texts that a pattern is about."""
        async for kept in self._store.scan(replace(selection, pattern=keys)):
            entry = decode_entry(kept.value)
            if selection.matches(kept.scope, kept.created_at, kept.tags, entry.id, entry.text):
                yield kept, entry

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

    def _kept(self, entry: IndexEntry) -> Entry:
        return Entry(
            entry.partition.scope,
            self._prefix + entry.id,
            encode_entry(entry),
            entry.created_at,
            entry.expires_at,
            entry.tags,
        )
