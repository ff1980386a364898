"""The in-process index: one shard per partition, with common limits."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeAlias

from vectorcache.concurrency import Tasks
from vectorcache.errors import InvalidInput
from vectorcache.lru import LRU, Removal
from vectorcache.vectors.metric import Floats
from vectorcache_llm.kv.expiry import Expiries
from vectorcache_llm.scope import EVERYTHING, Scope, Selection
from vectorcache_llm.similarity.base import IndexEntry, IndexStats, Match, Partition, SimilarityIndex
from vectorcache_llm.similarity.checks import check_entries, selects, unit, unit_query
from vectorcache_llm.similarity.local.ann import ANNKind
from vectorcache_llm.similarity.local.shard import Shard, StoredRow

Key: TypeAlias = tuple[Scope, str]

MAX_ENTRIES = 100_000
MAX_BYTES = 1 << 29
STEP = 128
"""Entries processed on the event loop before it yields, which takes some tenths of a millisecond."""
_OVERHEAD_BYTES = 1000


class LocalIndex(SimilarityIndex):
    """In-process index for one event loop. A search reads only the shard of its partition.

    When a limit is reached, the least recently used entries of all scopes are evicted. An entry that is larger than
    ``max_bytes`` is not stored.

    Args:
        fingerprint: fingerprint of the embedder.
        dimension: number of components of its vectors.
        ann_kind: kind of ANN index for large partitions; None always compares all vectors.
        max_entries: maximum number of entries.
        max_bytes: approximate memory limit, in bytes.
        clock: returns seconds since the epoch.
        on_removed: called with the number of removed entries and the reason, "evicted" or "expired".
    """

    name = "memory"

    def __init__(
        self,
        fingerprint: str,
        dimension: int,
        ann_kind: ANNKind | None = None,
        *,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.time,
        on_removed: Callable[[int, str], None] | None = None,
    ) -> None:
        if max_entries < 1:
            raise InvalidInput("max_entries", max_entries, "1 or more")
        self._fingerprint = fingerprint
        self._dimension = dimension
        self._ann_kind = ann_kind
        self._clock = clock
        self._on_removed = on_removed
        self._tasks = Tasks()
        self._shards: dict[Partition, Shard] = {}
        self._expiries = Expiries()
        self._entries: LRU[Key, IndexEntry] = LRU(
            max_items=max_entries, max_bytes=max_bytes, weigh=_weigh, on_removal=self._on_removal
        )

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the embedder whose vectors are accepted."""
        return self._fingerprint

    @property
    def dimension(self) -> int:
        """Number of components of a vector."""
        return self._dimension

    async def open(self) -> None:
        """Do nothing: there is nothing to open."""

    async def close(self) -> None:
        """Wait for running background tasks."""
        await self._tasks.drain()

    async def add(self, entries: Sequence[IndexEntry]) -> None:
        """See ``SimilarityIndex.add``."""
        await self._tasks.complete(self._add(await check_entries(entries, self._dimension)))

    async def get(self, scope: Scope, id: str) -> IndexEntry | None:  # noqa: A002 - the field's name
        """See ``SimilarityIndex.get``."""
        entry = self._entries.get((scope, id))
        if entry is None or self._has_expired(entry):
            return None
        return entry

    async def search(
        self, partition: Partition, vector: Floats, k: int = 1, min_similarity: float = 0.0
    ) -> list[Match]:
        """See ``SimilarityIndex.search``."""
        query = unit_query(vector, self._dimension, k)
        if self._due() is not None:
            await self._expire()
        shard = self._shards.get(partition)
        if shard is None or query is None:
            return []
        found = await shard.search(query, k)
        matches = [
            Match(entry, similarity) for similarity, entry in found[:k] if similarity >= min_similarity
        ]
        for entry, _ in matches:
            self._entries.get(_key(entry))  # marks the entry as used
        return matches

    async def delete(self, scope: Scope, *ids: str) -> int:
        """See ``SimilarityIndex.delete``."""
        await self._expire()
        return sum(self._entries.delete((scope, one)) for one in ids)

    async def delete_where(self, selection: Selection) -> int:
        """See ``SimilarityIndex.delete_where``."""
        deleted = 0
        async for entry in self.scan(selection):
            deleted += self._entries.delete(_key(entry))
        return deleted

    async def scan(self, selection: Selection = EVERYTHING) -> AsyncIterator[IndexEntry]:
        """See ``SimilarityIndex.scan``."""
        keys = list(self._entries.keys())
        for start in range(0, len(keys), STEP):
            for key in keys[start : start + STEP]:
                entry = self._entries.peek(key)
                if entry is not None and not self._has_expired(entry) and selects(selection, entry):
                    yield entry
            await asyncio.sleep(0)

    async def stats(self) -> IndexStats:
        """Return the current size; bytes are an estimate."""
        await self._expire()
        return IndexStats(len(self._entries), self._entries.bytes)

    async def _add(self, entries: Sequence[IndexEntry]) -> None:
        stored: dict[Shard, list[StoredRow]] = {}
        await self._expire()
        for start in range(0, len(entries), STEP):
            for entry in entries[start : start + STEP]:
                self._put(entry, stored)
            await asyncio.sleep(0)
        for shard, rows in stored.items():
            await shard.index(rows)

    def _put(self, entry: IndexEntry, stored: dict[Shard, list[StoredRow]]) -> None:
        key = _key(entry)
        fits = self._entries.put(key, entry)
        self._expiries.discard(key)
        if fits and entry.expires_at is not None:
            self._expiries.set(key, entry.expires_at)
        if fits and entry.vector.any():
            shard = self._shards.get(entry.partition)
            if shard is None:
                shard = self._shards[entry.partition] = Shard(self._dimension, self._ann_kind, self._tasks)
            stored.setdefault(shard, []).append(shard.put(entry, unit(entry.vector)))

    def _on_removal(self, key: Key, entry: IndexEntry, reason: Removal) -> None:
        """Update shard and expiries after the LRU has removed an entry."""
        if reason is not Removal.REPLACED:
            self._expiries.discard(key)
        shard = self._shards.get(entry.partition)
        if shard is not None:
            shard.drop(entry.id)
            if not len(shard):
                del self._shards[entry.partition]
        if reason is Removal.EVICTED:
            self._report(1, "evicted")

    def _due(self) -> Key | None:
        first = self._expiries.first()
        return first[1] if first is not None and first[0] <= self._clock() else None

    async def _expire(self) -> None:
        expired = 0
        while (key := self._due()) is not None:
            self._entries.delete(key)
            expired += 1
            if expired % STEP == 0:
                await asyncio.sleep(0)
        if expired:
            self._report(expired, "expired")

    def _has_expired(self, entry: IndexEntry) -> bool:
        return entry.expires_at is not None and entry.expires_at <= self._clock()

    def _report(self, count: int, reason: str) -> None:
        if self._on_removed is not None:
            self._on_removed(count, reason)


def _key(entry: IndexEntry) -> Key:
    return (entry.partition.scope, entry.id)


def _weigh(entry: IndexEntry) -> int:
    """Estimate the memory of an entry, its row in the table and its share of an ANN index."""
    texts = sum(map(sys.getsizeof, (entry.text, *entry.tags, *entry.metadata, *entry.metadata.values())))
    return 3 * entry.vector.nbytes + len(entry.payload) + texts + _OVERHEAD_BYTES
