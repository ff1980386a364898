"""A priority queue of expiry times."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import TypeAlias

from vectorcache_llm.scope import Scope

EntryId: TypeAlias = tuple[Scope, str]
"""Identity of an entry: scope and key."""

SLACK = 64
"""Stale heap items, in excess of the number of entries, at which the heap is rebuilt."""


class Expiries:
    """Entries ordered by expiry time. Every operation takes amortised O(log n).

    A stale item stays in the heap until it reaches the top, or until stale items are the majority and the heap is
    rebuilt. This keeps ``set`` and ``discard`` cheap and bounds the memory.
    """

    def __init__(self) -> None:
        self._ends: dict[EntryId, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, EntryId]] = []
        self._order = count()  # breaks ties: older first

    def set(self, identity: EntryId, end: float) -> None:
        """Set the expiry time of an entry, replacing an earlier one."""
        stamp = self._ends[identity] = (end, next(self._order))
        heappush(self._heap, (*stamp, identity))
        if len(self._heap) > 2 * len(self._ends) + SLACK:
            self._heap = [(*stamp, identity) for identity, stamp in self._ends.items()]
            heapify(self._heap)

    def discard(self, identity: EntryId) -> None:
        """Remove an entry, if it is present."""
        self._ends.pop(identity, None)

    def first(self) -> tuple[float, EntryId] | None:
        """Return expiry time and identity of the entry that expires first; None if there is none."""
        while self._heap:
            end, order, identity = self._heap[0]
            if self._ends.get(identity) == (end, order):
                return end, identity
            heappop(self._heap)
        return None
