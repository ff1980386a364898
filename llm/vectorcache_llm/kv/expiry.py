"""Which entry ends first."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import TypeAlias

from vectorcache_llm.scope import Scope

EntryId: TypeAlias = tuple[Scope, str]
"""What tells entries apart: scope and key."""

SLACK = 64
"""Ends of entries that are gone, beyond as many as there are entries, before the heap is made anew."""


class Expiries:
    """Entries by the ends of their lives. Every operation takes O(log n), amortised.

    An end that no longer counts stays in the heap until it comes up or until such ends are the most, so that
    setting and discarding stay cheap and memory stays bounded.
    """

    def __init__(self) -> None:
        self._ends: dict[EntryId, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, EntryId]] = []
        self._order = count()  # tells equal ends apart: the older first

    def set(self, identity: EntryId, end: float) -> None:
        """An entry ends at ``end``, whatever was said before."""
        stamp = self._ends[identity] = (end, next(self._order))
        heappush(self._heap, (*stamp, identity))
        if len(self._heap) > 2 * len(self._ends) + SLACK:
            self._heap = [(*stamp, identity) for identity, stamp in self._ends.items()]
            heapify(self._heap)

    def discard(self, identity: EntryId) -> None:
        """An entry is gone."""
        self._ends.pop(identity, None)

    def first(self) -> tuple[float, EntryId] | None:
        """The entry that ends first, with its end; None where no entry ends."""
        while self._heap:
            end, order, identity = self._heap[0]
            if self._ends.get(identity) == (end, order):
                return end, identity
            heappop(self._heap)
        return None
