"""The common base of both Redis indexes: one hash per entry."""

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
"""Entries per round trip. Redis executes nothing else during a transaction."""
MAX_CANDIDATES = 4096
"""Maximum number of candidates of a search, which requests more when some have expired or been deleted."""
FIELDS = ("entry", "text", "embedding")
"""Fields of a hash from which an entry is decoded. The other fields serve filters and inspection."""
_MAX_TTL = 1 << 52
"""Maximum lifetime that Redis can handle, in milliseconds. Longer ones are enforced by ``expires_at`` only."""


class RedisIndex(SimilarityIndex):
    """Base class of indexes with one hash per entry, which Redis removes when the entry expires.

    Args:
        server: a URL such as ``redis://host:6379/0``, or a client of ``redis.asyncio``, which is not closed.
        fingerprint: fingerprint of the embedder; keys separate the entries of different embedders.
        dimension: number of components of its vectors.
        prefix: prefix of all keys.
        deadline: time limit of each call to the server, in seconds.
        max_connections: maximum number of concurrent calls; further calls wait.
        clock: returns seconds since the epoch.
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
        """Fingerprint of the embedder whose vectors are accepted."""
        return self._fingerprint

    @property
    def dimension(self) -> int:
        """Number of components of a vector."""
        return self._dimension

    async def close(self) -> None:
        """Close the connections, unless the caller owns the client; a second call does nothing."""
        await self._link.close()

    async def add(self, entries: Sequence[IndexEntry]) -> None:
        """See ``SimilarityIndex.add``; each batch of ``BATCH`` entries is atomic."""
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
        """See ``SimilarityIndex.delete_where``; iterates over all keys of the server instead of the search index."""
        deleted = 0
        async for batch in self._batches(selection):
            deleted += await self._remove(batch)
        return deleted

    async def scan(self, selection: Selection = EVERYTHING) -> AsyncIterator[IndexEntry]:
        """See ``SimilarityIndex.scan``; iterates over all keys of the server."""
        async for batch in self._batches(selection):
            for entry in batch:
                yield entry

    @abstractmethod
    def _storing(self, entry: IndexEntry) -> Iterable[Command]:
        """Return the commands of the transaction that stores an entry."""

    @abstractmethod
    def _removing(self, entry: IndexEntry) -> Iterable[Command]:
        """Return the commands of the transaction that removes an entry. The first returns 1 if the entry existed."""

    def _key(self, entry: IndexEntry) -> str:
        return self._names.entry(entry.partition.scope, entry.id)

    def _hash(self, entry: IndexEntry) -> list[Command]:
        """Return the commands that write the hash of an entry."""
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
        """Return the expiry command. It sends a remaining lifetime, which does not depend on the server's clock."""
        if entry.expires_at is None:
            return []
        milliseconds = math.ceil((entry.expires_at - self._clock()) * 1000)
        return [("PEXPIRE", key, milliseconds)] if milliseconds < _MAX_TTL else []

    @staticmethod
    def _reading(key: str) -> Command:
        return ("HMGET", key, *FIELDS)

    async def _read(self, keys: Sequence[str | bytes]) -> list[IndexEntry]:
        """Return the entries that exist among the keys, in one round trip."""
        return [entry for entry in await self._read_each(keys) if entry is not None]

    async def _read_each(self, keys: Sequence[str | bytes]) -> list[IndexEntry | None]:
        if not keys:
            return []
        found = await self._link.calls([("HMGET", key, *FIELDS) for key in keys])
        return [self._entry(fields) for fields in found]

    def _entry(self, fields: Sequence[bytes | None]) -> IndexEntry | None:
        """Decode the fields of a hash. Return None if the entry does not exist or has expired."""
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
        return sum([next(answers) for _ in each][0] for each in commands)  # noqa: RUF015 - consumes all answers
