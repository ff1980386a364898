"""Similar questions: which are looked for, and which of those that are found may be served."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from vectorcache.errors import CorruptData
from vectorcache.vectors.metric import Floats
from vectorcache_llm.embedders.base import Embedder
from vectorcache_llm.errors import FingerprintMismatch
from vectorcache_llm.observer import Observer, Outcome
from vectorcache_llm.response.guard import Guard
from vectorcache_llm.response.lookup import Query
from vectorcache_llm.response.part import CACHE, Part, PassedOver
from vectorcache_llm.response.reply import Reply, Stored
from vectorcache_llm.response.shadow import ShadowCollector, WouldBeHit
from vectorcache_llm.response.threshold import Threshold
from vectorcache_llm.similarity.base import IndexEntry, Match

CANDIDATES = 4
"""Entries that the guard looks at when it has refused the nearest: behind a trap there may be a paraphrase."""


class Finding(NamedTuple):
    """What a tier's answer comes to."""

    outcome: Outcome
    reply: Reply | None = None
    entry: IndexEntry | None = None
    similarity: float | None = None
    matched: str = ""
    reason: str = ""


NOTHING = Finding(Outcome.MISS)


class Semantic:
    """The embedder, the threshold and the guard as one."""

    def __init__(
        self,
        embedder: Embedder,
        threshold: Threshold,
        guard: Guard,
        shadow: ShadowCollector | None,
        part: Part,
        observer: Observer,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if threshold.fingerprint not in ("", embedder.fingerprint):
            raise FingerprintMismatch(embedder.fingerprint, threshold.fingerprint)
        self.embedder = embedder
        self.threshold = threshold
        self.part = part
        self.refusals: Counter[str] = Counter()
        self.guard = guard
        self._shadow = shadow
        self._observer = observer
        self._clock = clock

    @property
    def floor(self) -> float | None:
        """Least similarity worth a look; None where similar questions are not looked for at all."""
        served = self.threshold.min_similarity
        if self._shadow is None:
            return served
        return self._shadow.floor if served is None else min(served, self._shadow.floor)

    async def vector(self, query: Query, ends: float) -> Floats | None:
        """Of the question, embedded once; None where there is none, or it failed (once is enough)."""
        if query.vector is None and not query.embedded and query.request.question:
            query.embedded = True
            texts = (query.request.question,)
            begun = time.perf_counter()
            try:
                query.vector = (await self.part.run("embed", lambda: self.embedder.embed(texts), ends))[0]
                self.part.took(time.perf_counter() - begun)
            except PassedOver:
                query.failed = True
        return query.vector

    def judge(self, query: Query, matches: Sequence[Match], tier: str) -> Finding:
        """The most similar entry that may be served, or why the most similar of all may not."""
        refused = NOTHING
        for entry, similarity in matches:
            stored = self.decode(entry, tier)
            if stored is None or not self.is_fresh(stored):
                continue
            finding = self._weigh(query, entry, similarity, stored.reply)
            if finding.outcome is Outcome.SEMANTIC:
                return finding
            if refused is NOTHING:
                refused = finding
        return refused

    def _weigh(self, query: Query, entry: IndexEntry, similarity: float, reply: Reply) -> Finding:
        question = query.request.question
        refusal = self.guard.refuses(question, entry.text)
        if self._held_back(query, entry, similarity, reply, "" if refusal is None else refusal.reason):
            return NOTHING
        served = self.threshold.min_similarity
        if served is None or similarity < served:
            return NOTHING
        if refusal is None:
            return Finding(Outcome.SEMANTIC, reply, entry, similarity, entry.text)
        self.refusals[refusal.check] += 1
        return Finding(Outcome.REFUSED, None, None, similarity, entry.text, refusal.reason)

    def _held_back(
        self, query: Query, entry: IndexEntry, similarity: float, reply: Reply, reason: str
    ) -> bool:
        """Whether the query goes to the model to learn what would have been right; decided at its first candidate."""
        if self._shadow is None:
            return False
        if query.would_be is None and not query.judged:
            query.judged = True
            if self._shadow.takes(similarity):
                query.would_be = WouldBeHit(
                    query.request.question,
                    entry.text,
                    similarity,
                    reason,
                    reply.text,
                    self.embedder.fingerprint,
                )
        return query.would_be is not None

    def decode(self, entry: IndexEntry, tier: str) -> Stored | None:
        """What an entry holds; None, and a word to the observer, where it is damaged."""
        try:
            return Stored.decode(entry.payload)
        except CorruptData as error:
            self._observer.failed(CACHE, tier, "decode", error)
            return None

    def refused(self, question: str, text: str, similarity: float) -> str:
        """Why a stored question's reply would not be served for another question; empty where it would be."""
        served = self.threshold.min_similarity
        if served is None:
            return "similar questions are not served"
        if similarity < served:
            return f"less similar than {served:.2f}"
        refusal = self.guard.refuses(question, text)
        return "" if refusal is None else f"{refusal.check}: {refusal.reason}"

    def is_fresh(self, stored: Stored) -> bool:
        """Whether it has not become stale."""
        return stored.fresh_until is None or stored.fresh_until > self._clock()
