"""The guard: decides whether two similar questions may share a reply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vectorcache.lru import LRU
from vectorcache_llm.response.guard.checks import CHECKS, Check
from vectorcache_llm.response.guard.features import Features, features_of
from vectorcache_llm.response.guard.pair import Pair

REMEMBERED = 16_384
"""Maximum number of texts whose features are cached."""
LONGEST = 8_192
"""Maximum length in characters. A longer question matches only itself: reading it would block the event loop."""


class Refusal(NamedTuple):
    """The name of the check that found a difference, and the difference."""

    check: str
    reason: str


class Guard:
    """A sequence of checks for pairs of texts. Not thread-safe: use it in one event loop or thread.

    Args:
        checks: run in this order; the first one that finds a difference refuses. Without checks, every pair passes.
    """

    def __init__(self, checks: Sequence[Check] = CHECKS) -> None:
        self._checks = tuple(checks)
        self._features: LRU[str, Features] = LRU(max_items=REMEMBERED)

    def refuses(self, a: str, b: str) -> Refusal | None:
        """Return why the two texts may not share a reply, or None if they may."""
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
        """Return the features of a text and cache them for later comparisons, or None if the text is too long."""
        return self._read(text) if len(text) <= LONGEST and self._checks else None

    def _read(self, text: str) -> Features:
        features = self._features.get(text)
        if features is None:
            features = features_of(text)
            self._features.put(text, features)
        return features
