"""The index with RediSearch: one search index over all hashes of an embedder."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from vectorcache.errors import InvalidInput, Unavailable
from vectorcache.vectors.exact import check_k
from vectorcache.vectors.metric import Floats
from vectorcache_llm.similarity.base import IndexEntry, IndexStats, Lookup, Match, Partition
from vectorcache_llm.similarity.checks import best, unit_query
from vectorcache_llm.similarity.codec import partition_digest
from vectorcache_llm.similarity.redis.index import (
    DEADLINE,
    FIELDS,
    MAX_CANDIDATES,
    MAX_CONNECTIONS,
    RedisIndex,
)
from vectorcache_llm.similarity.redis.link import Argument, Command
from vectorcache_llm.similarity.redis.sizes import Sizes

ALGORITHMS = ("hnsw", "flat")
SPARE = 8
"""Candidates added when a search is repeated with four times as many, because some had expired already."""
MAX_WORDS = 32
_FIELDS = [name.encode() for name in FIELDS]
_WORD = re.compile(r"_*[^\W_]\w*")
_MISSING = re.compile(r"no such index|unknown index", re.IGNORECASE)
_EXISTS = re.compile(r"index already exists", re.IGNORECASE)

Fields: TypeAlias = dict[bytes, Any]


class RedisSearchIndex(RedisIndex):
    """Index on a Redis server with RediSearch: nearest neighbours and full-text search within a partition.

    The partition is a tag filter that is applied during the vector search. If the server has lost the search index, it
    is created again. The server's configuration, such as ``maxmemory``, is not changed.

    Args:
        server: a URL such as ``redis://host:6379/0``, or a client of ``redis.asyncio`` without ``decode_responses``.
        fingerprint: fingerprint of the embedder; keys separate the entries of different embedders.
        dimension: number of components of its vectors.
        algorithm: "hnsw", or "flat", which compares all vectors of a partition.
        expansion: size of the candidate list of an HNSW search; larger values raise the recall and the latency.
        prefix: prefix of all keys.
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
        algorithm: str = "hnsw",
        expansion: int = 64,
        prefix: str = "cache",
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
        if algorithm not in ALGORITHMS:
            raise InvalidInput("algorithm", algorithm, ", ".join(ALGORITHMS))
        self._sizes = Sizes()
        self._schema = self._create(algorithm, check_k(expansion, "expansion"))

    async def open(self) -> None:
        """Create the search index if it does not exist; a second call does nothing."""
        try:
            await self._link.call(*self._schema)
        except Unavailable as error:
            if not _EXISTS.search(str(error)):
                raise

    async def search(
        self, partition: Partition, vector: Floats, k: int = 1, min_similarity: float = 0.0
    ) -> list[Match]:
        """See ``SimilarityIndex.search``."""
        query = unit_query(vector, self._dimension, k)
        if query is None:
            return []
        return await self._search(partition, query, k, min_similarity)

    async def lookup(
        self,
        id: str,  # noqa: A002 - the field's name
        partition: Partition,
        vector: Floats,
        k: int = 1,
        min_similarity: float = 0.0,
    ) -> Lookup:
        """See ``SimilarityIndex.lookup``; uses one round trip."""
        query = unit_query(vector, self._dimension, k)
        reading = self._reading(self._names.entry(partition.scope, id))
        if query is None:
            return Lookup(await self.get(partition.scope, id), ())
        commands = self._nearest(partition, query, k)
        fields, *answers = await self._asked([reading, *commands])
        entry = self._entry(fields)
        if entry is not None:
            return Lookup(entry, ())
        return Lookup(None, await self._search(partition, query, k, min_similarity, answers))

    async def search_text(self, partition: Partition, words: str, limit: int = 10) -> list[IndexEntry]:
        """Return the entries of a partition whose text contains all given words, most relevant first.

        Args:
            partition: partition to search.
            words: any text. A word consists of letters, digits and underscores, with at least one letter or digit. Only
                the first ``MAX_WORDS`` words are used.
            limit: maximum number of results.

        Raises:
            InvalidInput: ``limit`` is less than 1.
        """
        check_k(limit, "limit")
        found = _WORD.findall(words)[:MAX_WORDS]
        if not found:
            return []
        query = f"@partition:{{{partition_digest(partition)}}} @text:({' '.join(found)})"
        [answer] = await self._asked([self._finding(query, limit, ())])
        return [entry for entry in self._entries(_hits(answer)) if entry.partition == partition]

    async def stats(self) -> IndexStats:
        """Return the number of entries, including expired ones that Redis has not removed yet."""
        [answer] = await self._asked([("FT.INFO", self._names.index)])
        return IndexStats(int(_as_dict(answer)[b"num_docs"]), None)

    def _storing(self, entry: IndexEntry) -> Iterable[Command]:
        return self._hash(entry)

    def _removing(self, entry: IndexEntry) -> Iterable[Command]:
        return [("UNLINK", self._key(entry))]

    async def _search(
        self, partition: Partition, query: Floats, k: int, min_similarity: float, answers: Sequence[Any] = ()
    ) -> list[Match]:
        """Search, starting with ``answers`` if given. Repeat with more candidates while too many have expired."""
        count = k
        while True:
            hits = self._found(
                partition, answers or await self._asked(self._nearest(partition, query, count))
            )
            entries = self._entries(hits)
            if len(entries) >= k or len(hits) < count or count >= MAX_CANDIDATES:
                return best(entries, partition, query, k, min_similarity)
            count, answers = min(4 * count + SPARE, MAX_CANDIDATES), ()

    def _found(self, partition: Partition, answers: Sequence[Any]) -> list[Fields]:
        """Return the neighbours in the answers to ``_nearest``, and record the entry counts if they were requested."""
        if len(answers) > 1:
            self._sizes.record(partition_digest(partition), _total(answers[1]), _total(answers[2]))
        return _hits(answers[0])

    async def _asked(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands. If the server has lost the search index, create it and try again."""
        try:
            return await self._link.calls(commands)
        except Unavailable as error:
            if not _MISSING.search(str(error)):
                raise
        await self.open()
        return await self._link.calls(commands)

    def _nearest(self, partition: Partition, query: Floats, count: int) -> list[Command]:
        tag = partition_digest(partition)
        ours, plan = f"@partition:{{{tag}}}", " HYBRID_POLICY BATCHES" if self._sizes.is_large(tag) else ""
        vector = ("PARAMS", 2, "vector", query.astype("<f4", copy=False).tobytes())
        commands = [self._finding(f"({ours})=>[KNN {count} @embedding $vector{plan}]", count, vector)]
        if self._sizes.due(tag):
            commands += [self._finding(ours, 0, ()), self._finding("*", 0, ())]
        return commands

    def _finding(self, query: str, limit: int, more: Command) -> Command:
        fields: tuple[Argument, ...] = ("RETURN", len(FIELDS), *FIELDS)
        return ("FT.SEARCH", self._names.index, query, *more, *fields, "LIMIT", 0, limit, "DIALECT", 2)

    def _entries(self, hits: Sequence[Fields]) -> list[IndexEntry]:
        found = (self._entry([fields.get(name) for name in _FIELDS]) for fields in hits)
        return [entry for entry in found if entry is not None]

    def _create(self, algorithm: str, expansion: int) -> Command:
        names = self._names
        options: list[Argument] = ["TYPE", "FLOAT32", "DIM", self._dimension, "DISTANCE_METRIC", "COSINE"]
        if algorithm == "hnsw":
            options += ["M", 16, "EF_CONSTRUCTION", 200, "EF_RUNTIME", expansion]
        tags: list[Argument] = [
            part
            for tag in ("partition", "tenant", "user", "scope", "context", "tags")
            for part in (tag, "TAG", "CASESENSITIVE")
        ]
        ours = f"@embedder=='{names.embedder}'"
        where: Command = ("ON", "HASH", "PREFIX", 1, f"{names.prefix}:", "FILTER", ours)
        return (
            *("FT.CREATE", names.index, *where, "STOPWORDS", 0, "SCHEMA", *tags),
            *("text", "TEXT", "created_at", "NUMERIC", "SORTABLE"),
            *("embedding", "VECTOR", algorithm.upper(), len(options), *options),
        )


def _hits(answer: Any) -> list[Fields]:
    """Return the fields of each hit, from a RESP2 list or a RESP3 map. They are empty if the hash was just deleted."""
    if isinstance(answer, dict):
        return [hit.get(b"extra_attributes") or {} for hit in answer[b"results"]]
    return [_as_dict(fields or []) for fields in answer[2::2]]


def _total(answer: Any) -> int:
    return int(answer[b"total_results"] if isinstance(answer, dict) else answer[0])


def _as_dict(pairs: Any) -> dict[bytes, Any]:
    return pairs if isinstance(pairs, dict) else dict(zip(pairs[::2], pairs[1::2], strict=True))
