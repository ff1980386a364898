"""The index on a Qdrant server."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from vectorcache.errors import InvalidInput
from vectorcache.vectors.exact import check_k
from vectorcache.vectors.metric import Floats
from vectorcache_llm.scope import EVERYTHING, Scope, Selection
from vectorcache_llm.similarity.base import IndexEntry, IndexStats, Match, Partition, SimilarityIndex
from vectorcache_llm.similarity.checks import best, check_entries, selects, unit_query
from vectorcache_llm.similarity.codec import embedder_digest
from vectorcache_llm.similarity.qdrant.link import Conflicting, Missing, QdrantLink
from vectorcache_llm.similarity.qdrant.points import (
    KEYWORDS,
    NUMBERS,
    Conditions,
    as_entry,
    as_point,
    in_requests,
    point_id,
)

T = TypeVar("T")

DEADLINE = 1.0
BATCH = 128
"""Maximum number of points per request."""
SWEEP_SECONDS = 60.0
"""Minimum interval between writes that also remove expired entries, in seconds."""
_WHOLE = {"with_payload": True, "with_vectors": True}
_COLLECTION = re.compile(r"[A-Za-z0-9_-]{1,100}")


class QdrantIndex(SimilarityIndex):
    """Index in a Qdrant collection, one per embedder. The partition is a filter on an indexed payload field, which
    Qdrant applies during the vector search.

    Args:
        server: a URL such as ``http://host:6333``, or a client (``AsyncQdrantClient``), which is not closed.
        fingerprint: fingerprint of the embedder; each embedder has a separate collection.
        dimension: number of components of its vectors.
        collection: prefix of the collection's name.
        expansion: size of the candidate list of an HNSW search; larger values raise the recall and the latency.
        deadline: time limit of each call to the server, in seconds.
        clock: returns seconds since the epoch.
        options: options of the client that is created for a URL, such as ``api_key``.
    """

    name = "qdrant"

    def __init__(
        self,
        server: str | Any,
        fingerprint: str,
        dimension: int,
        *,
        collection: str = "cache",
        expansion: int = 128,
        deadline: float = DEADLINE,
        clock: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        if not _COLLECTION.fullmatch(collection):
            raise InvalidInput("collection", collection, "1 to 100 letters, digits, dashes or underscores")
        self._link = QdrantLink(server, deadline, options)
        self._client = self._link.client
        self._conditions = Conditions(self._link.models)
        self._effort = self._link.models.SearchParams(hnsw_ef=check_k(expansion, "expansion"))
        self._fingerprint = fingerprint
        self._dimension = dimension
        self._collection = f"{collection}-{embedder_digest(fingerprint, dimension)}"
        self._clock = clock
        self._swept_at = clock()

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the embedder whose vectors are accepted."""
        return self._fingerprint

    @property
    def dimension(self) -> int:
        """Number of components of a vector."""
        return self._dimension

    async def open(self) -> None:
        """Create the collection and its payload indexes if they do not exist; a second call does nothing."""
        if not await self._link.run(self._client.collection_exists(self._collection)):
            await self._create()
        there = (await self._link.run(self._client.get_collection(self._collection))).payload_schema
        for field, schema in self._schemas().items():
            if field not in there:  # a previous ``open`` may have been interrupted
                await self._link.run(
                    self._client.create_payload_index(self._collection, field, field_schema=schema)
                )

    async def _create(self) -> None:
        models = self._link.models
        # With inner products Qdrant stores vectors unchanged. For vectors of length 1 they equal cosines.
        params = models.VectorParams(size=self._dimension, distance=models.Distance.DOT)
        with suppress(Conflicting):  # another client created it first
            await self._link.run(self._client.create_collection(self._collection, vectors_config=params))

    def _schemas(self) -> dict[str, Any]:
        models = self._link.models
        schemas = {
            field: models.KeywordIndexParams(type="keyword", is_tenant=field == "tenant")
            for field in KEYWORDS
        }
        return schemas | {field: models.FloatIndexParams(type="float") for field in NUMBERS}

    async def close(self) -> None:
        """Close the client, unless the caller owns it; a second call does nothing."""
        await self._link.close()

    async def add(self, entries: Sequence[IndexEntry]) -> None:
        """See ``SimilarityIndex.add``; at most every ``SWEEP_SECONDS`` it also removes expired entries."""
        checked = await check_entries(entries, self._dimension)
        latest = list({(entry.partition.scope, entry.id): entry for entry in checked}.values())
        for start in range(0, len(latest), BATCH):
            points = await asyncio.to_thread(self._points, latest[start : start + BATCH])
            for part in in_requests(points):
                await self._asked(self._client.upsert, part, wait=True)
        await self._sweep()

    async def get(self, scope: Scope, id: str) -> IndexEntry | None:  # noqa: A002 - the field's name
        """See ``SimilarityIndex.get``."""
        found = await self._read([point_id(scope, id)])
        return found[0] if found else None

    async def search(
        self, partition: Partition, vector: Floats, k: int = 1, min_similarity: float = 0.0
    ) -> list[Match]:
        """See ``SimilarityIndex.search``."""
        query = unit_query(vector, self._dimension, k)
        if query is None:
            return []
        ours = self._conditions.partition(partition, self._clock())
        found = await self._asked(
            self._client.query_points,
            query=query.tolist(),
            query_filter=ours,
            search_params=self._effort,
            limit=k,
            **_WHOLE,
        )
        return best(self._entries(found.points), partition, query, k, min_similarity)

    async def delete(self, scope: Scope, *ids: str) -> int:
        """See ``SimilarityIndex.delete``."""
        return await self._remove(await self._read([point_id(scope, one) for one in dict.fromkeys(ids)]))

    async def delete_where(self, selection: Selection) -> int:
        """See ``SimilarityIndex.delete_where``."""
        deleted = 0
        async for batch in self._batches(selection):
            deleted += await self._remove(batch)
        return deleted

    async def scan(self, selection: Selection = EVERYTHING) -> AsyncIterator[IndexEntry]:
        """See ``SimilarityIndex.scan``."""
        async for batch in self._batches(selection):
            for entry in batch:
                yield entry

    async def stats(self) -> IndexStats:
        """Return the number of entries that have not expired."""
        alive = self._conditions.selection(EVERYTHING, self._clock())
        found = await self._asked(self._client.count, count_filter=alive)
        return IndexStats(found.count, None)

    def _points(self, entries: Sequence[IndexEntry]) -> list[Any]:
        return [as_point(self._link.models, entry) for entry in entries]

    def _entries(self, points: Sequence[Any]) -> list[IndexEntry]:
        """Decode points into entries, without expired ones."""
        found = (as_entry(point) for point in points)
        now = self._clock()
        return [entry for entry in found if entry.expires_at is None or entry.expires_at > now]

    async def _read(self, points: Sequence[str]) -> list[IndexEntry]:
        return self._entries(await self._asked(self._client.retrieve, points, **_WHOLE))

    async def _remove(self, entries: Sequence[IndexEntry]) -> int:
        if entries:
            points = [point_id(entry.partition.scope, entry.id) for entry in entries]
            await self._asked(self._client.delete, points, wait=True)
        return len(entries)

    async def _batches(self, selection: Selection) -> AsyncIterator[list[IndexEntry]]:
        """Yield batches of the selected entries. Qdrant evaluates every condition except the pattern."""
        condition, offset = self._conditions.selection(selection, self._clock()), None
        while True:
            points, offset = await self._asked(
                self._client.scroll, condition, limit=BATCH, offset=offset, **_WHOLE
            )
            yield [entry for entry in self._entries(points) if selects(selection, entry)]
            if offset is None:
                return

    async def _sweep(self) -> None:
        now = self._clock()
        if now - self._swept_at < SWEEP_SECONDS:
            return
        self._swept_at = now
        selector = self._link.models.FilterSelector(filter=self._conditions.ended(now))
        await self._asked(self._client.delete, selector, wait=False)

    async def _asked(self, method: Callable[..., Awaitable[T]], *arguments: Any, **options: Any) -> T:
        """Call the client. If the server has lost the collection, create it and try again."""
        try:
            return await self._link.run(method(self._collection, *arguments, **options))
        except Missing:
            await self.open()
            return await self._link.run(method(self._collection, *arguments, **options))
