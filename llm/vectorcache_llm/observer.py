"""What happens in the caches, told to whoever counts it. Every call returns at once and never raises."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How a look-up ended."""

    EXACT = "exact"
    """The same request was there."""
    SEMANTIC = "semantic"
    """A similar request was there, and the guard let it pass."""
    STALE = "stale"
    """An expired reply was served while a new one is made."""
    MISS = "miss"
    REFUSED = "refused"
    """A similar request was there, and the guard held it back. It is a miss, too."""
    FAILED = "failed"
    """A backend failed or was late. It is a miss, too."""


class Observer:
    """Hears of everything; this one forgets it. Subclasses count (``metrics.Metrics``).

    ``cache`` is "response", "embedding", "reasoning" or "chat"; ``tier`` is a tier's name such as "memory" or
    "redis", empty where the cache as a whole is meant.
    """

    def looked_up(
        self, cache: str, tenant: str, outcome: Outcome, seconds: float, *, tier: str = "", key: str = ""
    ) -> None:
        """A look-up ended. ``key`` is for hot keys: a digest, never a text."""

    def stored(self, cache: str, tenant: str, tier: str, size: int) -> None:
        """A value of ``size`` bytes was stored in a tier."""

    def removed(self, cache: str, tier: str, count: int, reason: str) -> None:
        """Entries left a tier: "evicted", "expired" or "invalidated"."""

    def failed(self, cache: str, tier: str, operation: str, error: BaseException) -> None:
        """A backend did not do its work; the caller never hears of it."""

    def saved(self, tenant: str, model: str, prompt_tokens: int, completion_tokens: int) -> None:
        """A call to a model was saved, with its tokens."""
