from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorcache.errors import InvalidInput
from vectorcache_llm.metrics.hot import HotKey, HotKeys

KEYS = st.lists(st.sampled_from("abcdefghij"), max_size=300)


def counted(stream: list[str] | str, capacity: int = 4) -> HotKeys:
    keys = HotKeys(capacity)
    for key in stream:
        keys.add(key)
    return keys


@given(KEYS, st.integers(1, 6))
def test_counts_are_never_too_low_and_too_high_by_at_most_their_error(
    stream: list[str], capacity: int
) -> None:
    found = counted(stream, capacity).top(capacity)
    true = Counter(stream)
    assert len(found) == min(capacity, len(true))
    assert all(one.times - one.error <= true[one.key] <= one.times for one in found)
    assert sum(one.times for one in found) == len(stream)


@given(KEYS, st.integers(1, 6))
def test_a_frequent_key_is_always_included(stream: list[str], capacity: int) -> None:
    found = {one.key for one in counted(stream, capacity).top(capacity)}
    assert found >= {key for key, count in Counter(stream).items() if count > len(stream) / capacity}


def test_the_most_frequent_keys_come_first() -> None:
    assert counted("abbccc").top(2) == [HotKey("c", 3, 0), HotKey("b", 2, 0)]


def test_the_oldest_key_with_the_lowest_count_is_replaced() -> None:
    assert {one.key for one in counted("aabcd", 3).top(3)} == {"a", "c", "d"}


@given(KEYS, KEYS)
def test_merged_counts_are_never_too_low(some: list[str], others: list[str]) -> None:
    merged = counted(some, 10)
    merged.merge(counted(others, 10).top(10))
    assert {one.key: one.times for one in merged.top(10)} == dict(Counter(some + others))
    merged.add("z")
    assert "z" in {one.key for one in merged.top(10)}


@given(KEYS, KEYS)
def test_merged_counts_hold_after_replacements(some: list[str], others: list[str]) -> None:
    merged = counted(some, 3)
    merged.merge(counted(others, 3).top(3))
    true = Counter(some + others)
    for one in merged.top(3):
        assert one.times - one.error <= true[one.key] <= one.times


def test_a_capacity_of_zero_is_rejected() -> None:
    with pytest.raises(InvalidInput, match="capacity"):
        HotKeys(0)
