"""Administration of the response cache over all tiers: deletion, export and import, health, statistics."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, ClassVar

import numpy as np

from vectorcache.errors import Unavailable
from vectorcache.vectors.metric import Floats
from vectorcache_llm.managed import ManagedCache, PartHealth, Record
from vectorcache_llm.observer import Observer
from vectorcache_llm.response.invalidations import Invalidations
from vectorcache_llm.response.neighbours import Neighbour, neighbours
from vectorcache_llm.response.part import CACHE, PartUnavailable
from vectorcache_llm.response.records import as_record, read, vector_of
from vectorcache_llm.response.request import Request
from vectorcache_llm.response.semantic import Semantic
from vectorcache_llm.response.tier import Tier
from vectorcache_llm.scope import EVERYBODY, EVERYTHING, Scope, Selection
from vectorcache_llm.similarity.base import IndexEntry, IndexStats

ADMINISTRATION_SECONDS = 60.0
"""Deadline for one administrative operation on one tier, which may touch every entry."""
BATCH = 256
"""Entries that one call restores or deletes."""

Ids = dict[Scope, set[str]]


class AdministeredCache(ManagedCache):
    """The administrative operations of a cache with tiers.

    Several tiers may hold the same entry. To count or export it once, operations remember the ids found in the upper
    tiers, but never those of the lowest tier, which is the largest.
    """

    name: ClassVar[str] = CACHE

    def __init__(
        self,
        tiers: Sequence[Tier],
        semantic: Semantic,
        invalidations: Invalidations,
        observer: Observer,
        deadline: float,
        clock: Callable[[], float],
    ) -> None:
        self._tiers = tuple(tiers)
        self._semantic = semantic
        self._invalidations = invalidations
        self._observer = observer
        self._deadline = deadline
        self._clock = clock
        self._outcomes: Counter[str] = Counter()

    async def delete_where(self, selection: Selection) -> int:
        """Delete every selected entry from every tier and return the number of different entries.

        The memory tiers of other processes keep their copies until these expire.

        Raises:
            Unavailable: a tier failed; the entries were deleted from the others.
        """
        self._invalidations.add(selection)
        return await self._delete_everywhere(lambda tier, seen: self._delete_in(tier, selection, seen))

    async def delete_similar(self, scope: Scope, text: str, min_similarity: float) -> int:
        """Delete the entries of a scope, in any context, whose question is similar enough to the text.

        Raises:
            Unavailable: the text could not be embedded, or a tier failed; the others deleted the entries.
        """
        vector = (await self._semantic.part.run("embed", lambda: self._embed((text,)), _deadline()))[0]

        def similar(entry: IndexEntry) -> bool:
            return bool(np.dot(entry.vector, vector) >= min_similarity)

        return await self._delete_everywhere(lambda tier, seen: self._delete_if(tier, scope, similar, seen))

    async def similar(self, request: Request, scope: Scope = EVERYBODY, *, k: int = 5) -> list[Neighbour]:
        """Return the most similar stored questions of all tiers, and whether their replies would be served.

        Raises:
            InvalidInput: ``k`` is less than 1.
            Unavailable: the question could not be embedded, or a tier did not answer.
        """
        return await neighbours(self._tiers, self._semantic, request, scope, k)

    async def export(self, selection: Selection = EVERYTHING) -> AsyncIterator[Record]:
        """Yield every selected entry of all tiers once, as a record for ``restore``.

        Raises:
            Unavailable: a tier cannot be read.
        """
        seen: Ids = defaultdict(set)
        for tier in self._tiers:
            async for entry in tier.scan(selection):
                ids = seen[entry.partition.scope]
                if entry.id in ids:
                    continue
                if tier is not self._tiers[-1]:
                    ids.add(entry.id)
                stored = self._semantic.decode(entry, tier.name)
                if stored is not None:
                    yield as_record(entry, stored, self._semantic.embedder.fingerprint)

    async def restore(self, records: Sequence[Record]) -> int:
        """Store exported entries in every tier. Questions exported with another embedder are embedded again.

        Raises:
            InvalidInput: a record was not made by ``export``; names the field.
            Unavailable: the questions could not be embedded, or no tier stored the entries.
        """
        kept = 0
        for start in range(0, len(records), BATCH):
            entries = await self._entries(records[start : start + BATCH])
            if entries:
                await self._store_in_tiers(entries)
            kept += len(entries)
        return kept

    async def health(self) -> Sequence[PartHealth]:
        """Probe the embedder and all tiers concurrently."""
        checks = [self._check(self._semantic.part.name, lambda: self._embed(("health",)))]
        checks += [self._check(tier.name, _probe_of(tier)) for tier in self._tiers]
        return await asyncio.gather(*checks)

    async def stats(self) -> Mapping[str, Any]:
        """Return the state of each tier, the lookups by outcome, the refusals by check, and the threshold."""
        return {
            "lookups": dict(self._outcomes),
            "refusals": dict(self._semantic.refusals),
            "min_similarity": self._semantic.threshold.min_similarity,
            "embedder": {
                "fingerprint": self._semantic.embedder.fingerprint,
                "breaker": str(self._semantic.part.state),
            },
            "tiers": {tier.name: await self._tier_stats(tier) for tier in self._tiers},
        }

    async def _embed(self, texts: Sequence[str]) -> Floats:
        return await self._semantic.embedder.embed(texts)

    async def _delete_everywhere(self, delete: Callable[[Tier, Ids], Awaitable[int]]) -> int:
        """Call ``delete`` for each tier with the ids that were deleted from the tiers above, and return the total."""
        seen: Ids = defaultdict(set)
        count = 0
        failed: list[str] = []
        for tier in self._tiers:
            try:
                removed = await delete(tier, seen)
            except Unavailable as error:
                failed.append(f"{tier.name}: {error}")
                continue
            count += removed
            self._observer.removed(CACHE, tier.name, removed, "invalidated")
        if failed:
            raise Unavailable(
                f"some tiers failed to delete ({count} entries deleted from others): {'; '.join(failed)}"
            )
        return count

    async def _delete_in(self, tier: Tier, selection: Selection, seen: Ids) -> int:
        """Delete from one tier and return the number of entries that no tier above had.

        The ids seen above are deleted first, so that the remaining entries can be counted.
        """
        for scope, ids in seen.items():
            await _delete_ids(tier, scope, ids)
        if tier is self._tiers[-1]:
            return await tier.delete_where(selection, _deadline())
        here: Ids = defaultdict(set)
        async for entry in tier.scan(selection):
            here[entry.partition.scope].add(entry.id)
        removed = await tier.delete_where(selection, _deadline())
        for scope, ids in here.items():
            seen[scope] |= ids
        return removed

    async def _delete_if(
        self, tier: Tier, scope: Scope, wanted: Callable[[IndexEntry], bool], seen: Ids
    ) -> int:
        found = {entry.id async for entry in tier.scan(Selection.of(scope)) if wanted(entry)}
        await _delete_ids(tier, scope, found)
        new = found - seen[scope]
        seen[scope] |= found
        return len(new)

    async def _entries(self, records: Sequence[Record]) -> list[IndexEntry]:
        """Return the entries that have not expired, with vectors of this embedder."""
        now = self._clock()
        embedder = self._semantic.embedder
        living = [
            record for record in map(read, records) if record.expires_at is None or record.expires_at > now
        ]
        vectors = [vector_of(record, embedder.fingerprint, embedder.dimension) for record in living]
        texts = [record.text for record, vector in zip(living, vectors, strict=True) if vector is None]
        embedded = iter(await self._embed(texts))
        return [
            record.entry(next(embedded) if vector is None else vector)
            for record, vector in zip(living, vectors, strict=True)
        ]

    async def _store_in_tiers(self, entries: Sequence[IndexEntry]) -> None:
        mark = self._invalidations.mark
        work = (tier.keep(entries, self._invalidations, mark, _deadline()) for tier in self._tiers)
        failures = [
            result for result in await asyncio.gather(*work, return_exceptions=True) if result is not None
        ]
        if len(failures) == len(self._tiers):
            raise Unavailable(f"no tier stored the entries: {'; '.join(map(str, failures))}")

    async def _check(self, name: str, work: Callable[[], Awaitable[object]]) -> PartHealth:
        begun = perf_counter()
        try:
            async with asyncio.timeout(self._deadline):
                await work()
        except TimeoutError:
            ok, detail = False, f"no answer within {self._deadline:g} s"
        except Exception as error:  # noqa: BLE001 - the result of the probe
            ok, detail = False, str(error)
        else:
            ok, detail = True, "answers"
        return PartHealth(name, ok, detail, perf_counter() - begun)

    async def _tier_stats(self, tier: Tier) -> dict[str, Any]:
        try:
            held = await tier.stats(asyncio.get_running_loop().time() + self._deadline)
        except PartUnavailable:
            held = IndexStats(None, None)
        return {"entries": held.entries, "bytes": held.bytes, "breaker": str(tier.state)}


def _probe_of(tier: Tier) -> Callable[[], Awaitable[object]]:
    return lambda: tier.index.stats()


async def _delete_ids(tier: Tier, scope: Scope, ids: set[str]) -> None:
    listed = list(ids)
    for start in range(0, len(listed), BATCH):
        await tier.delete(scope, listed[start : start + BATCH], _deadline())


def _deadline() -> float:
    return asyncio.get_running_loop().time() + ADMINISTRATION_SECONDS
