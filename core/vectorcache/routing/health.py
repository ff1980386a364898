"""Which nodes failed lately, so that requests need not find out again one by one."""

from __future__ import annotations

import time
from collections.abc import Callable


class NodeHealth:
    """Remembers failures for a while. A suspect is asked last, and again first once its time is over.

    Args:
        clock: monotonic seconds.
        cooldown: seconds that the first failure counts; each further one doubles it, up to ``longest``.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, cooldown: float = 0.5, longest: float = 8.0
    ) -> None:
        self._clock = clock
        self._cooldown = cooldown
        self._longest = longest
        self._until: dict[str, float] = {}
        self._pauses: dict[str, float] = {}

    def failed(self, name: str) -> None:
        """The node did not do its work, or not in time."""
        if name in self.suspects():
            return  # one of many requests that were under way when it failed
        pause = self._pauses[name] = min(self._pauses.get(name, self._cooldown / 2) * 2, self._longest)
        self._until[name] = self._clock() + pause

    def worked(self, name: str) -> None:
        """The node did its work."""
        if name in self._until or name in self._pauses:
            self._until.pop(name, None)
            self._pauses.pop(name, None)

    def suspects(self) -> frozenset[str]:
        """Names of nodes whose failure still counts."""
        if not self._until:
            return frozenset()
        now = self._clock()
        return frozenset(name for name, until in self._until.items() if until > now)

    def keep(self, names: frozenset[str]) -> None:
        """Forget nodes that are gone for good."""
        for gone in (self._until.keys() | self._pauses.keys()) - names:
            self._until.pop(gone, None)
            self._pauses.pop(gone, None)
