"""What both indexes on Redis do alike: a hash for each entry, by its identity."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

from vectorcache.errors import CorruptData
from vectorcache_llm.scope import EVERYTHING, Scope, Selection
from vectorcache_llm.similarity.base import IndexEntry, SimilarityIndex
from vectorcache_llm.similarity.checks import check_entries, selects
from vectorcache_llm.similarity.codec import decode_entry, encode_rest, partition_digest, vector_bytes
from vectorcache_llm.similarity.redis.link import Command, CommandLink
from vectorcache_llm.similarity.redis.names import Names, encode_name

DEADLINE = 1.0
MAX_CONNECTIONS = 16
BATCH = 32
"""Entries in one round trip: Redis does nothing else meanwhile."""
MOST_CANDIDATES = 4096
"""Entries that a search looks at when those it finds have ended or are gone."""
FIELDS = ("entry", "text", "embedding")
"""Of a hash: what an entry is read from. The others are for the server's own filters and for people."""
_LONGEST = 1 << 52
"""Milliseconds that Redis can add to its clock; longer lives end by the entry's own end only."""


class RedisIndex(SimilarityIndex):
    """A hash for each entry, which Redis removes at its end of life.

    Args:
        server: a URL such as ``redis://host:6379/0``, or a client of ``redis.asyncio``; which stays open.
        fingerprint: of the embedder; entries of others are kept apart by their keys.
        dimension: of its vectors.
        prefix: of all keys.
        deadline: seconds for each call to the server.
        max_connections: how many calls may be under way at once; more wait.
        clock: tells seconds since the epoch.
    """

    name = "redis"

    def __init__(
        self,
        server: str | Any,
        fingerprint: str,
        dimension: int,
        *,
        prefix: str = "cache",
        deadline: float = DEADLINE,
        max_connections: int = MAX_CONNECTIONS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fingerprint = fingerprint
        self._dimension = dimension
        self._clock = clock
        self._names = Names(prefix, fingerprint, dimension)
        self._link = CommandLink(server, deadline, max_connections)

    @property
    def fingerprint(self) -> str:
        """Of the embedder whose vectors it takes."""
        return self._fingerprint

    @property
    def dimension(self) -> int:
        """Components of a vector."""
        return self._dimension

    async def close(self) -> None:
        """Close the connections, if they are our own; a second call does nothing."""
        await self._link.close()

    async def add(self, entries: Sequence[IndexEntry]) -> None:
        """See ``SimilarityIndex.add``; each batch of ``BATCH`` is kept as a whole or not at all."""
        checked = await check_entries(entries, self._dimension)
        for start in range(0, len(checked), BATCH):
            batch = checked[start : start + BATCH]
            commands = [command for entry in batch for command in self._storing(entry)]
            await self._link.calls(commands, atomic=True)

    async def get(self, scope: Scope, id: str) -> IndexEntry | None:  # noqa: A002 - the field's name
        """See ``SimilarityIndex.get``."""
        return self._entry(await self._link.call(*self._reading(self._names.entry(scope, id))))

    async def delete(self, scope: Scope, *ids: str) -> int:
        """See ``SimilarityIndex.delete``."""
        deleted = 0
        keys = list(dict.fromkeys(self._names.entry(scope, one) for one in ids))
        for start in range(0, len(keys), BATCH):
            deleted += await self._remove(await self._read(keys[start : start + BATCH]))
        return deleted

    async def delete_where(self, selection: Selection) -> int:
        """See ``SimilarityIndex.delete_where``; walks over all keys of the server, and asks no search index."""
        deleted = 0
        async for batch in self._batches(selection):
            deleted += await self._remove(batch)
        return deleted

    async def scan(self, selection: Selection = EVERYTHING) -> AsyncIterator[IndexEntry]:
        """See ``SimilarityIndex.scan``; walks over all keys of the server."""
        async for batch in self._batches(selection):
            for entry in batch:
                yield entry

    @abstractmethod
    def _storing(self, entry: IndexEntry) -> Iterable[Command]:
        """What keeps an entry, in one transaction."""

    @abstractmethod
    def _removing(self, entry: IndexEntry) -> Iterable[Command]:
        """What removes an entry, in one transaction; the first says 1 if it was there."""

    def _key(self, entry: IndexEntry) -> str:
        return self._names.entry(entry.partition.scope, entry.id)

    def _hash(self, entry: IndexEntry) -> list[Command]:
        """The commands that write an entry's hash."""
        key, scope = self._key(entry), entry.partition.scope
        fields: dict[str, str | bytes | float] = {
            "entry": encode_rest(entry),
            "text": entry.text,
            "embedder": self._names.embedder,
            "partition": partition_digest(entry.partition),
            "tenant": encode_name(scope.tenant),
            "user": encode_name(scope.user),
            "scope": encode_name(scope.name),
            "context": encode_name(entry.partition.context),
            "tags": ",".join(encode_name(tag) for tag in sorted(entry.tags)),
            "created_at": entry.created_at,
        }
        if entry.vector.any():
            fields["embedding"] = vector_bytes(entry)
        return [
            ("DEL", key),
            ("HSET", key, *(part for pair in fields.items() for part in pair)),
            *self._expiring(key, entry),
        ]

    def _expiring(self, key: str, entry: IndexEntry) -> list[Command]:
        """Redis is told how long an entry has to live, which does not depend on its clock being right."""
        if entry.expires_at is None:
            return []
        milliseconds = math.ceil((entry.expires_at - self._clock()) * 1000)
        return [("PEXPIRE", key, milliseconds)] if milliseconds < _LONGEST else []

    @staticmethod
    def _reading(key: str) -> Command:
        return ("HMGET", key, *FIELDS)

    async def _read(self, keys: Sequence[str | bytes]) -> list[IndexEntry]:
        """Those of the keys that are there, in one round trip."""
        return [entry for entry in await self._read_each(keys) if entry is not None]

    async def _read_each(self, keys: Sequence[str | bytes]) -> list[IndexEntry | None]:
        if not keys:
            return []
        found = await self._link.calls([("HMGET", key, *FIELDS) for key in keys])
        return [self._entry(fields) for fields in found]

    def _entry(self, fields: Sequence[bytes | None]) -> IndexEntry | None:
        """The entry that a hash's fields are, unless it is gone or has ended."""
        rest, text, embedding = fields
        if rest is None:
            return None
        try:
            words = (text or b"").decode()
        except UnicodeDecodeError as error:
            raise CorruptData(f"an entry cannot be read: {error}") from error
        vector = bytes(4 * self._dimension) if embedding is None else embedding
        entry = decode_entry(rest, words, vector)
        return None if self._ended(entry) else entry

    def _ended(self, entry: IndexEntry) -> bool:
        return entry.expires_at is not None and entry.expires_at <= self._clock()

    async def _batches(self, selection: Selection) -> AsyncIterator[list[IndexEntry]]:
        cursor = b"0"
        while True:
            pattern = self._names.pattern(selection.tenant)
            cursor, keys = await self._link.call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            for start in range(0, len(keys), BATCH):
                entries = await self._read(keys[start : start + BATCH])
                yield [entry for entry in entries if selects(selection, entry)]
            if cursor in (b"0", 0):
                return

    async def _remove(self, entries: Sequence[IndexEntry]) -> int:
        commands = [list(self._removing(entry)) for entry in entries]
        if not commands:
            return 0
        answers = iter(await self._link.calls([one for each in commands for one in each], atomic=True))
        return sum([next(answers) for _ in each][0] for each in commands)  # noqa: RUF015 - takes them all
