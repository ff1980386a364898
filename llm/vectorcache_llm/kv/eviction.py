"""Eviction policies of the memory store."""

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
    """Tracks the entries of one store and selects the next one to evict. It must not be shared between stores.

    The store calls it from the event loop only.
    """

    @abstractmethod
    def added(self, identity: EntryId, entry: Entry) -> None:
        """Record that an entry was added. ``removed`` is called first for an entry that it replaces."""

    @abstractmethod
    def used(self, identity: EntryId) -> None:
        """Record that an entry was looked up."""

    @abstractmethod
    def removed(self, identity: EntryId) -> None:
        """Record that an entry was removed, for any reason."""

    @abstractmethod
    def victim(self) -> EntryId:
        """Return the entry to evict. Called only if there is at least one entry."""


class LeastRecentlyUsed(EvictionPolicy):
    """Evicts the least recently used entry."""

    def __init__(self) -> None:
        self._order: LRU[EntryId, bool] = LRU(max_items=sys.maxsize)  # the store enforces the limits

    def added(self, identity: EntryId, entry: Entry) -> None:
        """See ``EvictionPolicy.added``."""
        self._order.put(identity, True)

    def used(self, identity: EntryId) -> None:
        """See ``EvictionPolicy.used``."""
        self._order.get(identity)

    def removed(self, identity: EntryId) -> None:
        """See ``EvictionPolicy.removed``."""
        self._order.delete(identity)

    def victim(self) -> EntryId:
        """See ``EvictionPolicy.victim``."""
        return next(self._order.keys())


class LeastFrequentlyUsed(EvictionPolicy):
    """Evicts the least frequently used entry; among equals, the one that has had its use count for longest.

    Entries are grouped by use count, each group in order (K. Shah, A. Mitra, D. Matani, "An O(1) algorithm for
    implementing the LFU cache eviction scheme", 2010). The lowest count is searched for, since there are few groups.
    """

    def __init__(self) -> None:
        self._uses: dict[EntryId, int] = {}
        self._ranks: dict[int, OrderedDict[EntryId, None]] = {}

    def added(self, identity: EntryId, entry: Entry) -> None:
        """See ``EvictionPolicy.added``."""
        self._join(identity, 0)

    def used(self, identity: EntryId) -> None:
        """See ``EvictionPolicy.used``."""
        uses = self._leave(identity)
        self._join(identity, uses + 1)

    def removed(self, identity: EntryId) -> None:
        """See ``EvictionPolicy.removed``."""
        self._leave(identity)

    def victim(self) -> EntryId:
        """See ``EvictionPolicy.victim``."""
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
    """Evicts the entry that expires first. Entries without expiry are evicted last, oldest first."""

    def __init__(self) -> None:
        self._ends = Expiries()

    def added(self, identity: EntryId, entry: Entry) -> None:
        """See ``EvictionPolicy.added``."""
        self._ends.set(identity, math.inf if entry.expires_at is None else entry.expires_at)

    def used(self, identity: EntryId) -> None:
        """Do nothing: a use does not affect expiry."""

    def removed(self, identity: EntryId) -> None:
        """See ``EvictionPolicy.removed``."""
        self._ends.discard(identity)

    def victim(self) -> EntryId:
        """See ``EvictionPolicy.victim``."""
        first = self._ends.first()
        assert first is not None, "the policy has no entries"
        return first[1]


POLICIES: dict[str, type[EvictionPolicy]] = {
    "lru": LeastRecentlyUsed,
    "lfu": LeastFrequentlyUsed,
    "ttl": SoonestToExpire,
}


def eviction_policy(name: str) -> EvictionPolicy:
    """Return a new policy by name. Raise ``InvalidInput`` for an unknown name."""
    try:
        return POLICIES[name]()
    except KeyError:
        raise InvalidInput("policy", name, f"{', '.join(POLICIES)}, or an EvictionPolicy") from None
