"""The least-recently-used cache on which the memory layer and the disk layer are based."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Generic, TypeVar

from vectorcache.errors import InvalidInput

K = TypeVar("K")
V = TypeVar("V")


class Removal(Enum):
    """Reason why an entry was removed."""

    EVICTED = "evicted"
    """It was the least recently used entry when the capacity was exceeded."""

    REPLACED = "replaced"
    """A newer value was put under its key."""

    DELETED = "deleted"
    """It was deleted, or the LRU was cleared."""


class LRU(Generic[K, V]):
    """A mapping of bounded size that evicts the least recently used entries.

    The capacity is a number of entries (``max_items``), a number of bytes of the values (``max_bytes``, as measured
    by ``weigh``), or both. A value is weighed once, when it is put. Every operation takes O(1), except ``keys`` and
    ``clear``; ``put`` also takes O(1) for each entry that it evicts.

    ``on_removal`` is called with the key, value and reason of each removed entry. It is called when the operation is
    complete, so it may call any method of this object. If it raises, the operation is not undone, all other removals
    are reported too, and then the first error is raised. It may be set after construction.

    The class does no I/O, locking or logging: use it from one thread (or one event loop) at a time. The iterator
    of ``keys`` must be exhausted before the next operation.

    Raises:
        InvalidInput: a capacity is not positive, none is given, or ``max_bytes`` is given without ``weigh``.
    """

    __slots__ = (
        "_byte_limit",
        "_bytes",
        "_entries",
        "_item_limit",
        "_max_bytes",
        "_max_items",
        "_weigh",
        "on_removal",
    )

    def __init__(
        self,
        *,
        max_items: int | None = None,
        max_bytes: int | None = None,
        weigh: Callable[[V], int] | None = None,
        on_removal: Callable[[K, V, Removal], None] | None = None,
    ) -> None:
        _check_capacity(max_items, max_bytes)
        if max_bytes is not None and weigh is None:
            raise InvalidInput("weigh", weigh, "a callable if max_bytes is given")
        self._max_items = max_items
        self._max_bytes = max_bytes
        self.on_removal = on_removal
        self._weigh = weigh
        self._item_limit = sys.maxsize if max_items is None else max_items
        self._byte_limit = sys.maxsize if max_bytes is None else max_bytes
        # Not a plain dict, although its get is 20 % faster: it finds its first key by skipping all slots that were
        # deleted before it, which makes an eviction O(n).
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._bytes = 0

    @property
    def max_items(self) -> int | None:
        """Maximum number of entries, or None."""
        return self._max_items

    @property
    def max_bytes(self) -> int | None:
        """Maximum total weight of the values, or None."""
        return self._max_bytes

    @property
    def bytes(self) -> int:
        """Total weight of the values; 0 without ``weigh``."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def keys(self) -> Iterator[K]:
        """Return an iterator over the keys, the least recently used first."""
        return iter(self._entries)

    def get(self, key: K) -> V | None:
        """Return the value and make it the most recently used one, or return None."""
        entries = self._entries
        entry = entries.get(key)
        if entry is None:
            return None
        entries.move_to_end(key)
        return entry[0]

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """Return the values of the keys that are present, as ``get`` in the order of the keys, in half the time."""
        entries = self._entries
        touch, get = entries.move_to_end, entries.get
        found = {}
        for key in keys:
            entry = get(key)
            if entry is not None:
                touch(key)
                found[key] = entry[0]
        return found

    def peek(self, key: K) -> V | None:
        """Return the value or None, without marking it as used."""
        entry = self._entries.get(key)
        return None if entry is None else entry[0]

    def fits(self, value: V) -> bool:
        """Return whether the value alone is within the capacity, so that ``put`` would store it."""
        return self._weigh is None or self._weigh(value) <= self._byte_limit

    def put(self, key: K, value: V) -> bool:
        """Store a value as the most recently used one, and evict the least recently used ones. Return True.

        If the value is larger than the whole capacity, it is not stored, no entry is evicted, and False is returned.
        An older value of its key is still removed as REPLACED, because it is outdated.

        Raises:
            InvalidInput: ``weigh`` returned a negative weight; nothing has changed.
        """
        entries = self._entries
        weight = 0
        if self._weigh is not None:
            weight = self._weigh(value)
            if weight < 0:
                raise InvalidInput("weight", weight, "0 or more bytes")
            if weight > self._byte_limit:
                self._remove(key, Removal.REPLACED)
                return False
        old = entries.get(key)
        entries[key] = (value, weight)
        if old is None:
            self._bytes += weight
        else:
            entries.move_to_end(key)
            self._bytes += weight - old[1]
        evicted = []
        while len(entries) > self._item_limit or self._bytes > self._byte_limit:
            evicted.append(entries.popitem(last=False))
            self._bytes -= evicted[-1][1][1]
        if self.on_removal is not None:
            removed = [(key, value, Removal.EVICTED) for key, (value, _) in evicted]
            if old is not None:
                removed.insert(0, (key, old[0], Removal.REPLACED))
            self._report(removed)
        return True

    def delete(self, key: K) -> bool:
        """Remove a key. Return whether it was present."""
        return self._remove(key, Removal.DELETED)

    def clear(self) -> None:
        """Remove every key."""
        removed = [(key, value, Removal.DELETED) for key, (value, _) in self._entries.items()]
        self._entries.clear()
        self._bytes = 0
        self._report(removed)

    def _remove(self, key: K, reason: Removal) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self._bytes -= entry[1]
        self._report([(key, entry[0], reason)])
        return True

    def _report(self, removed: list[tuple[K, V, Removal]]) -> None:
        if self.on_removal is None:
            return
        first_error: Exception | None = None
        for key, value, reason in removed:
            try:
                self.on_removal(key, value, reason)
            except Exception as error:  # noqa: BLE001 - raised below, after all removals are reported
                first_error = first_error or error
        if first_error is not None:
            raise first_error


def _check_capacity(max_items: int | None, max_bytes: int | None) -> None:
    if max_items is None and max_bytes is None:
        raise InvalidInput("max_items, max_bytes", None, "at least one capacity")
    for field, capacity in (("max_items", max_items), ("max_bytes", max_bytes)):
        if capacity is not None and capacity < 1:
            raise InvalidInput(field, capacity, "a positive number, or None for no bound")
