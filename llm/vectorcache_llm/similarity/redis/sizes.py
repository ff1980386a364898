"""How large partitions are on the server, so that a search can be planned."""

from __future__ import annotations

from vectorcache.lru import LRU

PARTITIONS = 4096
"""As many are remembered."""
RECOUNT = 256
"""Searches of a partition after which it is counted again."""
LARGE = 2048
"""Entries from which on walking the graph beats comparing all of a partition's vectors."""
SHARE = 8
"""... if every eighth entry of the index, at least, is the partition's: the others on the way are in vain."""


class Sizes:
    """Remembers what was counted. The server itself compares all vectors even where a partition is everything."""

    def __init__(self) -> None:
        self._large: LRU[str, bool] = LRU(max_items=PARTITIONS)
        self._searches: LRU[str, int] = LRU(max_items=PARTITIONS)

    def is_large(self, partition: str) -> bool:
        """Whether its neighbours are better found by the graph."""
        return bool(self._large.get(partition))

    def due(self, partition: str) -> bool:
        """Whether it should be counted with this search, which is noted."""
        searches = self._searches.get(partition) or 0
        self._searches.put(partition, searches + 1)
        return searches % RECOUNT == 0

    def learn(self, partition: str, count: int, total: int) -> None:
        """So many of all entries are the partition's."""
        self._large.put(partition, count >= LARGE and SHARE * count >= total)
