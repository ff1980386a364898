"""Who leaves a full memory store: policies by name, or one of your own."""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections import OrderedDict

from vectorcache.errors import InvalidInput
from vectorcache.lru import LRU
from vectorcache_llm.kv.base import Entry
from vectorcache_llm.kv.expiry import EntryId, Expiries


class EvictionPolicy(ABC):
    """Hears of every entry of one store, and names the next to leave. It belongs to that store alone.

    No call awaits, and none comes from another thread.
    """

    @abstractmethod
    def added(self, identity: EntryId, entry: Entry) -> None:
        """An entry came. A replaced one was removed before."""

    @abstractmethod
    def used(self, identity: EntryId) -> None:
        """An entry was looked up."""

    @abstractmethod
    def removed(self, identity: EntryId) -> None:
        """An entry left, for whatever reason."""

    @abstractmethod
    def victim(self) -> EntryId:
        """The entry to evict; asked only while there is one."""


class LeastRecentlyUsed(EvictionPolicy):
    """What was not used for longest leaves."""

    def __init__(self) -> None:
        self._order: LRU[EntryId, bool] = LRU(max_items=sys.maxsize)  # the store bounds it

    def added(self, identity: EntryId, entry: Entry) -> None:
        """It is the most recent."""
        self._order.put(identity, True)

    def used(self, identity: EntryId) -> None:
        """It is the most recent."""
        self._order.get(identity)

    def removed(self, identity: EntryId) -> None:
        """It is forgotten."""
        self._order.delete(identity)

    def victim(self) -> EntryId:
        """The least recent."""
        return next(self._order.keys())


class LeastFrequentlyUsed(EvictionPolicy):
    """What was used least often leaves; among equals, what has been so for longest.

    Ranks of equal use counts, each in order (K. Shah, A. Mitra, D. Matani, "An O(1) algorithm for implementing the
    LFU cache eviction scheme", 2010), though the lowest rank is searched for: there are few of them.
    """

    def __init__(self) -> None:
        self._uses: dict[EntryId, int] = {}
        self._ranks: dict[int, OrderedDict[EntryId, None]] = {}

    def added(self, identity: EntryId, entry: Entry) -> None:
        """It was never used."""
        self._join(identity, 0)

    def used(self, identity: EntryId) -> None:
        """It goes up one rank."""
        uses = self._leave(identity)
        self._join(identity, uses + 1)

    def removed(self, identity: EntryId) -> None:
        """It is forgotten, and its count with it."""
        self._leave(identity)

    def victim(self) -> EntryId:
        """The first of the lowest rank."""
        return next(iter(self._ranks[min(self._ranks)]))

    def _join(self, identity: EntryId, uses: int) -> None:
        self._uses[identity] = uses
        self._ranks.setdefault(uses, OrderedDict())[identity] = None

    def _leave(self, identity: EntryId) -> int:
        uses = self._uses.pop(identity)
        rank = self._ranks[uses]
        del rank[identity]
        if not rank:
            del self._ranks[uses]
        return uses


class SoonestToExpire(EvictionPolicy):
    """What ends first leaves first; what never ends leaves last, the oldest of it first."""

    def __init__(self) -> None:
        self._ends = Expiries()

    def added(self, identity: EntryId, entry: Entry) -> None:
        """Its end counts."""
        self._ends.set(identity, math.inf if entry.expires_at is None else entry.expires_at)

    def used(self, identity: EntryId) -> None:
        """Use changes nothing."""

    def removed(self, identity: EntryId) -> None:
        """It is forgotten."""
        self._ends.discard(identity)

    def victim(self) -> EntryId:
        """The one that ends first."""
        first = self._ends.first()
        assert first is not None, "asked while there is none"
        return first[1]


POLICIES: dict[str, type[EvictionPolicy]] = {
    "lru": LeastRecentlyUsed,
    "lfu": LeastFrequentlyUsed,
    "ttl": SoonestToExpire,
}


def eviction_policy(name: str) -> EvictionPolicy:
    """A new policy of a name; ``InvalidInput`` names those that there are."""
    try:
        return POLICIES[name]()
    except KeyError:
        raise InvalidInput("policy", name, f"{', '.join(POLICIES)}, or an EvictionPolicy") from None
