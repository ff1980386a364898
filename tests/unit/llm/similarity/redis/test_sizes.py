"""When partitions are counted, and what is concluded."""

from __future__ import annotations

from vectorcache_llm.similarity.redis.sizes import LARGE, RECOUNT, SHARE, Sizes


def test_a_partition_is_counted_first_and_now_and_then() -> None:
    sizes = Sizes()
    counted = [number for number in range(2 * RECOUNT + 1) if sizes.due("a")]
    assert counted == [0, RECOUNT, 2 * RECOUNT]
    assert sizes.due("b")


def test_large_is_many_and_no_small_share_of_all() -> None:
    sizes = Sizes()
    assert not sizes.is_large("a")
    for count, total, large in [
        (LARGE, LARGE, True),
        (LARGE - 1, LARGE - 1, False),
        (LARGE, SHARE * LARGE, True),
        (LARGE, SHARE * LARGE + 1, False),
        (0, 0, False),
    ]:
        sizes.learn("a", count, total)
        assert sizes.is_large("a") is large
