"""The index with the vector sets of Redis 8: one set per partition."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from vectorcache.vectors.exact import check_k
from vectorcache.vectors.metric import Floats
from vectorcache_llm.similarity.base import IndexEntry, IndexStats, Match, Partition
from vectorcache_llm.similarity.checks import best, unit_query
from vectorcache_llm.similarity.codec import identity_digest, partition_digest, vector_bytes
from vectorcache_llm.similarity.redis.index import DEADLINE, MAX_CANDIDATES, MAX_CONNECTIONS, RedisIndex
from vectorcache_llm.similarity.redis.link import Command

SPARE = 4
"""Candidates beyond k, because the server compares in 8 bits and some candidates may have expired."""
SWEEP = 64
"""Maximum number of vectors of expired entries that a call of ``add`` removes."""

# An entry may be written again after it was read, so these scripts check it again before they remove a vector.
_REMOVE_STRAY = """
if redis.call('HGET', KEYS[2], 'partition') == ARGV[2] then return 0 end
return redis.call('VREM', KEYS[1], ARGV[1])
"""
_REMOVE_ENDED = """
local ends = redis.call('ZSCORE', KEYS[2], ARGV[2])
if not ends or tonumber(ends) > tonumber(ARGV[3]) then return 0 end
redis.call('ZREM', KEYS[2], ARGV[2])
return redis.call('VREM', KEYS[1], ARGV[1])
"""


class RedisVectorSetIndex(RedisIndex):
    """Index on a Redis 8 server without modules. A search reads only the vector set of its partition.

    Redis expires entries but not their vectors, so later writes and searches remove the vectors of expired entries.

    Args:
        server: a URL such as ``redis://host:6379/0``, or a client of ``redis.asyncio`` without ``decode_responses``.
        fingerprint: fingerprint of the embedder; keys separate the entries of different embedders.
        dimension: number of components of its vectors.
        expansion: size of the candidate list of a search; larger values raise the recall and the latency.
        prefix: prefix of all keys; must differ from that of a ``RedisSearchIndex`` on the same server.
        deadline: time limit of each call to the server, in seconds.
        max_connections: maximum number of concurrent calls; further calls wait.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self,
        server: str | Any,
        fingerprint: str,
        dimension: int,
        *,
        expansion: int = 64,
        prefix: str = "vectors",
        deadline: float = DEADLINE,
        max_connections: int = MAX_CONNECTIONS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(
            server,
            fingerprint,
            dimension,
            prefix=prefix,
            deadline=deadline,
            max_connections=max_connections,
            clock=clock,
        )
        self._expansion = check_k(expansion, "expansion")

    async def open(self) -> None:
        """Check that the server is reachable. There is nothing to create."""
        await self._link.call("PING")

    async def add(self, entries: Sequence[IndexEntry]) -> None:
        """See ``SimilarityIndex.add``; also removes vectors of expired entries."""
        await super().add(entries)
        await self._sweep()

    async def search(
        self, partition: Partition, vector: Floats, k: int = 1, min_similarity: float = 0.0
    ) -> list[Match]:
        """See ``SimilarityIndex.search``."""
        query = unit_query(vector, self._dimension, k)
        if query is None:
            return []
        count = k + SPARE
        while True:
            identities = await self._nearest(partition, query, count)
            entries = await self._live_entries(partition, identities)
            if len(entries) >= k or len(identities) < count or count >= MAX_CANDIDATES:
                return best(entries, partition, query, k, min_similarity)
            count = min(4 * count, MAX_CANDIDATES)

    async def stats(self) -> IndexStats:
        """Return unknown values, because the server does not count entries."""
        return IndexStats(None, None)

    async def _nearest(self, partition: Partition, query: Floats, count: int) -> list[bytes]:
        key = self._names.vector_set(partition_digest(partition))
        blob = query.astype("<f4", copy=False).tobytes()
        effort = max(self._expansion, count)
        found: list[bytes] = await self._link.call("VSIM", key, "FP32", blob, "COUNT", count, "EF", effort)
        return found

    async def _live_entries(self, partition: Partition, identities: Sequence[bytes]) -> list[IndexEntry]:
        """Return the entries of the partition, and remove the vectors of entries that were deleted or moved."""
        keys = [self._names.entry_of(partition.scope, one.decode()) for one in identities]
        entries = await self._read_each(keys)
        live = [entry for entry in entries if entry is not None and entry.partition == partition]
        if len(live) < len(entries):
            name = partition_digest(partition)
            vectors = self._names.vector_set(name)
            strays: list[Command] = [
                ("EVAL", _REMOVE_STRAY, 2, vectors, key, one, name)
                for key, one, entry in zip(keys, identities, entries, strict=True)
                if entry is None or entry.partition != partition
            ]
            await self._link.calls(strays)
        return live

    def _storing(self, entry: IndexEntry) -> Iterable[Command]:
        partition, identity = self._place(entry)
        key, member = self._names.vector_set(partition), f"{partition}:{identity}"
        commands = self._hash(entry)
        if entry.vector.any():
            commands.append(("VADD", key, "FP32", vector_bytes(entry), identity))
        else:
            commands.append(("VREM", key, identity))
        if entry.expires_at is None:
            commands.append(("ZREM", self._names.ends, member))
        else:
            commands.append(("ZADD", self._names.ends, entry.expires_at, member))
        return commands

    def _removing(self, entry: IndexEntry) -> Iterable[Command]:
        partition, identity = self._place(entry)
        return [
            ("UNLINK", self._key(entry)),
            ("VREM", self._names.vector_set(partition), identity),
            ("ZREM", self._names.ends, f"{partition}:{identity}"),
        ]

    @staticmethod
    def _place(entry: IndexEntry) -> tuple[str, str]:
        return partition_digest(entry.partition), identity_digest(entry.partition.scope, entry.id)

    async def _sweep(self) -> None:
        """Remove up to ``SWEEP`` vectors of expired entries."""
        ends, now = self._names.ends, self._clock()
        ended = await self._link.call("ZRANGE", ends, "-inf", now, "BYSCORE", "LIMIT", 0, SWEEP)
        commands: list[Command] = []
        for member in ended:
            partition, identity = member.decode().split(":")
            vectors = self._names.vector_set(partition)
            commands.append(("EVAL", _REMOVE_ENDED, 2, vectors, ends, identity, member, now))
        if commands:
            await self._link.calls(commands)
