"""The load of each node, as known to one router."""

from __future__ import annotations

import time
from collections.abc import Callable

FRESH = 1.0
"""Seconds for which the load that a node reported is valid."""


class NodeLoads:
    """Number of cells in progress on each node: those that this router waits for, or the reported load if it is higher.

    The load that a node reports includes the requests of all routers. So routers that do not know each other see the
    same nodes as busy.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked: dict[str, int] = {}
        self._reported: dict[str, tuple[int, float]] = {}

    def asked(self, name: str, cells: int) -> None:
        """Record that a node was asked to search a number of cells."""
        self._asked[name] = self._asked.get(name, 0) + cells

    def done(self, name: str, cells: int) -> None:
        """Record that a node answered, or that this router no longer waits for it."""
        left = self._asked.pop(name, 0) - cells
        if left:
            self._asked[name] = left

    def reported(self, name: str, cells: int) -> None:
        """Record the number of cells in progress that a node reported."""
        if cells:
            self._reported[name] = (cells, self._clock() + FRESH)
        else:
            self._reported.pop(name, None)

    def now(self) -> dict[str, int]:
        """Return the number of cells in progress, for the nodes that have any."""
        loads = dict(self._asked)
        if self._reported:
            now = self._clock()
            self._reported = {name: report for name, report in self._reported.items() if report[1] > now}
            for name, (cells, _) in self._reported.items():
                loads[name] = max(cells, loads.get(name, 0))
        return loads
