import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.llm.flaky import FlakyEmbedder

from vectorcache.errors import CorruptData, InvalidInput, NotFound, Unavailable
from vectorcache_llm.manager import Manager
from vectorcache_llm.manager.transfer import BATCH
from vectorcache_llm.scope import EVERYTHING, Scope, Selection

FakeCache = Any


@pytest.fixture
def manager(some: FakeCache, more: FakeCache) -> Manager:
    return Manager([some, more], embedder=FlakyEmbedder(), clock=lambda: 400.0)


async def test_caches_are_opened_and_closed_once_in_order(
    manager: Manager, some: FakeCache, more: FakeCache
) -> None:
    some.events = more.events = []
    async with manager:
        await manager.open()
    await manager.close()
    assert some.events == ["open", "open", "close", "close"]


async def test_a_failure_to_open_closes_the_others(
    manager: Manager, some: FakeCache, more: FakeCache
) -> None:
    async def fail() -> None:
        raise Unavailable("no")

    more.open = fail
    with pytest.raises(Unavailable):
        await manager.open()
    assert some.events == ["open", "close"]


def test_caches_have_different_names(some: FakeCache) -> None:
    with pytest.raises(InvalidInput, match="names"):
        Manager([some, some])


class TestInvalidate:
    @pytest.mark.parametrize(
        ("selection", "counts"),
        [
            (EVERYTHING, {"some": 2, "more": 1}),
            (Selection(tenant="acme"), {"some": 1, "more": 1}),
            (Selection(pattern="*bird"), {"some": 1, "more": 0}),
        ],
    )
    async def test_all_caches(self, manager: Manager, selection: Selection, counts: dict[str, int]) -> None:
        report = await manager.invalidate(selection)
        assert (report.counts, report.errors, report.ok) == (counts, {}, True)
        assert report.total == sum(counts.values())

    async def test_one_cache(self, manager: Manager, more: FakeCache) -> None:
        assert (await manager.invalidate(EVERYTHING, ["some"])).counts == {"some": 2}
        assert len(more.entries) == 1
        with pytest.raises(NotFound, match="cache 'none'"):
            await manager.invalidate(EVERYTHING, ["some", "none"])

    async def test_older_than(self, manager: Manager) -> None:
        assert (await manager.invalidate(EVERYTHING, older_than=150)).counts == {"some": 2, "more": 0}
        with pytest.raises(InvalidInput, match="older_than"):
            await manager.invalidate(EVERYTHING, older_than=-1)

    async def test_a_failure_is_reported_for_its_cache_only(
        self, manager: Manager, some: FakeCache, more: FakeCache
    ) -> None:
        some.down = True
        report = await manager.invalidate(EVERYTHING)
        assert (report.counts, report.errors, report.ok) == ({"more": 1}, {"some": "some is down"}, False)

    async def test_a_cache_without_an_index_is_reported(self, manager: Manager) -> None:
        report = await manager.invalidate_similar(Scope(), "fish", 0.9, ["some"])
        assert "does not compare texts" in report.errors["some"]
        with pytest.raises(InvalidInput, match="min_similarity"):
            await manager.invalidate_similar(Scope(), "fish", 1.1, ["some"])


async def test_stats_and_health_of_every_cache(manager: Manager, some: FakeCache) -> None:
    some.down = True
    assert await manager.stats() == {"some": {"error": "some is down"}, "more": {"entries": 1}}
    health = await manager.health()
    assert {name: [part.ok for part in parts] for name, parts in health.items()} == {
        "some": [False],
        "more": [True],
    }


def test_an_unknown_cache(manager: Manager) -> None:
    for name in ("response", "reasoning", "chat"):
        with pytest.raises(NotFound, match=name):
            getattr(manager, name)


class TestTransfer:
    async def test_a_round_trip_is_exact(
        self, manager: Manager, some: FakeCache, more: FakeCache, tmp_path: Path
    ) -> None:
        before = set(some.entries), set(more.entries)
        path = tmp_path / "all.jsonl"
        report = await manager.export(path)
        assert (report.counts, report.ok) == ({"some": 2, "more": 1}, True)
        await manager.invalidate(EVERYTHING)
        report = await manager.restore(path)
        assert (report.counts, report.ok) == ({"some": 2, "more": 1}, True)
        assert (some.entries, more.entries) == before

    async def test_the_file_has_a_header_and_a_footer(self, manager: Manager, tmp_path: Path) -> None:
        await manager.export(tmp_path / "all.jsonl", Selection(tenant="other"), ["some"])
        first, record, last = map(json.loads, (tmp_path / "all.jsonl").read_text().splitlines())
        assert manager.embedder is not None
        assert first == {
            "format": "vectorcache-llm",
            "version": 1,
            "created_at": 400.0,
            "embedder": manager.embedder.fingerprint,
        }
        assert record == {"cache": "some", "record": {"tenant": "other", "text": "a bird", "made": 200.0}}
        assert last == {"records": 1, "failed": []}

    async def test_many_entries_in_batches_with_progress(
        self, manager: Manager, some: FakeCache, tmp_path: Path
    ) -> None:
        some.entries = {("t", f"text {n}", 1.0) for n in range(3 * BATCH)}
        told: list[int] = []
        await manager.export(tmp_path / "all.jsonl", caches=["some"], progress=told.append)
        assert told == [BATCH, 2 * BATCH, 3 * BATCH]
        entries, some.entries, told[:] = some.entries, set(), []
        await manager.restore(tmp_path / "all.jsonl", progress=told.append)
        assert some.entries == entries
        assert told[-1] == 3 * BATCH

    async def test_an_export_that_fails_for_one_cache_has_the_others(
        self, manager: Manager, some: FakeCache, more: FakeCache, tmp_path: Path
    ) -> None:
        some.down = True
        report = await manager.export(tmp_path / "all.jsonl")
        assert (report.errors, report.counts["more"]) == ({"some": "some is down"}, 1)
        some.down, more.entries = False, set()
        restored = await manager.restore(tmp_path / "all.jsonl")
        assert not restored.complete
        assert len(more.entries) == 1

    async def test_a_restore_that_fails_for_one_cache_has_the_others(
        self, manager: Manager, some: FakeCache, more: FakeCache, tmp_path: Path
    ) -> None:
        await manager.export(tmp_path / "all.jsonl")
        some.down = True
        report = await manager.restore(tmp_path / "all.jsonl")
        assert (report.counts, report.errors, report.complete) == (
            {"more": 1},
            {"some": "some is down"},
            True,
        )

    async def test_chosen_caches_only(self, manager: Manager, some: FakeCache, tmp_path: Path) -> None:
        await manager.export(tmp_path / "all.jsonl")
        some.entries = set()
        assert (await manager.restore(tmp_path / "all.jsonl", ["more"])).counts == {"more": 1}
        assert some.entries == set()

    async def test_a_file_that_ends_early_is_reported(self, manager: Manager, tmp_path: Path) -> None:
        path = tmp_path / "all.jsonl"
        await manager.export(path)
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
        report = await manager.restore(path)
        assert (report.total, report.complete, report.ok) == (3, False, False)

    async def test_a_file_that_lacks_a_line_is_reported(self, manager: Manager, tmp_path: Path) -> None:
        path = tmp_path / "all.jsonl"
        await manager.export(path)
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join([*lines[:2], *lines[3:]]))
        report = await manager.restore(path)
        assert (report.total, report.complete) == (2, False)

    async def test_empty_lines_at_the_end_do_not_matter(self, manager: Manager, tmp_path: Path) -> None:
        path = tmp_path / "all.jsonl"
        await manager.export(path)
        path.write_text(path.read_text() + "\n" * BATCH)
        assert (await manager.restore(path)).ok

    @pytest.mark.parametrize("damage", ['{"cache": "some"}', "nonsense", '{"records": "many"}', "\x00"])
    async def test_a_damaged_line_is_named(self, manager: Manager, tmp_path: Path, damage: str) -> None:
        path = tmp_path / "all.jsonl"
        await manager.export(path)
        lines = path.read_text().splitlines()
        path.write_text("\n".join([lines[0], damage, *lines[2:]]))
        with pytest.raises(CorruptData, match=r"all\.jsonl, line 2"):
            await manager.restore(path)

    @pytest.mark.parametrize(
        "header", ["", "{}", '{"format": "vectorcache-llm", "version": 2, "created_at": 1}', "[]"]
    )
    async def test_a_file_that_is_not_an_export(self, manager: Manager, tmp_path: Path, header: str) -> None:
        path = tmp_path / "all.jsonl"
        path.write_text(header + "\n")
        with pytest.raises(CorruptData, match=r"all\.jsonl"):
            await manager.restore(path)

    async def test_files_that_cannot_be_read_or_written(self, manager: Manager, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="nowhere"):
            await manager.restore(tmp_path / "nowhere")
        with pytest.raises(InvalidInput, match="folder"):
            await manager.export(tmp_path / "folder" / "all.jsonl")
        (tmp_path / "folder").mkdir()
        with pytest.raises(InvalidInput, match="can be written"):
            await manager.export(tmp_path / "folder")
        with pytest.raises(InvalidInput, match="can be written"):
            await manager.export(Path("/"))
        assert [path.name for path in tmp_path.iterdir()] == ["folder"]

    async def test_an_interrupted_export_keeps_the_old_file(
        self, manager: Manager, some: FakeCache, tmp_path: Path
    ) -> None:
        path = tmp_path / "all.jsonl"
        path.write_text("old")

        def interrupt(count: int) -> None:
            raise KeyboardInterrupt

        some.entries = {("t", f"text {n}", 1.0) for n in range(BATCH)}
        with pytest.raises(KeyboardInterrupt):
            await manager.export(path, progress=interrupt)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    @given(texts=st.sets(st.text(st.characters(exclude_categories=["Cs"])), max_size=20))
    async def test_any_text_round_trips(
        self, texts: set[str], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        from tests.unit.llm.manager.conftest import FakeCache as Fake

        entries = [("t", text, 0.1) for text in texts]
        path = tmp_path_factory.mktemp("export") / "all.jsonl"
        await Manager([Fake("some", *entries)]).export(path)
        empty = Fake("some")
        await Manager([empty]).restore(path)
        assert empty.entries == set(entries)
