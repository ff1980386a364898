"""The read-only index over a collection behind a VectorCache router."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from vectorcache.errors import DeadlineExceeded, InvalidInput, NotFound, Unavailable
from vectorcache.index.options import MAX_K
from vectorcache.vectors.exact import check_k
from vectorcache.vectors.metric import Floats
from vectorcache.wire import public
from vectorcache_llm.errors import FingerprintMismatch, Unsupported
from vectorcache_llm.extras import require
from vectorcache_llm.scope import EVERYTHING, Scope, Selection
from vectorcache_llm.similarity.base import IndexEntry, IndexStats, Match, Partition, SimilarityIndex
from vectorcache_llm.similarity.checks import best, unit_query
from vectorcache_llm.similarity.codec import identity_digest
from vectorcache_llm.similarity.router.rows import Row, as_entry, as_row, partition_of

if TYPE_CHECKING:
    from vectorcache_client import AsyncClient

T = TypeVar("T")

DEADLINE = 1.0
READ_ONLY = "a collection behind a router is read-only"
MAX_NEIGHBOURS = 1000
MIN_NEIGHBOURS = 16
"""Minimum number of neighbours to request. It is quadrupled while too few of them belong to the partition."""

_SIMILARITY: dict[str, Callable[[float], float]] = {
    "cosine": lambda distance: 1 - distance,
    "dot": lambda distance: -distance,
    "euclidean": lambda distance: 1 - distance**2 / 2,  # for vectors of length 1
}


class RouterIndex(SimilarityIndex):
    """Index over a collection that was built from ``collection_table``. Writing raises ``Unsupported``.

    A router has no partitions. The index requests more and more neighbours, up to ``most``, until enough of them belong
    to the partition or the remaining ones cannot be similar enough. An entry behind more than ``most`` nearer entries
    of other partitions is not found, so a collection should hold one or a few partitions.

    Args:
        server: URL of the router, or a client (``vectorcache_client.AsyncClient``), which is not closed.
        collection: name of the collection.
        fingerprint: fingerprint of the embedder; must equal that of the collection.
        dimension: number of components of its vectors.
        recall: target recall@10 of searches; None for the recall measured for the collection.
        most: maximum number of neighbours to request, and maximum ``k``; must not exceed the router's limit.
        deadline: time limit of each call, in seconds.
        clock: returns seconds since the epoch.
    """

    name = "router"

    def __init__(
        self,
        server: str | AsyncClient,
        collection: str,
        fingerprint: str,
        dimension: int,
        *,
        recall: float | None = None,
        most: int = MAX_NEIGHBOURS,
        deadline: float = DEADLINE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._own = isinstance(server, str)
        client = require("vectorcache_client", "client")
        self._client: Any = client.AsyncClient(server, timeout=deadline) if self._own else server
        self._collection = collection
        self._fingerprint = fingerprint
        self._dimension = dimension
        self._recall = recall
        self._most = check_k(most, "most", MAX_K)
        self._deadline = deadline
        self._clock = clock
        self._metric = ""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the embedder whose vectors are accepted."""
        return self._fingerprint

    @property
    def dimension(self) -> int:
        """Number of components of a vector."""
        return self._dimension

    async def open(self) -> None:
        """Compare the collection's dimension and fingerprint with the embedder's.

        Raises:
            InvalidInput: the collection has another dimension, or was not built from ``collection_table``.
            FingerprintMismatch: the collection belongs to another embedder.
        """
        info = await self._asked(self._client.collection(self._collection))
        if info.dimension != self._dimension:
            raise InvalidInput(
                "dimension", self._dimension, f"{info.dimension}, the dimension of the collection"
            )
        hits = await self._hits(np.ones(self._dimension, dtype=np.float32), 1)
        if not hits:
            raise Unavailable(
                "router: the collection's fingerprint cannot be read, because a search found nothing"
            )
        found = as_row(hits[0].payload).fingerprint
        if found != self._fingerprint:
            raise FingerprintMismatch(self._fingerprint, found)
        self._metric = info.metric

    async def close(self) -> None:
        """Close the client, unless the caller owns it; a second call does nothing."""
        if self._own:
            await self._client.close()

    async def add(self, entries: Sequence[IndexEntry]) -> None:
        """Raise ``Unsupported``."""
        raise Unsupported(READ_ONLY)

    async def get(self, scope: Scope, id: str) -> IndexEntry | None:  # noqa: A002 - the field's name
        """See ``SimilarityIndex.get``."""
        found = await self._entries([identity_digest(scope, id)])
        return found[0] if found else None

    async def search(
        self, partition: Partition, vector: Floats, k: int = 1, min_similarity: float = 0.0
    ) -> list[Match]:
        """See ``SimilarityIndex.search``; the search of the collection is approximate."""
        query = unit_query(vector, self._dimension, k)
        if query is None:
            return []
        if not self._metric:
            await self.open()
        count = min(max(4 * k, MIN_NEIGHBOURS), self._most)
        while True:
            hits = await self._hits(query, count)
            ours = [hit.id for hit in hits if self._serves(as_row(hit.payload), partition)][:k]
            seen = len(hits) < count or _SIMILARITY[self._metric](hits[-1].distance) < min_similarity
            if seen or len(ours) == k or count == self._most:
                return best(await self._entries(ours), partition, query, k, min_similarity)
            count = min(4 * count, self._most)

    async def delete(self, scope: Scope, *ids: str) -> int:
        """Raise ``Unsupported``."""
        raise Unsupported(READ_ONLY)

    async def delete_where(self, selection: Selection) -> int:
        """Raise ``Unsupported``."""
        raise Unsupported(READ_ONLY)

    async def scan(self, selection: Selection = EVERYTHING) -> AsyncIterator[IndexEntry]:
        """Raise ``Unsupported``: a router does not list vectors."""
        for entry in _unlisted():
            yield entry

    async def stats(self) -> IndexStats:
        """Return the number of vectors of the collection, including expired ones, and the bytes of its chunks."""
        info = await self._asked(self._client.collection(self._collection))
        return IndexStats(info.vectors, info.bytes)

    def _serves(self, row: Row, partition: Partition) -> bool:
        return partition_of(row) == partition and (row.expires_at is None or row.expires_at > self._clock())

    async def _hits(self, query: Floats, count: int) -> list[public.Hit]:
        found = await self._asked(
            self._client.search(self._collection, query, count, recall=self._recall, payload=True)
        )
        return list(found.results[0].hits)

    async def _entries(self, ids: Sequence[int | str]) -> list[IndexEntry]:
        """Fetch entries with their vectors, which search results do not contain."""
        if not ids:
            return []
        found: list[IndexEntry] = []
        for start in range(0, len(ids), public.MAX_IDS):
            answer = await self._asked(
                self._client.vectors(self._collection, ids[start : start + public.MAX_IDS])
            )
            found += [as_entry(item) for item in answer.vectors]
        now = self._clock()
        return [entry for entry in found if entry.expires_at is None or entry.expires_at > now]

    async def _asked(self, call: Awaitable[T]) -> T:
        """Await a call of the client. A missing collection raises ``Unavailable``, since it may appear later."""
        try:
            async with asyncio.timeout(self._deadline):
                return await call
        except TimeoutError as error:
            raise DeadlineExceeded(f"router: not done within {self._deadline:g} s") from error
        except NotFound as error:
            raise Unavailable(f"router: {error}") from error


def _unlisted() -> list[IndexEntry]:
    raise Unsupported("a router does not list the vectors of a collection")
