"""When partitions are counted, and when they count as large."""

from __future__ import annotations

from vectorcache_llm.similarity.redis.sizes import LARGE, RECOUNT, SHARE, Sizes


def test_a_partition_is_counted_at_first_and_periodically() -> None:
    sizes = Sizes()
    counted = [number for number in range(2 * RECOUNT + 1) if sizes.due("a")]
    assert counted == [0, RECOUNT, 2 * RECOUNT]
    assert sizes.due("b")


def test_a_large_partition_has_many_entries_and_a_large_share() -> None:
    sizes = Sizes()
    assert not sizes.is_large("a")
    for count, total, large in [
        (LARGE, LARGE, True),
        (LARGE - 1, LARGE - 1, False),
        (LARGE, SHARE * LARGE, True),
        (LARGE, SHARE * LARGE + 1, False),
        (0, 0, False),
    ]:
        sizes.record("a", count, total)
        assert sizes.is_large("a") is large
