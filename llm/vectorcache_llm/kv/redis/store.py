"""The store on a Redis server."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vectorcache_llm.kv.base import Entry, KeyValueStore, StoreStats
from vectorcache_llm.kv.checks import check_entry, check_key, check_positive
from vectorcache_llm.kv.redis.codec import (
    HEAD_BYTES,
    PUT_NEW,
    TIMES_BYTES,
    Head,
    Names,
    decode,
    decode_head,
    encode,
    head_length,
    is_live,
)
from vectorcache_llm.kv.redis.link import RedisLink
from vectorcache_llm.scope import EVERYTHING, Scope, Selection

if TYPE_CHECKING:
    from redis.asyncio import Redis

PREFIX = "vectorcache"

DEADLINE = 1.0
"""Default deadline, in seconds."""

MAX_CONNECTIONS = 16

MAX_ENTRY_BYTES = 64 << 20
"""Default maximum size of an entry: 64 MiB. The limit of Redis is 512 MiB."""

SCAN_NAMES = 500
"""Number of keys that one step of a scan requests."""

SCAN_VALUES = 16
"""Number of values that one step of a scan reads."""

MAX_TTL = 1 << 52
"""Maximum lifetime that Redis can handle, in milliseconds. Longer ones are enforced by ``expires_at`` only."""


class _Named(NamedTuple):
    name: bytes
    scope: Scope
    key: str


class RedisStore(KeyValueStore):
    """Store on one Redis server (or one behind Sentinel; not a cluster), which limits and evicts entries.

    An entry is one string, so it is written atomically. Expiry is sent to Redis as a remaining lifetime, which does not
    depend on the server's clock. An entry that has expired by ``clock`` is not found, even if Redis has not removed it.
    A server that is unreachable, frozen or full raises ``Unavailable`` within the deadline. The first call after it
    recovers succeeds.

    Args:
        server: a URL, or a client of ``redis.asyncio`` without ``decode_responses``, which the caller closes.
        prefix: prefix of every key; letters, digits and ``_.:-``. Stores with the same prefix share their entries.
        deadline: time limit of each call, and of each step of ``scan`` and ``delete_where``, in seconds.
        max_connections: maximum number of concurrent calls; further calls wait.
        max_entry_bytes: maximum size of an entry, in bytes.
        clock: returns seconds since the epoch.

    Raises:
        MissingExtra: ``redis`` is not installed.
        InvalidInput: an argument is not valid.
    """

    name = "redis"

    def __init__(
        self,
        server: str | Redis,
        prefix: str = PREFIX,
        *,
        deadline: float = DEADLINE,
        max_connections: int = MAX_CONNECTIONS,
        max_entry_bytes: int = MAX_ENTRY_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_positive(max_entry_bytes=max_entry_bytes)
        self._link = RedisLink(server, deadline, max_connections)
        self._client: Any = self._link.client
        self._names = Names(prefix)
        self._max_entry_bytes = max_entry_bytes
        self._clock = clock
        self._hits = self._misses = 0

    async def open(self) -> None:
        """Do nothing, so that the server may become available later."""

    async def close(self) -> None:
        """Close the connections, unless the caller owns the client."""
        await self._link.close()

    async def get(self, scope: Scope, key: str) -> Entry | None:
        """See ``KeyValueStore.get``."""
        return (await self.get_many(scope, (key,))).get(key)

    async def get_many(self, scope: Scope, keys: Iterable[str]) -> dict[str, Entry]:
        """See ``KeyValueStore.get_many``."""
        wanted = list(dict.fromkeys(keys))
        for key in wanted:
            check_key(key)
        if not wanted:
            return {}
        # MGET even for one key: it returns nil instead of an error for a key that does not hold a string.
        blobs = await self._link.run(self._client.mget([self._names.name(scope, key) for key in wanted]))
        now = self._clock()
        entries = (decode(scope, key, blob, now) for key, blob in zip(wanted, blobs, strict=True))
        found = {entry.key: entry for entry in entries if entry is not None}
        self._hits += len(found)
        self._misses += len(wanted) - len(found)
        return found

    async def put(self, *entries: Entry) -> None:
        """See ``KeyValueStore.put``; stores none of the entries if one is invalid. Each entry is written atomically."""
        for entry in entries:
            check_entry(entry, self._max_entry_bytes)
        if not entries:
            return
        now = self._clock()
        commands = self._client.pipeline(transaction=False)
        for entry in entries:
            name = self._names.name(entry.scope, entry.key)
            if entry.expires_at is None:
                commands.set(name, encode(entry))
            elif entry.expires_at > now:
                commands.set(name, encode(entry), px=_milliseconds(entry.expires_at - now))
            else:
                commands.unlink(name)
        await self._link.run(commands.execute())

    async def put_new(self, entry: Entry) -> bool:
        """See ``KeyValueStore.put_new``."""
        check_entry(entry, self._max_entry_bytes)
        name, now = self._names.name(entry.scope, entry.key), self._clock()
        life = 0 if entry.expires_at is None else max(_milliseconds(entry.expires_at - now), 1)
        return bool(await self._link.run(self._client.eval(PUT_NEW, 1, name, encode(entry), life, now)))

    async def delete(self, scope: Scope, *keys: str) -> int:
        """See ``KeyValueStore.delete``."""
        for key in keys:
            check_key(key)
        return await self._remove([self._names.name(scope, key).encode() for key in keys])

    async def scan(self, selection: Selection = EVERYTHING) -> AsyncIterator[Entry]:
        """See ``KeyValueStore.scan``; needs about 60 bytes of memory per key seen."""
        async for page in self._pages(selection):
            for start in range(0, len(page), SCAN_VALUES):
                for entry in await self._read(page[start : start + SCAN_VALUES]):
                    if selection.matches(entry.scope, entry.created_at, entry.tags, entry.key):
                        yield entry

    async def delete_where(self, selection: Selection) -> int:
        """See ``KeyValueStore.delete_where``; does not read values."""
        count = 0
        async for page in self._pages(selection):
            heads = await self._heads([named.name for named in page])
            selected = [
                named.name
                for named, head in zip(page, heads, strict=True)
                if head is not None and selection.matches(named.scope, head.created_at, head.tags, named.key)
            ]
            count += await self._remove(selected)
        return count

    async def stats(self) -> StoreStats:
        """See ``KeyValueStore.stats``; the size of the store is unknown."""
        return StoreStats(
            entries=None, bytes=None, hits=self._hits, misses=self._misses, evicted=0, expired=0
        )

    async def _pages(self, selection: Selection) -> AsyncIterator[list[_Named]]:
        """Yield the keys that match scopes and pattern of the selection, without the duplicates of SCAN."""
        pattern = self._names.pattern(selection)
        asked = Selection(selection.tenant, selection.user, selection.name, selection.pattern)
        seen: set[int] = set()
        cursor = None
        while cursor != 0:
            step = self._client.scan(cursor or 0, match=pattern, count=SCAN_NAMES, _type="string")
            cursor, names = await self._link.run(step)
            fresh = {hash(name): name for name in names if hash(name) not in seen}
            seen.update(fresh)
            page = [_Named(name, *found) for name in fresh.values() if (found := self._names.identity(name))]
            yield [named for named in page if asked.matches(named.scope, 0.0, key=named.key)]

    async def _read(self, names: Sequence[_Named]) -> list[Entry]:
        blobs = await self._link.run(self._client.mget([named.name for named in names]))
        now = self._clock()
        entries = (
            decode(named.scope, named.key, blob, now) for named, blob in zip(names, blobs, strict=True)
        )
        return [entry for entry in entries if entry is not None]

    async def _remove(self, names: Sequence[bytes]) -> int:
        """Delete keys in one round trip, and return how many unexpired entries they held."""
        if not names:
            return 0
        commands = self._client.pipeline(transaction=False)
        for name in names:
            commands.getrange(name, 0, TIMES_BYTES - 1)
            commands.unlink(name)
        answers = await self._link.run(commands.execute())
        now = self._clock()
        return sum(
            removed for start, removed in zip(answers[::2], answers[1::2], strict=True) if is_live(start, now)
        )

    async def _heads(self, names: Sequence[bytes]) -> list[Head | None]:
        """Read heads in one round trip, and in a second one those with long tags and metadata."""
        starts = await self._starts([(name, HEAD_BYTES) for name in names])
        lengths = ((name, head_length(start)) for name, start in zip(names, starts, strict=True))
        cut = [(name, length) for name, length in lengths if length > HEAD_BYTES]
        whole = dict(zip((name for name, _ in cut), await self._starts(cut), strict=True))
        return [decode_head(whole.get(name, start)) for name, start in zip(names, starts, strict=True)]

    async def _starts(self, names: Sequence[tuple[bytes, int]]) -> list[bytes]:
        if not names:
            return []
        commands = self._client.pipeline(transaction=False)
        for name, length in names:
            commands.getrange(name, 0, length - 1)
        return list(await self._link.run(commands.execute()))


def _milliseconds(seconds: float) -> int:
    return min(math.ceil(seconds * 1000), MAX_TTL)
