"""One similarity index as a tier: its calls within deadlines, and taken up again when it is back."""

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
from vectorcache_llm.response.part import CACHE, Part, PassedOver
from vectorcache_llm.scope import Scope, Selection
from vectorcache_llm.similarity import base

OPEN_SECONDS = 5.0
"""For connecting and making an index; nobody waits for it but ``open`` of the cache."""


class Tier(Part):
    """An index that may be away. All calls raise ``PassedOver`` where it does not do its work by ``ends``."""

    def __init__(
        self, index: base.SimilarityIndex, breaker: Breaker, observer: Observer, tasks: Tasks
    ) -> None:
        super().__init__(index.name, breaker, observer)
        self.index = index
        self._tasks = tasks
        self._is_open = False
        self._opening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make ready. A failure is the observer's to hear; it is tried again when the tier is next wanted."""
        ends = asyncio.get_running_loop().time() + OPEN_SECONDS
        try:
            await self._try("open", lambda: self.index.open(), ends)
        except PassedOver:
            return
        self._is_open = True

    async def close(self) -> None:
        """Release what the index holds."""
        self._is_open = False
        await self.index.close()

    async def get(self, query: Query, ends: float) -> base.IndexEntry | None:
        """The entry of this very request."""
        self._check_open()
        begun = time.perf_counter()
        entry = await self.run("get", lambda: self.index.get(query.scope, query.id), ends)
        self.took(time.perf_counter() - begun)
        return entry

    async def search(
        self,
        query: Query,
        vector: Floats,
        k: int,
        floor: float,
        ends: float,
        meanwhile: Callable[[], object] = nothing,
    ) -> Sequence[base.Match]:
        """Entries with a similar question."""
        self._check_open()
        return await self.run(
            "search", lambda: self.index.search(query.partition, vector, k, floor), ends, meanwhile
        )

    async def lookup(
        self,
        query: Query,
        vector: Floats,
        k: int,
        floor: float,
        ends: float,
        meanwhile: Callable[[], object] = nothing,
    ) -> base.Lookup:
        """Both, in one round trip."""
        self._check_open()
        return await self.run(
            "look up",
            lambda: self.index.lookup(query.id, query.partition, vector, k, floor),
            ends,
            meanwhile,
        )

    async def keep(
        self, entries: Sequence[base.IndexEntry], invalidations: Invalidations, mark: int, ends: float
    ) -> None:
        """Write entries, but none that a deletion since the mark is about."""
        self._check_open()
        wanted = [entry for entry in entries if not invalidations.lost(entry, mark)]
        if not wanted:
            return
        await self.run("store", lambda: self.index.add(wanted), ends)
        for entry in wanted:
            if invalidations.lost(entry, mark):  # deleted while it was being written
                await self.delete(entry.partition.scope, [entry.id], ends)
            else:
                self._observer.stored(CACHE, entry.partition.scope.tenant, self.name, len(entry.payload))

    async def delete(self, scope: Scope, ids: Sequence[str], ends: float) -> int:
        """Delete entries of a scope; say how many were there."""
        self._check_open()
        return await self.run("delete", lambda: self.index.delete(scope, *ids), ends)

    async def delete_where(self, selection: Selection, ends: float) -> int:
        """Delete what is selected; say how much there was."""
        self._check_open()
        return await self.run("delete", lambda: self.index.delete_where(selection), ends)

    async def scan(self, selection: Selection) -> AsyncIterator[base.IndexEntry]:
        """Every selected entry; raises ``Unavailable``."""
        self._check_open()
        async for entry in self.index.scan(selection):
            yield entry

    async def stats(self, ends: float) -> base.IndexStats:
        """What it holds."""
        self._check_open()
        return await self.run("tell its size", lambda: self.index.stats(), ends)

    def _check_open(self) -> None:
        if self._is_open:
            return
        if (self._opening is None or self._opening.done()) and self._breaker.allows():
            self._opening = self._tasks.start(self.open())
        raise PassedOver(f"{self.name} is not open yet")
