"""Similar questions: embedding, and deciding which of the similar stored questions may be served."""

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
from vectorcache_llm.response.part import CACHE, Part, PartUnavailable
from vectorcache_llm.response.reply import Reply, Stored
from vectorcache_llm.response.shadow import ShadowCollector, WouldBeHit
from vectorcache_llm.response.threshold import Threshold
from vectorcache_llm.similarity.base import IndexEntry, Match

CANDIDATES = 4
"""Entries that the guard checks after it has refused the most similar one, as a later one may be a paraphrase."""


class Finding(NamedTuple):
    """The result of looking up a query in one tier."""

    outcome: Outcome
    reply: Reply | None = None
    entry: IndexEntry | None = None
    similarity: float | None = None
    matched: str = ""
    reason: str = ""


NOTHING = Finding(Outcome.MISS)


class Semantic:
    """The embedder, the threshold and the guard, used together."""

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
        """Minimum similarity to search for; None if similar questions are not searched for."""
        served = self.threshold.min_similarity
        if self._shadow is None:
            return served
        return self._shadow.floor if served is None else min(served, self._shadow.floor)

    async def vector(self, query: Query, deadline: float) -> Floats | None:
        """Return the question's vector, embedded at most once, or None without a question or after a failure."""
        if query.vector is None and not query.embedded and query.request.question:
            query.embedded = True
            texts = (query.request.question,)
            begun = time.perf_counter()
            try:
                query.vector = (await self.part.run("embed", lambda: self.embedder.embed(texts), deadline))[0]
                self.part.record_duration(time.perf_counter() - begun)
            except PartUnavailable:
                query.failed = True
        return query.vector

    def judge(self, query: Query, matches: Sequence[Match], tier: str) -> Finding:
        """Return the most similar entry that may be served, or else why the most similar one was refused."""
        refused = NOTHING
        for entry, similarity in matches:
            stored = self.decode(entry, tier)
            if stored is None or not self.is_fresh(stored):
                continue
            finding = self._judge_one(query, entry, similarity, stored.reply)
            if finding.outcome is Outcome.SEMANTIC:
                return finding
            if refused is NOTHING:
                refused = finding
        return refused

    def _judge_one(self, query: Query, entry: IndexEntry, similarity: float, reply: Reply) -> Finding:
        question = query.request.question
        refusal = self.guard.refuses(question, entry.text)
        if self._is_sampled(query, entry, similarity, reply, "" if refusal is None else refusal.reason):
            return NOTHING
        served = self.threshold.min_similarity
        if served is None or similarity < served:
            return NOTHING
        if refusal is None:
            return Finding(Outcome.SEMANTIC, reply, entry, similarity, entry.text)
        self.refusals[refusal.check] += 1
        return Finding(Outcome.REFUSED, None, None, similarity, entry.text, refusal.reason)

    def _is_sampled(
        self, query: Query, entry: IndexEntry, similarity: float, reply: Reply, reason: str
    ) -> bool:
        """Return whether the shadow collector samples the query, which calls the model. The first match decides."""
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
        """Return an entry's payload, or None if it is damaged, which is reported to the observer."""
        try:
            return Stored.decode(entry.payload)
        except CorruptData as error:
            self._observer.failed(CACHE, tier, "decode", error)
            return None

    def refused(self, question: str, text: str, similarity: float) -> str:
        """Return why the reply to a stored text would not be served for a question; empty if it would be."""
        served = self.threshold.min_similarity
        if served is None:
            return "similar questions are not served"
        if similarity < served:
            return f"similarity below {served:.2f}"
        refusal = self.guard.refuses(question, text)
        return "" if refusal is None else f"{refusal.check}: {refusal.reason}"

    def is_fresh(self, stored: Stored) -> bool:
        """Return whether a reply is not stale yet."""
        return stored.fresh_until is None or stored.fresh_until > self._clock()
