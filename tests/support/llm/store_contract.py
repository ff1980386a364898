"""What every KeyValueStore does."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.support.llm.clock import FakeClock

from vectorcache.errors import InvalidInput
from vectorcache_llm.kv.base import MAX_KEY_BYTES, Entry, KeyValueStore
from vectorcache_llm.scope import EVERYBODY, EVERYTHING, Scope, Selection

HOSTILE_KEYS = {
    "NUL": "a\0b",
    "emoji": "👩‍👩‍👧‍👦 and 🇪🇺",
    "right to left": "מפתח مفتاح",
    "combining": "e\u0301 is not \u00e9",
    "glob": "a*[b]?\\",
    "colons": "a:b::c:",
    "percent": "100 %25%3A",
    "newline": "a\r\nb",
    "spaces": "  a  ",
    "SQL": "'; DROP TABLE entries; --",
    "longest": "k" * MAX_KEY_BYTES,
    "longest in UTF-8": "é" * (MAX_KEY_BYTES // 2),
}

NEIGHBOURS = [
    Scope("a"),
    Scope("a*"),
    Scope("a:b"),
    Scope("a", ":b"),
    Scope("a", "b"),
    Scope("a", "", "b"),
    Scope("a", "b", "c"),
    Scope("A"),
    Scope("a%3Ab"),
    Scope("?"),
    Scope("[a]"),
    Scope("ä"),
    Scope("a "),
    EVERYBODY,
]


def entry(
    key: str,
    value: bytes = b"value",
    *,
    scope: Scope = EVERYBODY,
    created_at: float = 1_700_000_000.0,
    expires_at: float | None = None,
    tags: tuple[str, ...] = (),
    metadata: dict[str, str] | None = None,
) -> Entry:
    return Entry(scope, key, value, created_at, expires_at, frozenset(tags), metadata or {})


async def keys_of(store: KeyValueStore, selection: Selection = EVERYTHING) -> list[str]:
    return sorted([found.key async for found in store.scan(selection)])


class StoreContract:
    """Subclass it, and give it a fresh and opened ``store`` with the ``clock``, with room for 1000 small values."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def store(self, clock: FakeClock) -> KeyValueStore:
        raise NotImplementedError

    @pytest.fixture
    def small_store(self, clock: FakeClock) -> KeyValueStore:
        """One that takes entries of 1000 bytes."""
        raise NotImplementedError

    async def test_what_was_never_put_is_not_there(self, store: KeyValueStore) -> None:
        assert await store.get(EVERYBODY, "a") is None
        assert await store.get_many(EVERYBODY, ["a", "b"]) == {}
        assert await store.get_many(EVERYBODY, []) == {}
        assert await store.delete(EVERYBODY, "a") == 0
        assert await store.delete(EVERYBODY) == 0
        assert await store.delete_where(EVERYTHING) == 0
        assert await keys_of(store) == []

    @pytest.mark.parametrize(
        "value",
        [b"value", b"", b"\0\xff\xfe", bytes(range(256)) * 4096],
        ids=["some", "empty", "no text", "1 MiB"],
    )
    async def test_what_was_put_comes_back(self, store: KeyValueStore, value: bytes) -> None:
        await store.put(entry("a", value))
        assert await store.get(EVERYBODY, "a") == entry("a", value)
        assert [found async for found in store.scan()] == [entry("a", value)]

    async def test_all_that_is_known_of_an_entry_comes_back(
        self, store: KeyValueStore, clock: FakeClock
    ) -> None:
        whole = entry(
            "a",
            scope=Scope("tenant", "user", "name"),
            created_at=clock() - 0.123456789,
            expires_at=clock() + 1000.000001,
            tags=("one", "two: 2", "ünï\0çode 🎉"),
            metadata={"model": "m-1", "": "empty", "ключ": "зна\0чение", "long": "x" * 10_000},
        )
        await store.put(whole)
        assert await store.get(whole.scope, "a") == whole
        assert await store.get_many(whole.scope, ["a"]) == {"a": whole}
        assert [found async for found in store.scan()] == [whole]
        assert await store.delete_where(Selection(tags=frozenset({"two: 2"}))) == 1

    async def test_metadata_is_kept_as_it_was_put(self, store: KeyValueStore) -> None:
        metadata = {"a": "1"}
        await store.put(entry("a", metadata=metadata))
        metadata["a"] = "2"
        found = await store.get(EVERYBODY, "a")
        assert found is not None
        assert found.metadata == {"a": "1"}

    async def test_a_newer_value_replaces_all_of_the_older(
        self, store: KeyValueStore, clock: FakeClock
    ) -> None:
        await store.put(entry("a", b"old", expires_at=clock() + 10, tags=("old",), metadata={"old": "1"}))
        await store.put(entry("a", b"new"))
        clock.advance(20)
        assert await store.get(EVERYBODY, "a") == entry("a", b"new")
        assert await keys_of(store, Selection(tags=frozenset({"old"}))) == []

    async def test_many_at_once(self, store: KeyValueStore) -> None:
        entries = [entry(f"key {number}", str(number).encode()) for number in range(700)]
        await store.put(*entries)
        found = await store.get_many(EVERYBODY, [f"key {number}" for number in range(-50, 700)] + ["key 1"])
        assert found == {one.key: one for one in entries}
        assert await keys_of(store) == sorted(found)
        assert await store.delete(EVERYBODY, *found, "missing") == 700
        assert await keys_of(store) == []

    async def test_putting_nothing_changes_nothing(self, store: KeyValueStore) -> None:
        await store.put()
        assert await keys_of(store) == []

    async def test_of_one_key_put_twice_the_last_stays(self, store: KeyValueStore) -> None:
        await store.put(entry("a", b"1"), entry("a", b"2"))
        assert [found async for found in store.scan()] == [entry("a", b"2")]

    async def test_what_was_deleted_is_gone_and_can_come_back(self, store: KeyValueStore) -> None:
        await store.put(entry("a"), entry("b"))
        assert await store.delete(EVERYBODY, "a", "missing") == 1
        assert await store.delete(EVERYBODY, "a") == 0
        assert await store.get(EVERYBODY, "a") is None
        assert await keys_of(store) == ["b"]
        await store.put(entry("a", b"again"))
        assert await store.get(EVERYBODY, "a") == entry("a", b"again")

    @pytest.mark.parametrize("key", HOSTILE_KEYS.values(), ids=HOSTILE_KEYS)
    async def test_a_key_is_any_unicode(self, store: KeyValueStore, key: str) -> None:
        others = [entry("a"), entry("a*"), entry("a\0"), entry("100 %"), entry("k")]
        await store.put(*others, entry(key, b"mine"))
        assert await store.get(EVERYBODY, key) == entry(key, b"mine")
        assert await store.get_many(EVERYBODY, [key]) == {key: entry(key, b"mine")}
        assert key in await keys_of(store)
        assert await store.delete(EVERYBODY, key) == 1
        assert await keys_of(store) == sorted(one.key for one in others)

    async def test_keys_that_look_alike_do_not_mix(self, store: KeyValueStore) -> None:
        keys = [*HOSTILE_KEYS.values(), "A", "a", "\u00e9", "e\u0301", "a\0", "a ", "%3A", ":"]
        await store.put(*(entry(key, key.encode()) for key in keys))
        found = await store.get_many(EVERYBODY, keys)
        assert {key: one.value for key, one in found.items()} == {key: key.encode() for key in keys}

    @pytest.mark.parametrize("key", ["", "a\ud800", "k" * (MAX_KEY_BYTES + 1), "é" * 2049, 1, None, b"a"])
    async def test_what_is_no_key_is_refused_everywhere(self, store: KeyValueStore, key: str) -> None:
        with pytest.raises(InvalidInput, match="key"):
            await store.put(entry("fine"), entry(key))
        with pytest.raises(InvalidInput, match="key"):
            await store.get(EVERYBODY, key)
        with pytest.raises(InvalidInput, match="key"):
            await store.get_many(EVERYBODY, ["fine", key])
        with pytest.raises(InvalidInput, match="key"):
            await store.delete(EVERYBODY, "fine", key)
        assert await keys_of(store) == []

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("value", "text"),
            ("created_at", float("nan")),
            ("created_at", None),
            ("expires_at", float("inf")),
            ("created_at", 10**400),
            ("tags", frozenset({1})),
            ("tags", "text"),
            ("tags", frozenset({"\ud800"})),
            ("metadata", {"a": 1}),
            ("metadata", {"a": "\udfff"}),
            ("metadata", ["a"]),
        ],
    )
    async def test_what_cannot_be_kept_is_refused(
        self, store: KeyValueStore, field: str, value: object
    ) -> None:
        with pytest.raises(InvalidInput, match=field):
            await store.put(entry("fine"), replace(entry("a"), **{field: value}))
        assert await keys_of(store) == []

    async def test_what_is_too_large_is_refused(self, small_store: KeyValueStore) -> None:
        await small_store.put(entry("a", b"x" * 900))
        with pytest.raises(InvalidInput, match="1000 bytes"):
            await small_store.put(entry("b", b"x" * 1000))
        with pytest.raises(InvalidInput, match="1000 bytes"):
            await small_store.put(entry("b", metadata={"a": "x" * 1000}))
        assert await keys_of(small_store) == ["a"]

    async def test_an_entry_lives_until_its_end(self, store: KeyValueStore, clock: FakeClock) -> None:
        await store.put(entry("ends", expires_at=clock() + 10), entry("stays"))
        clock.advance(9.999)
        assert sorted(await store.get_many(EVERYBODY, ["ends", "stays"])) == ["ends", "stays"]
        clock.advance(0.001)
        assert await store.get_many(EVERYBODY, ["ends", "stays"]) == {"stays": entry("stays")}
        assert await store.get(EVERYBODY, "ends") is None
        assert await keys_of(store) == ["stays"]

    async def test_a_look_up_does_not_lengthen_a_life(self, store: KeyValueStore, clock: FakeClock) -> None:
        await store.put(entry("a", expires_at=clock() + 10))
        for _ in range(3):
            clock.advance(3)
            assert await store.get(EVERYBODY, "a") is not None
        clock.advance(3)
        assert await store.get(EVERYBODY, "a") is None

    async def test_what_has_expired_is_not_counted_as_deleted(
        self, store: KeyValueStore, clock: FakeClock
    ) -> None:
        ends = [entry(key, expires_at=clock() + 10, tags=("t",)) for key in "abc"]
        await store.put(*ends, entry("d", tags=("t",)))
        clock.advance(10)
        assert await store.delete(EVERYBODY, "a") == 0
        assert await store.delete_where(Selection(tags=frozenset({"t"}))) == 1
        assert await keys_of(store) == []

    async def test_what_has_expired_before_is_not_kept_and_replaces(
        self, store: KeyValueStore, clock: FakeClock
    ) -> None:
        await store.put(entry("a", b"old"))
        await store.put(entry("a", b"new", expires_at=clock()), entry("b", expires_at=clock() - 1))
        assert await store.get_many(EVERYBODY, ["a", "b"]) == {}

    async def test_a_new_entry_never_replaces(self, store: KeyValueStore, clock: FakeClock) -> None:
        first = entry("a", b"1", expires_at=clock() + 10)
        assert await store.put_new(first) is True
        assert await store.put_new(entry("a", b"2")) is False
        assert await store.get(EVERYBODY, "a") == first
        assert await store.put_new(entry("a", b"3", scope=Scope("other"))) is True
        clock.advance(10)
        assert await store.put_new(entry("a", b"4")) is True
        clock.advance(1e6)
        assert await store.put_new(entry("a", b"5")) is False
        assert await store.get(EVERYBODY, "a") == entry("a", b"4")
        with pytest.raises(InvalidInput, match="key"):
            await store.put_new(entry(""))

    async def test_of_many_who_put_one_new_key_one_does(self, store: KeyValueStore) -> None:
        for key in map(str, range(10)):
            entries = [entry(key, str(number).encode()) for number in range(20)]
            kept = await asyncio.gather(*map(store.put_new, entries))
            assert sum(kept) == 1
            assert await store.get(EVERYBODY, key) == entries[kept.index(True)]

    async def test_an_end_far_away_is_allowed(self, store: KeyValueStore, clock: FakeClock) -> None:
        far = [entry("a", expires_at=1e300), entry("b", created_at=10**20, expires_at=10**21)]
        await store.put(*far)
        clock.advance(1e12)
        assert await store.get_many(EVERYBODY, ["a", "b"]) == {one.key: one for one in far}

    @pytest.mark.parametrize("scope", NEIGHBOURS, ids=str)
    async def test_scopes_do_not_mix(self, store: KeyValueStore, scope: Scope) -> None:
        others = [one for one in NEIGHBOURS if one != scope]
        await store.put(*(entry("key", repr(one).encode(), scope=one) for one in others))
        assert await store.get(scope, "key") is None
        assert await store.get(scope, "b:key") is None
        assert await keys_of(store, Selection.of(scope)) == []
        assert await store.delete(scope, "key") == 0
        assert await store.delete_where(Selection.of(scope)) == 0
        await store.put(entry("key", b"mine", scope=scope))
        assert await store.get(scope, "key") == entry("key", b"mine", scope=scope)
        assert await store.delete_where(Selection.of(scope)) == 1
        for other in others:
            assert await store.get(other, "key") == entry("key", repr(other).encode(), scope=other)

    async def test_a_selection_takes_parts_of_scopes(self, store: KeyValueStore) -> None:
        scopes = [
            Scope("t", "u", "n"),
            Scope("t", "u"),
            Scope("t", "", "n"),
            Scope("t"),
            Scope("x", "u", "n"),
        ]
        await store.put(*(entry(str(number), scope=scope) for number, scope in enumerate(scopes)))
        assert await keys_of(store, Selection(tenant="t")) == ["0", "1", "2", "3"]
        assert await keys_of(store, Selection(user="u")) == ["0", "1", "4"]
        assert await keys_of(store, Selection(user="")) == ["2", "3"]
        assert await keys_of(store, Selection(tenant="t", name="n")) == ["0", "2"]
        assert await keys_of(store, Selection.of(Scope("t"))) == ["3"]

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("*", ["A1", "a*", "a1", "a12", "a[1]", "b1"]),
            ("a*", ["a*", "a1", "a12", "a[1]"]),
            ("a?", ["a*", "a1"]),
            ("?1", ["A1", "a1", "b1"]),
            ("[ab]1", ["a1", "b1"]),
            ("[!a]1", ["A1", "b1"]),
            ("a[[]1]", ["a[1]"]),
            ("a[*]", ["a*"]),
            ("a1", ["a1"]),
            ("", []),
            ("\0", []),
            ("\ud800*", []),
        ],
    )
    async def test_a_pattern_selects_keys(
        self, store: KeyValueStore, pattern: str, expected: list[str]
    ) -> None:
        keys = ["A1", "a*", "a1", "a12", "a[1]", "b1"]
        await store.put(*(entry(key) for key in keys))
        assert await keys_of(store, Selection(pattern=pattern)) == expected
        assert await store.delete_where(Selection(pattern=pattern)) == len(expected)
        assert await keys_of(store) == [key for key in keys if key not in expected]

    async def test_a_selection_takes_tags_and_ages(self, store: KeyValueStore, clock: FakeClock) -> None:
        await store.put(
            entry("1", tags=("red", "big"), created_at=clock() - 30),
            entry("2", tags=("red",), created_at=clock() - 20),
            entry("3", tags=("blue",), created_at=clock() - 10),
            entry("4", created_at=clock()),
        )
        assert await keys_of(store, Selection(tags=frozenset({"red"}))) == ["1", "2"]
        assert await keys_of(store, Selection(tags=frozenset({"big", "blue"}))) == ["1", "3"]
        assert await keys_of(store, Selection(created_before=clock() - 10)) == ["1", "2"]
        both = Selection(pattern="[12]", tags=frozenset({"red"}), created_before=clock() - 20)
        assert await store.delete_where(both) == 1
        assert await keys_of(store) == ["2", "3", "4"]

    async def test_hits_and_misses_are_counted_and_scans_are_not(self, store: KeyValueStore) -> None:
        await store.put(entry("a"))
        before = await store.stats()
        await store.get(EVERYBODY, "a")
        await store.get(EVERYBODY, "b")
        await store.get_many(EVERYBODY, ["a", "b", "c"])
        await keys_of(store)
        after = await store.stats()
        assert (after.hits - before.hits, after.misses - before.misses) == (2, 3)
        assert after.entries in (1, None)
        assert after.bytes in (len("a") + len(b"value"), None)

    async def test_concurrent_calls_see_whole_values(self, store: KeyValueStore) -> None:
        values = [bytes([number]) * 20_000 for number in range(8)]
        writes = [store.put(entry("a", value)) for value in values]
        answers = await asyncio.gather(*writes, *(store.get(EVERYBODY, "a") for _ in range(16)))
        seen = {found.value for found in answers if found is not None}
        assert seen <= set(values)
        last = await store.get(EVERYBODY, "a")
        assert last is not None
        assert last.value in values

    async def test_concurrent_writes_of_many_keys_all_stay(self, store: KeyValueStore) -> None:
        await asyncio.gather(*(store.put(entry(str(number))) for number in range(100)))
        deleted = await asyncio.gather(*(store.delete(EVERYBODY, "7") for _ in range(5)))
        assert sum(deleted) == 1
        assert len(await keys_of(store)) == 99

    async def test_a_scan_bears_changes(self, store: KeyValueStore) -> None:
        await store.put(*(entry(f"{number:04}") for number in range(600)))
        seen = []
        async for found in store.scan():
            seen.append(found.key)
            if len(seen) == 10:
                await store.put(entry("new"))
                await store.delete_where(Selection(pattern="00*"))
        rest = [key for key in seen if key not in ("new",) and not key.startswith("00")]
        assert sorted(rest) == [f"{number:04}" for number in range(100, 600)]
        assert len(seen) == len(set(seen))

    async def test_a_scan_ends_though_all_that_it_sees_is_put_again(self, store: KeyValueStore) -> None:
        keys = [f"{number:04}" for number in range(600)]
        await store.put(*map(entry, keys))
        seen = []
        async for found in store.scan():
            seen.append(found.key)
            assert len(seen) <= len(keys)
            await store.put(replace(found, value=b"again"))
        assert sorted(seen) == keys

    async def test_opening_and_closing_twice_is_doing_so_once(self, store: KeyValueStore) -> None:
        await store.put(entry("a"))
        await store.open()
        assert await store.get(EVERYBODY, "a") == entry("a")
        await store.close()
        await store.close()
