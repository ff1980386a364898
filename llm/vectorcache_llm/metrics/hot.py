"""The most frequent keys, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from vectorcache.errors import InvalidInput


class HotKey(NamedTuple):
    """A key, its count, and the maximum error of the count, which may be too high."""

    key: str
    times: int
    error: int


class HotKeys:
    """The ``capacity`` most frequent keys of a stream. Counting a key takes O(1).

    A key whose share is above 1 / ``capacity`` is always among them. A count is never too low, and too high by at most
    its ``error``.

    Source: Space-Saving (Metwally, Agrawal, El Abbadi, ICDT 2005). Keys with equal counts share a bucket in order of
    arrival. The first key of the lowest bucket is replaced.
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
        """Return the ``count`` most frequent keys, the most frequent first."""
        ranked = sorted(self._counts.items(), key=lambda item: -item[1][0])
        return [HotKey(key, *counts) for key, counts in ranked[:count]]

    def merge(self, others: Iterable[HotKey]) -> None:
        """Add all keys of another instance with the same capacity. The errors add up."""
        ours = {one.key: one for one in self.top(len(self))}
        theirs = {one.key: one for one in others}
        least, their_least = self._max_missed(ours), self._max_missed(theirs)
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

    def _max_missed(self, keys: Mapping[str, HotKey]) -> int:
        """Return the maximum count of a key that is not among ``keys``, because it was replaced."""
        return min(one.times for one in keys.values()) if len(keys) >= self._capacity else 0

    def _replace(self, key: str) -> None:
        """Replace the key with the lowest count. The new key may have appeared as often as that one before."""
        replaced = next(iter(self._buckets[self._least]))
        least = self._least
        self._remove(replaced, least, least + 1)
        del self._counts[replaced]
        self._place(key, least + 1, least)

    def _move(self, key: str, old: int, new: int, error: int) -> None:
        self._remove(key, old, new)
        self._place(key, new, error)

    def _remove(self, key: str, old: int, new: int) -> None:
        bucket = self._buckets[old]
        del bucket[key]
        if not bucket:
            del self._buckets[old]
            if self._least == old:
                self._least = new  # the key that empties the lowest bucket moves to the next one

    def _place(self, key: str, count: int, error: int) -> None:
        self._counts[key] = (count, error)
        self._buckets.setdefault(count, {})[key] = None
