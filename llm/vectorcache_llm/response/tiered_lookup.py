"""Lookup through the tiers in order, until the first exact hit. Hits are promoted to the tiers above."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vectorcache_llm.observer import Observer, Outcome
from vectorcache_llm.response.background import Background
from vectorcache_llm.response.invalidations import Invalidations
from vectorcache_llm.response.lookup import Lookup, Query
from vectorcache_llm.response.part import CACHE, PartUnavailable
from vectorcache_llm.response.reply import Reply
from vectorcache_llm.response.semantic import CANDIDATES, NOTHING, Finding, Semantic
from vectorcache_llm.response.tier import Tier
from vectorcache_llm.similarity import base

READ_MEANWHILE = 1_000
"""Maximum length in characters of a question that the guard reads while a server works: about a millisecond."""
_RANK = {
    Outcome.MISS: 0,
    Outcome.REFUSED: 1,
    Outcome.SEMANTIC: 2,
    Outcome.STALE: 3,
    Outcome.EXACT: 4,
}
"""The tier whose outcome ranks higher wins; among equal outcomes, the nearer tier."""


class TieredLookup:
    """Lookups in tiers, the nearest first. A hit for the same request in any tier beats one for a similar request.

    Tiers that fail are skipped.
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
        """Look up a request within the query's allowance, and deduct the time from it.

        Args:
            query: the request.
            stale: whether to return a stale reply to the same request if there is no fresh one.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with query.spending() as deadline:
            found, tier = await self._walk(query, deadline, stale)
        seconds = loop.time() - begun
        outcome = found.outcome
        if outcome is Outcome.MISS and query.failed:
            outcome = Outcome.FAILED
        self._observer.looked_up(CACHE, query.scope.tenant, outcome, seconds, key=query.id)
        return Lookup(found.reply, outcome, tier, found.similarity, found.matched, found.reason, seconds)

    async def get_cached(self, query: Query) -> Reply | None:
        """Return a fresh reply to the same request from the first tier, without reporting to the observer."""
        with query.spending() as deadline:
            try:
                entry = await self.tiers[0].get(query, deadline)
            except PartUnavailable:
                return None
        return self._exact(entry, self.tiers[0], stale=False).reply

    async def keep_first(self, query: Query, entry: base.IndexEntry, deadline: float) -> bool:
        """Store an entry in the first tier and return whether that succeeded."""
        return await self._keep(self.tiers[0], entry, query.mark, deadline)

    async def keep_rest(self, query: Query, entry: base.IndexEntry, deadline: float) -> bool:
        """Store an entry in the other tiers concurrently and return whether one succeeded."""
        return await self._copy(entry, self.tiers[1:], query.mark, deadline)

    async def _walk(self, query: Query, deadline: float, stale: bool) -> tuple[Finding, str]:
        best, where = NOTHING, ""
        for depth, tier in enumerate(self.tiers):
            found = await self._ask(tier, query, best, deadline, stale)
            if _RANK[found.outcome] > _RANK[best.outcome]:
                best, where = found, tier.name
                if depth and self._promote(query, found, depth):
                    await asyncio.sleep(0)  # in-process tiers never suspend, so the copy would never run
            if found.outcome is Outcome.EXACT:
                break
        return best, where

    def _promote(self, query: Query, found: Finding, depth: int) -> bool:
        """Copy a finding to the tiers above in the background; return whether there is anything to copy."""
        entry = found.entry
        if entry is None or found.outcome is Outcome.STALE:
            return False
        deadline = asyncio.get_running_loop().time() + self._deadline
        self._background.offer(lambda: self._copy(entry, self.tiers[:depth], query.mark, deadline))
        return True

    async def _copy(self, entry: base.IndexEntry, tiers: Sequence[Tier], mark: int, deadline: float) -> bool:
        return any(await asyncio.gather(*(self._keep(tier, entry, mark, deadline) for tier in tiers)))

    async def _keep(self, tier: Tier, entry: base.IndexEntry, mark: int, deadline: float) -> bool:
        try:
            await tier.keep((entry,), self._invalidations, mark, deadline)
        except PartUnavailable:
            return False
        return True

    async def _ask(self, tier: Tier, query: Query, best: Finding, deadline: float, stale: bool) -> Finding:
        """Look up a query in one tier, and report to the observer."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            found = await self._look(tier, query, best, deadline, stale)
            outcome = found.outcome
        except PartUnavailable:
            query.failed = True
            found, outcome = NOTHING, Outcome.FAILED
        self._observer.looked_up(CACHE, query.scope.tenant, outcome, loop.time() - begun, tier=tier.name)
        return found

    async def _look(self, tier: Tier, query: Query, best: Finding, deadline: float, stale: bool) -> Finding:
        """Look up the same and similar requests in one round trip, unless embedding takes longer than a second one."""
        floor, question = self._semantic.floor, query.request.question
        if best.reply is not None or floor is None or not question:
            return self._exact(await tier.get(query, deadline), tier, stale)
        matches: Sequence[base.Match] = ()
        one_trip = query.vector is not None or 0 < self._semantic.part.average_seconds < tier.average_seconds
        vector = await self._semantic.vector(query, deadline) if one_trip else None

        def read() -> None:  # prepares the guard; a long question would use up the deadline
            if len(question) <= READ_MEANWHILE:
                self._semantic.guard.read(question)

        if vector is None:
            entry = await tier.get(query, deadline)
        else:
            entry, matches = await tier.lookup(query, vector, 1, floor, deadline, read)
        exact = self._exact(entry, tier, stale)
        if exact is not NOTHING:
            return exact
        if vector is None:
            vector = await self._semantic.vector(query, deadline)
            matches = () if vector is None else await tier.search(query, vector, 1, floor, deadline, read)
        nearest = self._semantic.judge(query, matches, tier.name)
        if vector is None or nearest.outcome is not Outcome.REFUSED:
            return nearest
        more = await tier.search(query, vector, CANDIDATES, floor, deadline)
        other = self._semantic.judge(query, more[1:], tier.name)
        return other if other.outcome is Outcome.SEMANTIC else nearest

    def _exact(self, entry: base.IndexEntry | None, tier: Tier, stale: bool) -> Finding:
        stored = None if entry is None else self._semantic.decode(entry, tier.name)
        if stored is None:
            return NOTHING
        if self._semantic.is_fresh(stored):
            return Finding(Outcome.EXACT, stored.reply, entry)
        return Finding(Outcome.STALE, stored.reply, entry) if stale else NOTHING
