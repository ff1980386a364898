"""A similarity index as a tier: calls have deadlines, and an index that was unavailable is opened later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

from vectorcache.concurrency import Tasks
from vectorcache.vectors.metric import Floats
from vectorcache_llm.observer import Observer
from vectorcache_llm.response.breaker import Breaker
from vectorcache_llm.response.eager import nothing
from vectorcache_llm.response.invalidations import Invalidations
from vectorcache_llm.response.lookup import Query
from vectorcache_llm.response.part import CACHE, Part, PartUnavailable
from vectorcache_llm.scope import Scope, Selection
from vectorcache_llm.similarity import base

OPEN_SECONDS = 5.0
"""Deadline for connecting to an index and creating it. Only the cache's ``open`` waits for this."""


class Tier(Part):
    """An index that may be unavailable. All calls raise ``PartUnavailable`` if it does not finish by ``deadline``."""

    def __init__(
        self, index: base.SimilarityIndex, breaker: Breaker, observer: Observer, tasks: Tasks
    ) -> None:
        super().__init__(index.name, breaker, observer)
        self.index = index
        self._tasks = tasks
        self._is_open = False
        self._opening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the index. A failure is only reported to the observer; the next use of the tier tries again."""
        deadline = asyncio.get_running_loop().time() + OPEN_SECONDS
        try:
            await self._try("open", lambda: self.index.open(), deadline)
        except PartUnavailable:
            return
        self._is_open = True

    async def close(self) -> None:
        """Close the index."""
        self._is_open = False
        await self.index.close()

    async def get(self, query: Query, deadline: float) -> base.IndexEntry | None:
        """Return the entry of the same request."""
        self._check_open()
        begun = time.perf_counter()
        entry = await self.run("get", lambda: self.index.get(query.scope, query.id), deadline)
        self.record_duration(time.perf_counter() - begun)
        return entry

    async def search(
        self,
        query: Query,
        vector: Floats,
        k: int,
        floor: float,
        deadline: float,
        meanwhile: Callable[[], object] = nothing,
    ) -> Sequence[base.Match]:
        """Return entries with similar questions."""
        self._check_open()
        return await self.run(
            "search", lambda: self.index.search(query.partition, vector, k, floor), deadline, meanwhile
        )

    async def lookup(
        self,
        query: Query,
        vector: Floats,
        k: int,
        floor: float,
        deadline: float,
        meanwhile: Callable[[], object] = nothing,
    ) -> base.Lookup:
        """Return the results of ``get`` and ``search`` in one round trip."""
        self._check_open()
        return await self.run(
            "look up",
            lambda: self.index.lookup(query.id, query.partition, vector, k, floor),
            deadline,
            meanwhile,
        )

    async def keep(
        self, entries: Sequence[base.IndexEntry], invalidations: Invalidations, mark: int, deadline: float
    ) -> None:
        """Write entries, except those selected by a deletion since the mark."""
        self._check_open()
        wanted = [entry for entry in entries if not invalidations.lost(entry, mark)]
        if not wanted:
            return
        await self.run("store", lambda: self.index.add(wanted), deadline)
        for entry in wanted:
            if invalidations.lost(entry, mark):  # deleted while it was being written
                await self.delete(entry.partition.scope, [entry.id], deadline)
            else:
                self._observer.stored(CACHE, entry.partition.scope.tenant, self.name, len(entry.payload))

    async def delete(self, scope: Scope, ids: Sequence[str], deadline: float) -> int:
        """Delete entries of a scope and return how many existed."""
        self._check_open()
        return await self.run("delete", lambda: self.index.delete(scope, *ids), deadline)

    async def delete_where(self, selection: Selection, deadline: float) -> int:
        """Delete the selected entries and return how many existed."""
        self._check_open()
        return await self.run("delete", lambda: self.index.delete_where(selection), deadline)

    async def scan(self, selection: Selection) -> AsyncIterator[base.IndexEntry]:
        """Yield every selected entry. Raises ``Unavailable``."""
        self._check_open()
        async for entry in self.index.scan(selection):
            yield entry

    async def stats(self, deadline: float) -> base.IndexStats:
        """Return the size of the index."""
        self._check_open()
        return await self.run("report its size", lambda: self.index.stats(), deadline)

    def _check_open(self) -> None:
        if self._is_open:
            return
        if (self._opening is None or self._opening.done()) and self._breaker.allows():
            self._opening = self._tasks.start(self.open())
        raise PartUnavailable(f"{self.name} is not open yet")
