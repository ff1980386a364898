"""What was deleted lately, so that nothing which was read or asked for before comes back after."""

from __future__ import annotations

from collections import deque

from vectorcache_llm.scope import Selection
from vectorcache_llm.similarity.base import IndexEntry

REMEMBERED = 256
"""Selections; work that is older than all of them counts as deleted."""


class Invalidations:
    """Selections in their order. Take a ``mark`` before reading or calling; look whether it is ``lost`` before and
    after writing."""

    __slots__ = ("_count", "_recent")

    def __init__(self) -> None:
        self._recent: deque[Selection] = deque(maxlen=REMEMBERED)
        self._count = 0

    @property
    def mark(self) -> int:
        """Now."""
        return self._count

    def add(self, selection: Selection) -> None:
        """A deletion begins."""
        self._recent.append(selection)
        self._count += 1

    def lost(self, entry: IndexEntry, since: int) -> bool:
        """Whether a deletion since the mark is about the entry."""
        missed = self._count - since
        if missed == 0:
            return False
        if missed > len(self._recent):
            return True
        scope = entry.partition.scope
        return any(
            selection.matches(scope, entry.created_at, entry.tags, entry.id, entry.text)
            for selection in list(self._recent)[-missed:]
        )
