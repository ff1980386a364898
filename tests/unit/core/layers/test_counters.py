from __future__ import annotations

import pytest

from vectorcache.layers import LOAD_TIME_BOUNDS
from vectorcache.layers.counters import Counters


@pytest.mark.parametrize("index", range(len(LOAD_TIME_BOUNDS)))
def test_a_bound_belongs_to_its_bucket(index: int) -> None:
    counters = Counters()
    counters.waited(LOAD_TIME_BOUNDS[index])
    counters.waited(LOAD_TIME_BOUNDS[index] * 1.0001)
    buckets = counters.stats("a").load_times.buckets
    assert buckets[index : index + 2] == (1, 1)
    assert sum(buckets) == 2


def test_a_snapshot_stays_as_it_was() -> None:
    counters = Counters()
    counters.found(b"")
    before = counters.stats("a", items=1)
    counters.found(None)
    counters.waited(1.0)
    after = counters.stats("a", items=2)
    assert (before.hits, before.misses, before.items, before.load_times.count) == (1, 0, 1, 0)
    assert (after.hits, after.misses, after.items, after.load_times.count) == (1, 1, 2, 1)
