"""The guard: says of two similar questions why they may not share a reply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vectorcache.lru import LRU
from vectorcache_llm.response.guard.checks import CHECKS, Check
from vectorcache_llm.response.guard.features import Features, features_of
from vectorcache_llm.response.guard.pair import Pair

REMEMBERED = 16_384
"""Texts whose features are kept."""
LONGEST = 8_192
"""Characters; of longer questions the guard lets only the same pass: reading them would hold up the event loop."""


class Refusal(NamedTuple):
    """The check that found a difference, and what it is."""

    check: str
    reason: str


class Guard:
    """Runs checks on pairs of texts. For one event loop or thread.

    Args:
        checks: in this order; the first that finds a difference refuses. None at all lets everything pass.
    """

    def __init__(self, checks: Sequence[Check] = CHECKS) -> None:
        self._checks = tuple(checks)
        self._features: LRU[str, Features] = LRU(max_items=REMEMBERED)

    def refuses(self, a: str, b: str) -> Refusal | None:
        """Why the two texts may not share a reply, or None."""
        if a == b or not self._checks:
            return None
        if len(a) > LONGEST or len(b) > LONGEST:
            return Refusal("length", f"more than {LONGEST} characters")
        pair = Pair(self._read(a), self._read(b))
        for check in self._checks:
            reason = check.differs(pair)
            if reason:
                return Refusal(check.name, reason)
        return None

    def read(self, text: str) -> Features | None:
        """The features of a text, kept for when it is compared; None of one that is too long to be."""
        return self._read(text) if len(text) <= LONGEST and self._checks else None

    def _read(self, text: str) -> Features:
        features = self._features.get(text)
        if features is None:
            features = features_of(text)
            self._features.put(text, features)
        return features
