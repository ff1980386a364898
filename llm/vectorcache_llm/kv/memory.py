"""The in-process store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace

from vectorcache_llm.kv.base import Entry, KeyValueStore, StoreStats
from vectorcache_llm.kv.checks import check_entry, check_key, check_positive
from vectorcache_llm.kv.eviction import EvictionPolicy, eviction_policy
from vectorcache_llm.kv.expiry import EntryId, Expiries
from vectorcache_llm.scope import EVERYTHING, Scope, Selection

MAX_ENTRIES = 100_000
MAX_BYTES = 256 << 20
"""Default limit of the bytes of keys, values, tags and metadata: 256 MiB."""

SCAN_BATCH = 256
"""Entries that a scan examines before it yields to the event loop."""

PURGE_BATCH = 16
"""Maximum number of expired entries that a ``put`` removes, so that they do not accumulate."""


class MemoryStore(KeyValueStore):
    """In-memory store for one event loop, with a limit on entries and bytes. Nothing is persisted.

    Expired entries are removed when they are looked up and, a few at a time, by each ``put``. They are evicted before
    live ones.

    Args:
        max_entries: maximum number of entries.
        max_bytes: maximum total size of keys, values, tags and metadata, in bytes; Python's overhead is not counted.
        policy: eviction policy: "lru", "lfu", "ttl", or an ``EvictionPolicy`` that is not shared.
        clock: returns seconds since the epoch.

    Raises:
        InvalidInput: a limit is not positive, or the policy is unknown.
    """

    name = "memory"

    def __init__(
        self,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
        *,
        policy: str | EvictionPolicy = "lru",
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_positive(max_entries=max_entries, max_bytes=max_bytes)
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._policy = eviction_policy(policy) if isinstance(policy, str) else policy
        self._clock = clock
        self._entries: dict[EntryId, tuple[Entry, int]] = {}
        self._ends = Expiries()
        self._bytes = 0
        self._hits = self._misses = self._evicted = self._expired = 0

    async def open(self) -> None:
        """Do nothing: there is nothing to open."""

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""

    async def get(self, scope: Scope, key: str) -> Entry | None:
        """See ``KeyValueStore.get``."""
        check_key(key)
        return self._look_up((scope, key), self._clock())

    async def get_many(self, scope: Scope, keys: Iterable[str]) -> dict[str, Entry]:
        """See ``KeyValueStore.get_many``."""
        now = self._clock()
        found = {}
        for key in dict.fromkeys(keys):
            check_key(key)
            entry = self._look_up((scope, key), now)
            if entry is not None:
                found[key] = entry
        return found

    async def put(self, *entries: Entry) -> None:
        """See ``KeyValueStore.put``; stores none of the entries if one is invalid."""
        sizes = [check_entry(entry, self._max_bytes) for entry in entries]
        now = self._clock()
        for _ in range(PURGE_BATCH):
            if not self._remove_expired(now):
                break
        for entry, size in zip(entries, sizes, strict=True):
            self._store(entry, size, now)

    async def put_new(self, entry: Entry) -> bool:
        """See ``KeyValueStore.put_new``."""
        size, now = check_entry(entry, self._max_bytes), self._clock()
        present, _ = self._entries.get((entry.scope, entry.key), (None, 0))
        if present is not None and _is_live(present, now):
            return False
        self._store(entry, size, now)
        return True

    async def delete(self, scope: Scope, *keys: str) -> int:
        """See ``KeyValueStore.delete``."""
        now = self._clock()
        for key in keys:
            check_key(key)
        return sum(self._delete((scope, key), now) for key in keys)

    async def scan(self, selection: Selection = EVERYTHING) -> AsyncIterator[Entry]:
        """See ``KeyValueStore.scan``."""
        now = self._clock()
        for count, identity in enumerate(tuple(self._entries), start=1):
            entry, _ = self._entries.get(identity, (None, 0))
            if entry is not None and _is_live(entry, now) and _selected(entry, selection):
                yield entry
            if count % SCAN_BATCH == 0:
                await asyncio.sleep(0)

    async def delete_where(self, selection: Selection) -> int:
        """See ``KeyValueStore.delete_where``."""
        count = 0
        async for entry in self.scan(selection):
            self._remove((entry.scope, entry.key))
            count += 1
        return count

    async def stats(self) -> StoreStats:
        """See ``KeyValueStore.stats``; the size includes expired entries that have not been removed."""
        return StoreStats(
            entries=len(self._entries),
            bytes=self._bytes,
            hits=self._hits,
            misses=self._misses,
            evicted=self._evicted,
            expired=self._expired,
        )

    def _look_up(self, identity: EntryId, now: float) -> Entry | None:
        entry, _ = self._entries.get(identity, (None, 0))
        if entry is not None and _is_live(entry, now):
            self._hits += 1
            self._policy.used(identity)
            return entry
        self._misses += 1
        if entry is not None:
            self._remove(identity)
            self._expired += 1
        return None

    def _store(self, entry: Entry, size: int, now: float) -> None:
        identity = (entry.scope, entry.key)
        if identity in self._entries:
            self._remove(identity)
        if not _is_live(entry, now):
            return
        self._make_room(size, now)
        kept = replace(entry, metadata=dict(entry.metadata))  # the caller may modify the original
        self._entries[identity] = (kept, size)
        self._bytes += size
        self._policy.added(identity, kept)
        if entry.expires_at is not None:
            self._ends.set(identity, entry.expires_at)

    def _make_room(self, size: int, now: float) -> None:
        while len(self._entries) >= self._max_entries or self._bytes + size > self._max_bytes:
            if not self._remove_expired(now):
                self._remove(self._policy.victim())
                self._evicted += 1

    def _remove_expired(self, now: float) -> bool:
        first = self._ends.first()
        if first is None or first[0] > now:
            return False
        self._remove(first[1])
        self._expired += 1
        return True

    def _delete(self, identity: EntryId, now: float) -> bool:
        entry, _ = self._entries.get(identity, (None, 0))
        if entry is None:
            return False
        self._remove(identity)
        return _is_live(entry, now)

    def _remove(self, identity: EntryId) -> None:
        _, size = self._entries.pop(identity)
        self._bytes -= size
        self._ends.discard(identity)
        self._policy.removed(identity)


def _is_live(entry: Entry, now: float) -> bool:
    return entry.expires_at is None or entry.expires_at > now


def _selected(entry: Entry, selection: Selection) -> bool:
    return selection.matches(entry.scope, entry.created_at, entry.tags, entry.key)
