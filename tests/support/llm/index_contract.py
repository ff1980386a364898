"""What every SimilarityIndex that is written to does."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pytest
from tests.support.llm.clock import FakeClock
from tests.support.llm.operations import Operations

from vectorcache.errors import InvalidInput
from vectorcache.vectors.metric import Floats
from vectorcache_llm.scope import EVERYBODY, Scope, Selection
from vectorcache_llm.similarity.base import IndexEntry, Lookup, Match, Partition, SimilarityIndex

DIMENSION = 16
FINGERPRINT = "test-16"
HERE = Partition()

HOSTILE_NAMES = [
    "a|b", "{x}", "a b", "*", "-", "a,b", "a:b", "a*", "?", "[a]", "%", "_", "__", "a_2a", "ünï", "日本", "🙂",
    "'", '"', "\\", "@tenant", "(a)", "~a", "$v", "=>[KNN 1", "A", "a", "0", "true", "null", "x" * 200,
]  # fmt: skip
HOSTILE_TEXTS = [
    "", " ", "\x00", "a\x00b", "line\r\nline", "🙂" * 50, "\u202ereversed", "ÿ" * 5000, "*", "{tag}", "\uffff",
]  # fmt: skip

Make: TypeAlias = Callable[..., SimilarityIndex]
"""Makes an index over what the one made before holds; keywords are the constructor's."""


def vectors(count: int, seed: int = 0, dimension: int = DIMENSION) -> Floats:
    """(count, d) of length 1, in no particular direction."""
    rows = np.random.default_rng(seed).standard_normal((count, dimension))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def near(vector: Floats, similarity: float, seed: int = 0) -> Floats:
    """A vector of exactly this cosine with another."""
    other = vectors(1, seed + 1000, len(vector))[0]
    across = other - (other @ vector) * vector
    across /= np.linalg.norm(across)
    return np.asarray(similarity * vector + np.sqrt(1 - similarity**2) * across, dtype=np.float32)


def entry(
    id: str,  # noqa: A002 - the field's name
    vector: Floats,
    partition: Partition = HERE,
    **more: Any,
) -> IndexEntry:
    values = {"text": f"text of {id}", "payload": id.encode(), "created_at": 1_700_000_000.0, **more}
    return IndexEntry(id, partition, vector, **values)


def ids(matches: list[Match]) -> list[str]:
    return [match.entry.id for match in matches]


def same(one: IndexEntry | None, other: IndexEntry) -> bool:
    """Whether two entries are equal, vectors to the last bit."""
    if one is None or not np.array_equal(one.vector, other.vector):
        return False
    return dataclasses.replace(one, vector=other.vector) == other


async def everything(index: SimilarityIndex, selection: Selection | None = None) -> list[str]:
    return sorted([one.id async for one in index.scan(selection or Selection())])


class IndexContract:
    """Subclass it, and give it ``make``. ``index`` is one that is open."""

    keeps: ClassVar[bool]
    """Whether entries outlive the object."""
    recall: ClassVar[float] = 1.0
    """At least so many of the true nearest are found among a few thousand, where neighbours are near."""
    many: ClassVar[int] = 3000

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def make(self, clock: FakeClock) -> Make:
        raise NotImplementedError

    @pytest.fixture
    async def index(self, make: Make) -> Any:
        async with make() as index:
            yield index

    async def test_an_entry_comes_back_whole(self, index: SimilarityIndex) -> None:
        vector = vectors(1)[0]
        there = entry(
            "a",
            vector,
            Partition(Scope("t", "u", "n"), "context"),
            text="What is it? 🙂",
            payload=bytes(range(256)) * 500,
            created_at=1_700_000_000.123456,
            expires_at=1_700_000_900.654321,
            tags=frozenset({"one", "a,b", "{"}),
            metadata={"model": "m", "ä": ""},
        )
        await index.add([there])
        assert same(await index.get(Scope("t", "u", "n"), "a"), there)
        [match] = await index.search(there.partition, vector)
        assert same(match.entry, there)
        assert match.similarity == pytest.approx(1.0, abs=1e-5)
        assert [same(one, there) async for one in index.scan()] == [True]

    async def test_nothing_is_found_in_an_empty_index(self, index: SimilarityIndex) -> None:
        assert await index.get(EVERYBODY, "a") is None
        assert await index.search(HERE, vectors(1)[0]) == []
        assert await index.delete(EVERYBODY, "a") == 0
        assert await index.delete_where(Selection()) == 0
        assert await everything(index) == []
        await index.add([])

    async def test_the_most_similar_come_first_with_their_exact_cosine(self, index: SimilarityIndex) -> None:
        query = vectors(1)[0]
        cosines = {"far": -0.5, "near": 0.95, "nearer": 0.99, "middle": 0.5}
        await index.add(
            [entry(name, near(query, value, seed)) for seed, (name, value) in enumerate(cosines.items())]
        )
        found = await index.search(HERE, query, 10, -1.0)
        assert ids(found) == ["nearer", "near", "middle", "far"]
        assert [match.similarity for match in found] == pytest.approx([0.99, 0.95, 0.5, -0.5], abs=1e-5)
        assert ids(await index.search(HERE, query, 2)) == ["nearer", "near"]
        assert ids(await index.search(HERE, query, 10, 0.9)) == ["nearer", "near"]
        assert await index.search(HERE, query, 10, 0.999) == []
        longer = await index.search(HERE, 7 * query, 1)
        assert longer[0].similarity == pytest.approx(0.99, abs=1e-5)

    async def test_lookup_finds_the_id_or_else_what_is_similar(self, index: SimilarityIndex) -> None:
        query = vectors(1)[0]
        await index.add([entry("a", near(query, 0.9)), entry("b", near(query, 0.1, 1))])
        exact = await index.lookup("b", HERE, query, 1, 0.5)
        assert exact.entry is not None
        assert (exact.entry.id, list(exact.matches)) == ("b", [])
        similar = await index.lookup("c", HERE, query, 1, 0.5)
        assert similar.entry is None
        assert ids(list(similar.matches)) == ["a"]
        assert await index.lookup("c", Partition(Scope("other")), query) == Lookup(None, [])

    async def test_an_entry_of_the_same_id_replaces(self, index: SimilarityIndex, clock: FakeClock) -> None:
        old, new = vectors(2)
        await index.add(
            [entry("a", old, expires_at=clock() + 10, tags=frozenset({"t"}), metadata={"k": "v"})]
        )
        await index.add([entry("a", new, text="new")])
        assert [match.similarity for match in await index.search(HERE, new, 5, -1.0)] == pytest.approx(
            [1.0], abs=1e-5
        )
        clock.advance(20)
        replaced = await index.get(EVERYBODY, "a")
        assert replaced is not None
        assert (replaced.text, replaced.expires_at, replaced.tags, replaced.metadata) == (
            "new",
            None,
            frozenset(),
            {},
        )

    async def test_an_entry_of_the_same_id_leaves_its_old_context(self, index: SimilarityIndex) -> None:
        vector = vectors(1)[0]
        await index.add([entry("a", vector, Partition(EVERYBODY, "old"))])
        await index.add([entry("a", vector, Partition(EVERYBODY, "new"))])
        assert await index.search(Partition(EVERYBODY, "old"), vector) == []
        assert ids(await index.search(Partition(EVERYBODY, "new"), vector)) == ["a"]
        assert await everything(index) == ["a"]

    async def test_the_last_of_equal_ids_in_one_call_stays(self, index: SimilarityIndex) -> None:
        first, last = vectors(2)
        await index.add([entry("a", first), entry("a", last)])
        found = await index.search(HERE, last, 5, -1.0)
        assert [match.similarity for match in found] == pytest.approx([1.0], abs=1e-5)

    async def test_scopes_and_contexts_are_gates(self, index: SimilarityIndex) -> None:
        vector = vectors(1)[0]
        scopes = [Scope("t"), Scope("t", "u"), Scope("t", "", "u"), Scope("tu"), Scope("u", "t"), EVERYBODY]
        partitions = [Partition(scope, context) for scope in scopes for context in ("", "c")]
        for place in partitions:
            await index.add(
                [entry(f"{place.scope}{place.context}"[-190:], vector, place, payload=repr(place).encode())]
            )
        for place in partitions:
            found = await index.search(place, vector, 100)
            assert [match.entry.payload.decode() for match in found] == [repr(place)]

    async def test_the_same_id_in_two_scopes_is_two_entries(self, index: SimilarityIndex) -> None:
        one, other = Partition(Scope("one")), Partition(Scope("other"))
        await index.add([entry("a", vectors(1)[0], one), entry("a", vectors(1)[0], other)])
        assert await index.delete(Scope("one"), "a") == 1
        assert await index.get(Scope("one"), "a") is None
        kept = await index.get(Scope("other"), "a")
        assert kept is not None
        assert kept.partition == other

    async def test_a_crowd_in_another_partition_hides_nothing(self, index: SimilarityIndex) -> None:
        query = vectors(1)[0]
        crowd = [
            entry(f"crowd{number}", near(query, 0.999, number), Partition(Scope("crowd")))
            for number in range(300)
        ]
        await index.add([*crowd, entry("alone", near(query, 0.2), Partition(Scope("quiet")))])
        assert ids(await index.search(Partition(Scope("quiet")), query, 3)) == ["alone"]

    async def test_hostile_names_name_only_themselves(self, index: SimilarityIndex) -> None:
        vector = vectors(1)[0]
        places = [
            place
            for name in HOSTILE_NAMES
            for place in (
                Partition(Scope(name)),
                Partition(Scope("t", name)),
                Partition(Scope("t", "", name)),
                Partition(Scope("t"), name),
            )
        ]
        await index.add([entry(f"{number}", vector, place) for number, place in enumerate(places)])
        for number, place in enumerate(places):
            assert ids(await index.search(place, vector, 10)) == [f"{number}"]
        assert await index.delete_where(Selection(tenant="*")) == 1
        assert await index.delete_where(Selection(user="a|b")) == 1
        assert len(await everything(index)) == len(places) - 2

    async def test_hostile_ids_are_ids(self, index: SimilarityIndex) -> None:
        names = HOSTILE_NAMES
        await index.add([entry(name, row) for name, row in zip(names, vectors(len(names)), strict=True)])
        for name in names:
            found = await index.get(EVERYBODY, name)
            assert found is not None
            assert found.id == name
        for number, name in enumerate(names, 1):
            assert await index.delete(EVERYBODY, name, "none") == 1
            assert await everything(index) == sorted(names[number:])

    async def test_hostile_texts_come_back(self, index: SimilarityIndex) -> None:
        entries = [
            entry(f"{number}", vector, text=text, tags=frozenset({text}), metadata={text: text})
            for number, (text, vector) in enumerate(
                zip(HOSTILE_TEXTS, vectors(len(HOSTILE_TEXTS)), strict=True)
            )
        ]
        await index.add(entries)
        for one in entries:
            assert same(await index.get(EVERYBODY, one.id), one)
            assert same((await index.search(HERE, one.vector))[0].entry, one)

    async def test_what_has_ended_is_not_found(self, index: SimilarityIndex, clock: FakeClock) -> None:
        query = vectors(1)[0]
        ending = [
            entry(f"{number}", near(query, 0.9, number), expires_at=clock() + 10) for number in range(40)
        ]
        await index.add([*ending, entry("stays", near(query, 0.1))])
        clock.advance(9.999)
        assert len(await index.search(HERE, query, 100)) == 41
        await index.get(EVERYBODY, "0")  # does not extend its life
        clock.advance(0.001)
        assert ids(await index.search(HERE, query, 3)) == ["stays"]
        assert await index.get(EVERYBODY, "0") is None
        assert (await index.lookup("0", HERE, query, 1, 0.5)) == Lookup(None, [])
        assert await everything(index) == ["stays"]
        assert await index.delete(EVERYBODY, "0") == 0

    async def test_what_had_ended_before_it_came_is_not_found(
        self, index: SimilarityIndex, clock: FakeClock
    ) -> None:
        await index.add([entry("a", vectors(1)[0])])
        await index.add([entry("a", vectors(1)[0], expires_at=clock() - 1)])
        assert await index.get(EVERYBODY, "a") is None
        assert await index.search(HERE, vectors(1)[0]) == []

    async def test_more_than_there_are_gives_all(self, index: SimilarityIndex) -> None:
        await index.add([entry(f"{number}", vector) for number, vector in enumerate(vectors(7))])
        assert len(await index.search(HERE, vectors(1, 9)[0], 1000, -1.0)) == 7

    async def test_zeros_are_similar_to_nothing(self, index: SimilarityIndex) -> None:
        nothing, vector = np.zeros(DIMENSION, dtype=np.float32), vectors(1)[0]
        await index.add([entry("nothing", nothing), entry("other", vector)])
        assert await index.search(HERE, nothing, 5, -1.0) == []
        assert ids(await index.search(HERE, vector, 5, -1.0)) == ["other"]
        assert same(await index.get(EVERYBODY, "nothing"), entry("nothing", nothing))
        found = await index.lookup("nothing", HERE, nothing)
        assert found.entry is not None
        await index.add([entry("other", nothing)])
        assert await index.search(HERE, vector, 5, -1.0) == []
        assert await index.delete(EVERYBODY, "nothing", "other") == 2

    async def test_deletes_by_selection(self, index: SimilarityIndex) -> None:
        def some(name: str, tenant: str, user: str, created: float, *tags: str) -> IndexEntry:
            place = Partition(Scope(tenant, user))
            return entry(
                name,
                vectors(1, len(name))[0],
                place,
                text=f"{name} [x]",
                created_at=created,
                tags=frozenset(tags),
            )

        cases: list[tuple[Selection, list[str]]] = [
            (Selection(tenant="t"), ["a", "ab", "b"]),
            (Selection(tenant="t", user=""), ["a", "b"]),
            (Selection(user="u"), ["ab", "c"]),
            (Selection(name=""), ["a", "ab", "b", "c"]),
            (Selection(tags=frozenset({"red", "blue"})), ["ab", "b"]),
            (Selection(created_before=20.0), ["a", "ab"]),
            (Selection(pattern="a*"), ["a", "ab"]),
            (Selection(pattern="? [[]x]"), ["a", "b", "c"]),
            (Selection(tenant="t", pattern="*b*", created_before=15.5), ["ab"]),
            (Selection(tenant="none"), []),
        ]
        entries = [
            some("a", "t", "", 10.0),
            some("ab", "t", "u", 15.0, "red", "green"),
            some("b", "t", "", 20.0, "blue"),
            some("c", "s", "u", 30.0),
        ]
        for selection, selected in cases:
            await index.add(entries)
            assert await everything(index, selection) == selected
            assert await index.delete_where(selection) == len(selected)
            assert await everything(index) == [one.id for one in entries if one.id not in selected]
        await index.add(entries)
        assert await index.search(Partition(Scope("t")), vectors(1, 1)[0], 5, 0.99)
        assert await index.delete_where(Selection.of(Scope("t"))) == 2
        assert await index.search(Partition(Scope("t")), vectors(1, 1)[0], 5, -1.0) == []

    @pytest.mark.parametrize(
        ("field", "changes"),
        [
            ("id", {"id": ""}),
            ("id", {"id": "x" * 201}),
            ("id", {"id": "a\nb"}),
            ("id", {"id": None}),
            ("text", {"text": "\ud800"}),
            ("tags", {"tags": frozenset({"\udfff"})}),
            ("metadata", {"metadata": {"a": "\ud800"}}),
            ("payload", {"payload": "text"}),
            ("vector", {"vector": vectors(1, dimension=DIMENSION + 1)[0]}),
            ("vector", {"vector": vectors(1)[0] * 2}),
            ("vector", {"vector": np.full(DIMENSION, np.nan, dtype=np.float32)}),
            ("expires_at", {"expires_at": float("nan")}),
            ("created_at", {"created_at": float("inf")}),
            ("created_at", {"created_at": "now"}),
        ],
    )
    async def test_what_is_not_allowed_is_named_and_nothing_is_kept(
        self, index: SimilarityIndex, field: str, changes: dict[str, Any]
    ) -> None:
        good, bad = entry("good", vectors(1)[0]), dataclasses.replace(entry("a", vectors(1)[0]), **changes)
        with pytest.raises(InvalidInput, match=f"^{field}"):
            await index.add([good, bad])
        assert await everything(index) == []

    async def test_bad_queries_are_named(self, index: SimilarityIndex) -> None:
        good = vectors(1)[0]
        with pytest.raises(InvalidInput, match="^k: 0"):
            await index.search(HERE, good, 0)
        for bad in (good[:-1], good[None], good * np.float32(np.inf)):
            with pytest.raises(InvalidInput, match="^vector"):
                await index.search(HERE, bad)
            with pytest.raises(InvalidInput, match="^vector"):
                await index.lookup("a", HERE, bad)

    async def test_vectors_a_little_off_length_1_compare_exactly(self, index: SimilarityIndex) -> None:
        query = vectors(1)[0]
        await index.add([entry("a", near(query, 0.8) * np.float32(1.0009))])
        [match] = await index.search(HERE, query)
        assert match.similarity == pytest.approx(0.8, abs=1e-5)

    async def test_what_a_caller_does_to_its_array_changes_nothing(self, index: SimilarityIndex) -> None:
        vector = vectors(1)[0].copy()
        await index.add([entry("a", vector)])
        vector[:] = 0
        [match] = await index.search(HERE, vectors(1)[0])
        assert np.array_equal(match.entry.vector, vectors(1)[0])

    async def test_concurrent_calls_see_whole_entries(self, index: SimilarityIndex) -> None:
        rows = vectors(64)
        entries = [entry(f"{number}", row) for number, row in enumerate(rows)]
        searches = [index.search(HERE, row, 3) for row in rows]
        found = await asyncio.gather(*(index.add([one]) for one in entries), *searches)
        for matches in found[64:]:
            assert all(same(match.entry, entries[int(match.entry.id)]) for match in matches or ())
        nearest = await asyncio.gather(*(index.search(HERE, row) for row in rows))
        assert [ids(matches) for matches in nearest] == [[one.id] for one in entries]

    async def test_many_give_what_brute_force_gives(self, index: SimilarityIndex) -> None:
        centres = vectors(60, 1)
        spread = 0.25 * vectors(self.many, 2)
        rows = centres[np.arange(self.many) % 60] + spread
        rows = np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
        await index.add([entry(f"{number}", row) for number, row in enumerate(rows)])
        queries = np.stack(
            [near(rows[number], 0.97, number) for number in range(0, self.many, self.many // 40)]
        )
        truth = queries.astype(np.float64) @ rows.T.astype(np.float64)
        found = [await index.search(HERE, query, 5) for query in queries]
        hits = 0
        for number, matches in enumerate(found):
            best = set(np.argsort(-truth[number])[:5].tolist())
            hits += len(best & {int(match.entry.id) for match in matches})
            expected = [truth[number][int(match.entry.id)] for match in matches]
            assert [match.similarity for match in matches] == pytest.approx(expected, abs=1e-5)
        assert hits >= self.recall * 5 * len(queries)

    async def test_random_operations_do_what_a_dictionary_does(
        self, index: SimilarityIndex, clock: FakeClock
    ) -> None:
        operations = Operations(index, clock, random.Random(4), DIMENSION)
        await operations.run(400)
        assert operations.answers > 100

    async def test_closing_and_opening_twice_is_once(self, make: Make) -> None:
        index = make()
        await index.open()
        await index.add([entry("a", vectors(1)[0])])
        await index.open()
        assert await index.get(EVERYBODY, "a") is not None
        await index.close()
        await index.close()

    async def test_entries_outlive_the_object_where_they_should(self, make: Make) -> None:
        async with make() as index:
            await index.add([entry("a", vectors(1)[0])])
        async with make() as index:
            assert ids(await index.search(HERE, vectors(1)[0])) == (["a"] if self.keeps else [])

    async def test_embedders_are_kept_apart(self, make: Make) -> None:
        async with make() as one, make(fingerprint="other") as other:
            await one.add([entry("a", vectors(1)[0])])
            assert (one.fingerprint, one.dimension) == (FINGERPRINT, DIMENSION)
            assert await other.get(EVERYBODY, "a") is None
            assert await other.search(HERE, vectors(1)[0]) == []
            assert await other.delete_where(Selection()) == 0
            assert await everything(one) == ["a"]

    async def test_statistics_count_entries(self, index: SimilarityIndex) -> None:
        await index.add([entry(f"{number}", vector) for number, vector in enumerate(vectors(5))])
        await index.delete(EVERYBODY, "0")
        stats = await index.stats()
        assert stats.entries in (4, None)
        assert stats.bytes is None or stats.bytes > 0
        assert index.name
