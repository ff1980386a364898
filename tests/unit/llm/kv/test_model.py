"""Any sequence of operations has the same results on a store as on a dictionary."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.llm.clock import FakeClock
from tests.support.llm.store_contract import entry

from vectorcache_llm.kv import Entry, KeyValueStore, MemoryStore, SQLiteStore
from vectorcache_llm.scope import Scope, Selection

START = 1_000_000.0

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
keys = st.sampled_from(["a", "b", "a*", "a:b", "\0", "é", "[a]"]) | texts.filter(bool)
scopes = st.builds(
    Scope, st.sampled_from(["a", "a*", "a:b"]), st.sampled_from(["", "b", ":b"]), st.sampled_from(["", "n"])
)
tags = st.frozensets(st.sampled_from(["x", "y", "é\0"]), max_size=2)
entries = st.builds(
    Entry,
    scopes,
    keys,
    st.binary(max_size=20),
    st.sampled_from([START - 10, START, START + 5]),
    st.none() | st.sampled_from([START - 1, START + 3, START + 7]),
    tags,
    st.dictionaries(texts, texts, max_size=2),
)
selections = st.builds(
    Selection,
    st.none() | st.sampled_from(["a", "a*", "a:b"]),
    st.none() | st.sampled_from(["", "b"]),
    st.none() | st.sampled_from(["", "n"]),
    st.none() | st.sampled_from(["*", "a*", "?", "[[]a]", "", "\0", "[!a]"]) | texts,
    tags,
    st.none() | st.sampled_from([START, START + 5.5]),
)
steps = st.one_of(
    st.tuples(st.just("put"), st.lists(entries, max_size=4)),
    st.tuples(st.just("put_new"), entries),
    st.tuples(st.just("get"), scopes, st.lists(keys, max_size=4)),
    st.tuples(st.just("delete"), scopes, st.lists(keys, max_size=4)),
    st.tuples(st.just("delete_where"), selections),
    st.tuples(st.just("scan"), selections),
    st.tuples(st.just("advance"), st.sampled_from([1.0, 2.0, 4.0])),
)

ALL = 10_000


class Naive:
    """A dictionary with a reference implementation of selections."""

    def __init__(self, clock: FakeClock) -> None:
        self.kept: dict[tuple[Scope, str], Entry] = {}
        self.clock = clock

    def living(self, scope: Scope, key: str) -> bool:
        found = self.kept.get((scope, key))
        return found is not None and (found.expires_at is None or found.expires_at > self.clock())

    def put(self, entries: list[Entry]) -> None:
        self.kept.update({(one.scope, one.key): one for one in entries})

    def put_new(self, one: Entry) -> bool:
        if self.living(one.scope, one.key):
            return False
        self.put([one])
        return True

    def get(self, scope: Scope, keys: list[str]) -> dict[str, Entry]:
        return {key: self.kept[scope, key] for key in keys if self.living(scope, key)}

    def delete(self, scope: Scope, keys: list[str]) -> int:
        count = len(self.get(scope, keys))
        for key in keys:
            self.kept.pop((scope, key), None)
        return count

    def scan(self, selection: Selection) -> list[Entry]:
        return [
            one
            for one in self.kept.values()
            if self.living(one.scope, one.key)
            and selection.matches(one.scope, one.created_at, one.tags, one.key)
        ]

    def delete_where(self, selection: Selection) -> int:
        return sum(self.delete(one.scope, [one.key]) for one in self.scan(selection))


def ordered(found: list[Entry]) -> list[Entry]:
    return sorted(found, key=lambda one: (one.scope, one.key))


async def follow(store: KeyValueStore, clock: FakeClock, sequence: list[tuple[object, ...]]) -> None:
    naive = Naive(clock)
    async with store:
        for name, *arguments in sequence:
            match name:
                case "advance":
                    clock.advance(arguments[0])
                case "put":
                    naive.put(arguments[0])
                    await store.put(*arguments[0])
                case "get":
                    assert await store.get_many(*arguments) == naive.get(*arguments)
                case "delete":
                    assert await store.delete(arguments[0], *arguments[1]) == naive.delete(*arguments)
                case "scan":
                    found = [one async for one in store.scan(arguments[0])]
                    assert ordered(found) == ordered(naive.scan(arguments[0]))
                case _:
                    assert await getattr(store, name)(*arguments) == getattr(naive, name)(*arguments)
        assert ordered([one async for one in store.scan()]) == ordered(naive.scan(Selection()))


def memory(clock: FakeClock, folder: Path) -> KeyValueStore:
    return MemoryStore(clock=clock)


def sqlite(clock: FakeClock, folder: Path) -> KeyValueStore:
    return SQLiteStore(folder / "store.db", clock=clock)


@pytest.mark.parametrize("make", [memory, sqlite])
@given(sequence=st.lists(steps, max_size=25))
@settings(max_examples=40)
def test_any_operations(
    make: Callable[[FakeClock, Path], KeyValueStore], sequence: list[tuple[object, ...]]
) -> None:
    clock = FakeClock(START)
    with TemporaryDirectory() as folder:
        asyncio.run(follow(make(clock, Path(folder)), clock, sequence))


@given(sizes=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 60)), max_size=40))
@settings(max_examples=100)
@pytest.mark.parametrize("policy", ["lru", "lfu", "ttl"])
def test_a_store_never_exceeds_its_limits(policy: str, sizes: list[tuple[str, int]]) -> None:
    async def fill() -> None:
        store = MemoryStore(max_entries=5, max_bytes=100, policy=policy)
        for key, size in sizes:
            await store.put(entry(key, b"x" * size))
            held = [one async for one in store.scan()]
            stats = await store.stats()
            assert key in [one.key for one in held]
            assert stats.entries == len(held) <= 5
            assert stats.bytes == sum(len(one.value) + 1 for one in held) <= 100

    asyncio.run(fill())
