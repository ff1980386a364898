"""The nodes that failed recently. All requests avoid them, so that not every request has to fail first."""

from __future__ import annotations

import time
from collections.abc import Callable


class NodeHealth:
    """Record of recent failures. A node is a suspect for some time after a failure, and is then asked last.

    Args:
        clock: monotonic seconds.
        cooldown: seconds for which a node is a suspect after its first failure. Each further failure doubles them.
        longest: maximum of these seconds.
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
        """Record that a node failed, or did not answer in time."""
        if name in self.suspects():
            return  # the request was in progress when the node failed: this is the same failure
        pause = self._pauses[name] = min(self._pauses.get(name, self._cooldown / 2) * 2, self._longest)
        self._until[name] = self._clock() + pause

    def worked(self, name: str) -> None:
        """Record that a node answered, which clears its failures."""
        if name in self._until or name in self._pauses:
            self._until.pop(name, None)
            self._pauses.pop(name, None)

    def suspects(self) -> frozenset[str]:
        """Return the names of the nodes that are suspects now."""
        if not self._until:
            return frozenset()
        now = self._clock()
        return frozenset(name for name, until in self._until.items() if until > now)

    def keep(self, names: frozenset[str]) -> None:
        """Forget all nodes except these."""
        for gone in (self._until.keys() | self._pauses.keys()) - names:
            self._until.pop(gone, None)
            self._pauses.pop(gone, None)
