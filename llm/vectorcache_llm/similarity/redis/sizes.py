"""Sizes of partitions on the server, by which a search is planned."""

from __future__ import annotations

from vectorcache.lru import LRU

PARTITIONS = 4096
"""Maximum number of partitions whose size is cached."""
RECOUNT = 256
"""Number of searches of a partition after which it is counted again."""
LARGE = 2048
"""Number of entries from which the graph is faster than comparing all vectors of the partition."""
SHARE = 8
"""The graph is used only if at least one in ``SHARE`` entries of the index belongs to the partition, because a search
also visits the others."""


class Sizes:
    """Cache of partition sizes. By default, the server compares all vectors even if a partition is the whole index."""

    def __init__(self) -> None:
        self._large: LRU[str, bool] = LRU(max_items=PARTITIONS)
        self._searches: LRU[str, int] = LRU(max_items=PARTITIONS)

    def is_large(self, partition: str) -> bool:
        """Return whether the partition should be searched with the graph."""
        return bool(self._large.get(partition))

    def due(self, partition: str) -> bool:
        """Record a search, and return whether it should also count the partition."""
        searches = self._searches.get(partition) or 0
        self._searches.put(partition, searches + 1)
        return searches % RECOUNT == 0

    def record(self, partition: str, count: int, total: int) -> None:
        """Record that ``count`` of all ``total`` entries belong to the partition."""
        self._large.put(partition, count >= LARGE and SHARE * count >= total)
