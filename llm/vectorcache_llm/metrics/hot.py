"""The keys that are asked for most, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from vectorcache.errors import InvalidInput


class HotKey(NamedTuple):
    """A key, how often it was counted, and by how much that may be too high."""

    key: str
    times: int
    error: int


class HotKeys:
    """The most frequent keys of a stream, ``capacity`` of them; counting one takes O(1).

    A key whose share is above 1 / ``capacity`` is always among them; a count is never too low, and too high by at
    most its ``error``.

    Source: Space-Saving (Metwally, Agrawal, El Abbadi, ICDT 2005). Keys of one count stand in one bucket, the one
    that came first in front; it makes room.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise InvalidInput("capacity", capacity, "a positive number")
        self._capacity = capacity
        self._counts: dict[str, tuple[int, int]] = {}
        self._buckets: dict[int, dict[str, None]] = {}
        self._least = 0

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, key: str) -> None:
        """Count a key once."""
        found = self._counts.get(key)
        if found is not None:
            self._move(key, found[0], found[0] + 1, found[1])
        elif len(self._counts) < self._capacity:
            self._place(key, 1, 0)
            self._least = 1
        else:
            self._replace(key)

    def top(self, count: int) -> list[HotKey]:
        """The hottest ones, the hottest first."""
        ranked = sorted(self._counts.items(), key=lambda item: -item[1][0])
        return [HotKey(key, *counts) for key, counts in ranked[:count]]

    def merge(self, others: Iterable[HotKey]) -> None:
        """Count what another one of the same capacity counted, all of its keys; the errors add up."""
        ours = {one.key: one for one in self.top(len(self))}
        theirs = {one.key: one for one in others}
        least, their_least = self._unseen(ours), self._unseen(theirs)
        both = []
        for key in ours | theirs:
            mine = ours.get(key, HotKey(key, least, least))
            other = theirs.get(key, HotKey(key, their_least, their_least))
            both.append(HotKey(key, mine.times + other.times, mine.error + other.error))
        hottest = sorted(both, key=lambda one: -one.times)[: self._capacity]
        self._counts, self._buckets = {}, {}
        for key, count, error in hottest:
            self._place(key, count, error)
        self._least = min(self._buckets, default=0)

    def _unseen(self, keys: Mapping[str, HotKey]) -> int:
        """How often a key may have come that is not among these: it left when there was no room."""
        return min(one.times for one in keys.values()) if len(keys) >= self._capacity else 0

    def _replace(self, key: str) -> None:
        """The least counted key makes room; the new one may have come as often as that one before."""
        leaving = next(iter(self._buckets[self._least]))
        least = self._least
        self._leave(leaving, least, least + 1)
        del self._counts[leaving]
        self._place(key, least + 1, least)

    def _move(self, key: str, old: int, new: int, error: int) -> None:
        self._leave(key, old, new)
        self._place(key, new, error)

    def _leave(self, key: str, old: int, new: int) -> None:
        bucket = self._buckets[old]
        del bucket[key]
        if not bucket:
            del self._buckets[old]
            if self._least == old:
                self._least = new  # whoever empties the least bucket goes one further, so the next is there

    def _place(self, key: str, count: int, error: int) -> None:
        self._counts[key] = (count, error)
        self._buckets.setdefault(count, {})[key] = None
