"""Recent deletions, so that work which began before a deletion does not store deleted entries again."""

from __future__ import annotations

from collections import deque

from vectorcache_llm.scope import Selection
from vectorcache_llm.similarity.base import IndexEntry

REMEMBERED = 256
"""Maximum number of selections kept. Entries of work older than all of them count as deleted."""


class Invalidations:
    """The recent deletions in order.

    1. A writer takes the ``mark`` before it reads an entry or calls the model.
    2. A deletion may be added at any time.
    3. The writer checks whether its entry is ``lost`` before and after writing it, and deletes it if so.
    """

    __slots__ = ("_count", "_recent")

    def __init__(self) -> None:
        self._recent: deque[Selection] = deque(maxlen=REMEMBERED)
        self._count = 0

    @property
    def mark(self) -> int:
        """The current position in the sequence of deletions."""
        return self._count

    def add(self, selection: Selection) -> None:
        """Record a deletion, before it begins."""
        self._recent.append(selection)
        self._count += 1

    def lost(self, entry: IndexEntry, since: int) -> bool:
        """Return whether a deletion since the mark selects the entry."""
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
