"""How much each node has in hand, as far as one router can tell."""

from __future__ import annotations

import time
from collections.abc import Callable

FRESH = 1.0
"""Seconds for which what a node said of its load counts."""


class NodeLoads:
    """Cells in hand by node: those that this router waits for, or, where that is more, what the node said last.

    A node's load counts what all routers have asked of it, so that routers which do not know of each other see the
    same nodes as busy.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked: dict[str, int] = {}
        self._told: dict[str, tuple[int, float]] = {}

    def asked(self, name: str, cells: int) -> None:
        """The node was asked to search so many cells."""
        self._asked[name] = self._asked.get(name, 0) + cells

    def done(self, name: str, cells: int) -> None:
        """It answered, or nobody waits for it any more."""
        left = self._asked.pop(name, 0) - cells
        if left:
            self._asked[name] = left

    def told(self, name: str, cells: int) -> None:
        """The node said that it has so many cells in hand."""
        if cells:
            self._told[name] = (cells, self._clock() + FRESH)
        else:
            self._told.pop(name, None)

    def now(self) -> dict[str, int]:
        """Cells in hand of the nodes that have any."""
        loads = dict(self._asked)
        if self._told:
            now = self._clock()
            self._told = {name: told for name, told in self._told.items() if told[1] > now}
            for name, (cells, _) in self._told.items():
                loads[name] = max(cells, loads.get(name, 0))
        return loads
