"""The observer interface, through which caches report events. Calls must return immediately and must not raise."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The outcome of a look-up."""

    EXACT = "exact"
    """An identical request was found."""
    SEMANTIC = "semantic"
    """A similar request was found, and the guard accepted it."""
    STALE = "stale"
    """An expired reply was served while it is refreshed."""
    MISS = "miss"
    REFUSED = "refused"
    """A similar request was found, and the guard refused it. This is also a miss."""
    FAILED = "failed"
    """A backend failed or timed out. This is also a miss."""


class Observer:
    """Receives events, and ignores them. Subclasses such as ``metrics.Metrics`` count them.

    ``cache`` is "response", "embedding", "reasoning" or "chat". ``tier`` is the name of a tier, such as "memory" or
    "redis", and empty for events of the whole cache.
    """

    def looked_up(
        self, cache: str, tenant: str, outcome: Outcome, seconds: float, *, tier: str = "", key: str = ""
    ) -> None:
        """Handle the end of a look-up. ``key`` is a digest, never a text, and serves to find hot keys."""

    def stored(self, cache: str, tenant: str, tier: str, size: int) -> None:
        """Handle the storing of a value of ``size`` bytes in a tier."""

    def removed(self, cache: str, tier: str, count: int, reason: str) -> None:
        """Handle the removal of entries from a tier: "evicted", "expired" or "invalidated"."""

    def failed(self, cache: str, tier: str, operation: str, error: BaseException) -> None:
        """Handle the failure of a backend, which is not raised to the caller."""

    def saved(self, tenant: str, model: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Handle a saved call to a model, with its numbers of tokens."""
