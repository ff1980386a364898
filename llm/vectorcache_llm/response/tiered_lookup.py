"""The tiers as one: a look-up climbs down until it has found; what it found is promoted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vectorcache_llm.observer import Observer, Outcome
from vectorcache_llm.response.background import Background
from vectorcache_llm.response.invalidations import Invalidations
from vectorcache_llm.response.lookup import Lookup, Query
from vectorcache_llm.response.part import CACHE, PassedOver
from vectorcache_llm.response.reply import Reply
from vectorcache_llm.response.semantic import CANDIDATES, NOTHING, Finding, Semantic
from vectorcache_llm.response.tier import Tier
from vectorcache_llm.similarity import base

READ_MEANWHILE = 1_000
"""Characters of a question that the guard reads while a server works: about a millisecond."""
_RANK = {
    Outcome.MISS: 0,
    Outcome.REFUSED: 1,
    Outcome.SEMANTIC: 2,
    Outcome.STALE: 3,
    Outcome.EXACT: 4,
}
"""Of two tiers' findings the higher one counts, of equal ones that of the nearer tier."""


class TieredLookup:
    """Tiers, the nearest first. The same request, in whatever tier, comes before a similar one in any.

    A tier that fails is passed over.
    """

    def __init__(
        self,
        tiers: Sequence[Tier],
        semantic: Semantic,
        invalidations: Invalidations,
        background: Background,
        observer: Observer,
        deadline: float,
    ) -> None:
        self.tiers = tuple(tiers)
        self._semantic = semantic
        self._invalidations = invalidations
        self._background = background
        self._observer = observer
        self._deadline = deadline

    async def find(self, query: Query, *, stale: bool = False) -> Lookup:
        """Look a request up within the query's allowance, and take the time from it.

        Args:
            query: the request.
            stale: whether an expired reply to the same request will do, where there is no fresh one.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with query.spending() as ends:
            found, tier = await self._walk(query, ends, stale)
        seconds = loop.time() - begun
        outcome = found.outcome
        if outcome is Outcome.MISS and query.failed:
            outcome = Outcome.FAILED
        self._observer.looked_up(CACHE, query.scope.tenant, outcome, seconds, key=query.id)
        return Lookup(found.reply, outcome, tier, found.similarity, found.matched, found.reason, seconds)

    async def get_cached(self, query: Query) -> Reply | None:
        """A fresh reply to the same request in the first tier; unobserved."""
        with query.spending() as ends:
            try:
                entry = await self.tiers[0].get(query, ends)
            except PassedOver:
                return None
        return self._exact(entry, self.tiers[0], stale=False).reply

    async def keep_first(self, query: Query, entry: base.IndexEntry, ends: float) -> bool:
        """Store in the first tier; say whether it did."""
        return await self._keep(self.tiers[0], entry, query.mark, ends)

    async def keep_rest(self, query: Query, entry: base.IndexEntry, ends: float) -> bool:
        """Store in the tiers below the first, side by side; say whether one did."""
        return await self._copy(entry, self.tiers[1:], query.mark, ends)

    async def _walk(self, query: Query, ends: float, stale: bool) -> tuple[Finding, str]:
        best, where = NOTHING, ""
        for depth, tier in enumerate(self.tiers):
            found = await self._ask(tier, query, best, ends, stale)
            if _RANK[found.outcome] > _RANK[best.outcome]:
                best, where = found, tier.name
                if depth and self._promote(query, found, depth):
                    await asyncio.sleep(0)  # tiers in process never wait, and a copy would never get its turn
            if found.outcome is Outcome.EXACT:
                break
        return best, where

    def _promote(self, query: Query, found: Finding, depth: int) -> bool:
        """Copy what was found to the tiers above, behind the answer; say whether there is anything to copy."""
        entry = found.entry
        if entry is None or found.outcome is Outcome.STALE:
            return False
        ends = asyncio.get_running_loop().time() + self._deadline
        self._background.offer(lambda: self._copy(entry, self.tiers[:depth], query.mark, ends))
        return True

    async def _copy(self, entry: base.IndexEntry, tiers: Sequence[Tier], mark: int, ends: float) -> bool:
        return any(await asyncio.gather(*(self._keep(tier, entry, mark, ends) for tier in tiers)))

    async def _keep(self, tier: Tier, entry: base.IndexEntry, mark: int, ends: float) -> bool:
        try:
            await tier.keep((entry,), self._invalidations, mark, ends)
        except PassedOver:
            return False
        return True

    async def _ask(self, tier: Tier, query: Query, best: Finding, ends: float, stale: bool) -> Finding:
        """What one tier has, told to the observer."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            found = await self._look(tier, query, best, ends, stale)
            outcome = found.outcome
        except PassedOver:
            query.failed = True
            found, outcome = NOTHING, Outcome.FAILED
        self._observer.looked_up(CACHE, query.scope.tenant, outcome, loop.time() - begun, tier=tier.name)
        return found

    async def _look(self, tier: Tier, query: Query, best: Finding, ends: float, stale: bool) -> Finding:
        """Both in one round trip, unless embedding the question takes longer than another one."""
        floor, question = self._semantic.floor, query.request.question
        if best.reply is not None or floor is None or not question:
            return self._exact(await tier.get(query, ends), tier, stale)
        matches: Sequence[base.Match] = ()
        one_trip = query.vector is not None or 0 < self._semantic.part.usual_seconds < tier.usual_seconds
        vector = await self._semantic.vector(query, ends) if one_trip else None

        def read() -> None:  # the guard will want to know; but long ones would make the server look late
            if len(question) <= READ_MEANWHILE:
                self._semantic.guard.read(question)

        if vector is None:
            entry = await tier.get(query, ends)
        else:
            entry, matches = await tier.lookup(query, vector, 1, floor, ends, read)
        exact = self._exact(entry, tier, stale)
        if exact is not NOTHING:
            return exact
        if vector is None:
            vector = await self._semantic.vector(query, ends)
            matches = () if vector is None else await tier.search(query, vector, 1, floor, ends, read)
        nearest = self._semantic.judge(query, matches, tier.name)
        if vector is None or nearest.outcome is not Outcome.REFUSED:
            return nearest
        more = await tier.search(query, vector, CANDIDATES, floor, ends)
        behind = self._semantic.judge(query, more[1:], tier.name)
        return behind if behind.outcome is Outcome.SEMANTIC else nearest

    def _exact(self, entry: base.IndexEntry | None, tier: Tier, stale: bool) -> Finding:
        stored = None if entry is None else self._semantic.decode(entry, tier.name)
        if stored is None:
            return NOTHING
        if self._semantic.is_fresh(stored):
            return Finding(Outcome.EXACT, stored.reply, entry)
        return Finding(Outcome.STALE, stored.reply, entry) if stale else NOTHING
