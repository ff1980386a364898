"""The counters behind ``LayerStats``."""

from __future__ import annotations

from bisect import bisect_left

from vectorcache.layers.base import LOAD_TIME_BOUNDS, LayerStats, LoadTimes


class Counters:
    """The counters of one layer. The layer increments them and takes snapshots."""

    __slots__ = (
        "_buckets",
        "_max_seconds",
        "_total_seconds",
        "corrupt",
        "errors",
        "evictions",
        "hits",
        "misses",
    )

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0
        self.evictions = 0
        self.errors = 0
        self.corrupt = 0
        self._buckets = [0] * (len(LOAD_TIME_BOUNDS) + 1)
        self._total_seconds = 0.0
        self._max_seconds = 0.0

    def found(self, value: object | None) -> None:
        """Count a hit, or a miss for None."""
        if value is None:
            self.misses += 1
        else:
            self.hits += 1

    def waited(self, seconds: float) -> None:
        """Count a read that took a number of seconds."""
        self._buckets[bisect_left(LOAD_TIME_BOUNDS, seconds)] += 1
        self._total_seconds += seconds
        self._max_seconds = max(self._max_seconds, seconds)

    def stats(
        self,
        name: str,
        *,
        items: int | None = None,
        bytes: int | None = None,  # noqa: A002 - as the field is called
        capacity_bytes: int | None = None,
    ) -> LayerStats:
        """Return a snapshot of the counters, with the current size of the layer."""
        buckets = tuple(self._buckets)
        return LayerStats(
            name,
            hits=self.hits,
            misses=self.misses,
            evictions=self.evictions,
            errors=self.errors,
            corrupt=self.corrupt,
            items=items,
            bytes=bytes,
            capacity_bytes=capacity_bytes,
            load_times=LoadTimes(sum(buckets), self._total_seconds, self._max_seconds, buckets),
        )
