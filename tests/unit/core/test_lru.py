from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vectorcache.errors import InvalidInput
from vectorcache.lru import LRU, Removal

Removed = tuple[str, bytes, Removal]


def by_bytes(capacity: int) -> LRU[str, bytes]:
    return LRU(max_bytes=capacity, weigh=len)


def listening(lru: LRU[str, bytes]) -> list[Removed]:
    removed: list[Removed] = []
    lru.on_removal = lambda *removal: removed.append(removal)
    return removed


@pytest.mark.parametrize("capacity", [0, -1])
@pytest.mark.parametrize("field", ["max_items", "max_bytes"])
def test_a_capacity_that_is_not_positive_is_a_value_error(field: str, capacity: int) -> None:
    capacities = {"max_items": 1, "max_bytes": 1, field: capacity}
    with pytest.raises(ValueError, match=f"{field}: {capacity}"):
        LRU[str, bytes](max_items=capacities["max_items"], max_bytes=capacities["max_bytes"], weigh=len)


def test_at_least_one_capacity_is_needed() -> None:
    with pytest.raises(InvalidInput, match="at least one"):
        LRU[str, bytes]()


def test_bytes_need_weighing() -> None:
    with pytest.raises(InvalidInput, match="weigh"):
        LRU[str, bytes](max_bytes=10)


@pytest.mark.parametrize("field", ["max_items", "max_bytes"])
def test_capacities_are_read_only(field: str) -> None:
    lru = LRU[str, bytes](max_items=2, max_bytes=10, weigh=len)
    assert (lru.max_items, lru.max_bytes) == (2, 10)
    with pytest.raises(AttributeError):
        setattr(lru, field, 100)
    assert (lru.max_items, lru.max_bytes) == (2, 10)


def test_a_capacity_that_is_not_given_is_none() -> None:
    assert LRU[str, bytes](max_items=2).max_bytes is None
    assert by_bytes(10).max_items is None


def test_the_least_recently_used_leaves() -> None:
    lru = LRU[str, bytes](max_items=2)
    lru.put("a", b"1")
    lru.put("b", b"2")
    assert lru.get("a") == b"1"
    lru.put("c", b"3")
    assert list(lru.keys()) == ["a", "c"]
    assert lru.get("b") is None


def test_looking_does_not_count_as_use() -> None:
    lru = LRU[str, bytes](max_items=2)
    lru.put("a", b"1")
    lru.put("b", b"2")
    assert lru.peek("a") == b"1"
    assert "a" in lru
    lru.put("c", b"3")
    assert list(lru.keys()) == ["b", "c"]
    assert lru.peek("a") is None


def test_both_capacities_hold() -> None:
    lru = LRU[str, bytes](max_items=2, max_bytes=10, weigh=len)
    for key in "abc":
        lru.put(key, b"1")
    assert list(lru.keys()) == ["b", "c"]
    lru.put("d", b"1234567890")
    assert list(lru.keys()) == ["d"]
    assert lru.bytes == 10


def test_one_large_value_drives_out_many_and_each_is_heard_of_oldest_first() -> None:
    lru = by_bytes(3)
    removed = listening(lru)
    for key in "abc":
        lru.put(key, key.encode())
    lru.put("d", b"dd")
    assert removed == [("a", b"a", Removal.EVICTED), ("b", b"b", Removal.EVICTED)]


def test_a_value_beyond_the_whole_capacity_is_not_taken_and_evicts_nothing() -> None:
    lru = by_bytes(3)
    removed = listening(lru)
    lru.put("a", b"a")
    assert not lru.fits(b"1234")
    assert lru.put("b", b"1234") is False
    assert list(lru.keys()) == ["a"]
    assert removed == []


def test_an_older_value_does_not_outlive_one_that_is_not_taken() -> None:
    lru = by_bytes(3)
    removed = listening(lru)
    lru.put("a", b"a")
    assert lru.put("a", b"1234") is False
    assert "a" not in lru
    assert lru.bytes == 0
    assert removed == [("a", b"a", Removal.REPLACED)]


def test_replacing_makes_room_first_for_what_it_needs() -> None:
    lru = by_bytes(4)
    removed = listening(lru)
    lru.put("a", b"aa")
    lru.put("b", b"bb")
    assert lru.put("a", b"AAA") is True
    assert removed == [("a", b"aa", Removal.REPLACED), ("b", b"bb", Removal.EVICTED)]
    assert lru.bytes == 3


def test_deleting_and_clearing_are_heard_of() -> None:
    lru = by_bytes(10)
    removed = listening(lru)
    for key in "abc":
        lru.put(key, key.encode())
    assert lru.delete("b") is True
    assert lru.delete("b") is False
    lru.clear()
    assert [(key, reason) for key, _, reason in removed] == [(key, Removal.DELETED) for key in "bac"]
    assert len(lru) == lru.bytes == 0


def test_a_value_is_weighed_once() -> None:
    weighed: list[bytes] = []

    def weigh(value: bytes) -> int:
        weighed.append(value)
        return 1

    lru = LRU[str, bytes](max_bytes=1, weigh=weigh)
    lru.put("a", b"a")
    lru.put("b", b"b")
    lru.delete("b")
    assert weighed == [b"a", b"b"]


def test_a_negative_weight_changes_nothing() -> None:
    lru = LRU[str, int](max_bytes=10, weigh=int)
    lru.put("a", 5)
    with pytest.raises(InvalidInput, match="-1"):
        lru.put("a", -1)
    assert lru.peek("a") == lru.bytes == 5


def test_without_weighing_bytes_are_zero() -> None:
    lru = LRU[str, bytes](max_items=1)
    lru.put("a", b"123")
    assert lru.bytes == 0
    assert lru.fits(b"anything")


def test_a_callback_that_raises_leaves_the_operation_done_and_all_removals_reported() -> None:
    heard: list[str] = []

    def fail(key: str, value: bytes, reason: Removal) -> None:
        heard.append(key)
        raise RuntimeError(key)

    lru = LRU[str, bytes](max_bytes=3, weigh=len, on_removal=fail)
    for key in "abc":
        lru.put(key, key.encode())
    with pytest.raises(RuntimeError, match=r"^a$"):
        lru.put("d", b"dd")
    assert heard == ["a", "b"]
    assert list(lru.keys()) == ["c", "d"]
    assert lru.bytes == 3


def test_a_callback_may_call_back() -> None:
    lru = LRU[str, bytes](max_items=2)

    def bring_back(key: str, value: bytes, reason: Removal) -> None:
        if key == "a":
            lru.put("a", value)

    lru.on_removal = bring_back
    for key in "abc":
        lru.put(key, key.encode())
    assert list(lru.keys()) == ["c", "a"]


KEYS = st.sampled_from("abcdef")


class LRUAgainstAList(RuleBasedStateMachine):
    """The model: a list of (key, value), oldest first, searched from end to end."""

    def __init__(self) -> None:
        super().__init__()
        self.model: list[tuple[str, bytes]] = []
        self.max_items = 4
        self.max_bytes = 12
        self.lru = LRU[str, bytes](max_items=self.max_items, max_bytes=self.max_bytes, weigh=len)
        self.heard = listening(self.lru)
        self.expected: list[Removed] = []

    def take_out(self, key: str, reason: Removal) -> bytes | None:
        for entry in self.model:
            if entry[0] == key:
                self.model.remove(entry)
                self.expected.append((*entry, reason))
                return entry[1]
        return None

    @rule(key=KEYS, value=st.binary(max_size=14))
    def put(self, key: str, value: bytes) -> None:
        self.take_out(key, Removal.REPLACED)
        fits = len(value) <= self.max_bytes
        if fits:
            self.model.append((key, value))
        while len(self.model) > self.max_items or sum(len(v) for _, v in self.model) > self.max_bytes:
            self.take_out(self.model[0][0], Removal.EVICTED)
        assert self.lru.put(key, value) is fits

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        entry = next((entry for entry in self.model if entry[0] == key), None)
        assert self.lru.get(key) == (entry and entry[1])
        if entry is not None:
            self.model.remove(entry)
            self.model.append(entry)

    @rule(keys=st.lists(KEYS, max_size=5))
    def get_many(self, keys: list[str]) -> None:
        found = {}
        for key in keys:
            for entry in [entry for entry in self.model if entry[0] == key]:
                self.model.remove(entry)
                self.model.append(entry)
                found[key] = entry[1]
        assert self.lru.get_many(keys) == found

    @rule(key=KEYS)
    def peek(self, key: str) -> None:
        assert self.lru.peek(key) == dict(self.model).get(key)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        assert self.lru.delete(key) is (self.take_out(key, Removal.DELETED) is not None)

    @precondition(lambda self: len(self.model) == 4)
    @rule()
    def clear(self) -> None:
        for key, _ in list(self.model):
            self.take_out(key, Removal.DELETED)
        self.lru.clear()

    @invariant()
    def same(self) -> None:
        assert list(self.lru.keys()) == [key for key, _ in self.model]
        assert self.lru.bytes == sum(len(value) for _, value in self.model)
        assert len(self.lru) == len(self.model)
        assert self.heard == self.expected
        assert all(key in self.lru for key, _ in self.model)


TestLRUAgainstAList = LRUAgainstAList.TestCase
TestLRUAgainstAList.settings = settings(max_examples=100, stateful_step_count=40)
