from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.llm.clock import FakeClock
from tests.support.llm.store_contract import NEIGHBOURS, StoreContract, entry, keys_of

from vectorcache.errors import DeadlineExceeded, InvalidInput, Unavailable
from vectorcache_llm.kv import KeyValueStore, SQLiteStore
from vectorcache_llm.kv.sqlite import table
from vectorcache_llm.kv.sqlite.file import APPLICATION_ID
from vectorcache_llm.kv.sqlite.table import BATCH, EVICTION_QUERIES, MARKS, PURGE_BATCH, SCAN_BYTES
from vectorcache_llm.scope import EVERYBODY, Scope, Selection


class TestContract(StoreContract):
    @pytest.fixture
    async def store(self, clock: FakeClock, tmp_path: Path) -> AsyncIterator[KeyValueStore]:
        async with SQLiteStore(tmp_path / "store.db", clock=clock) as store:
            yield store

    @pytest.fixture
    async def small_store(self, clock: FakeClock, tmp_path: Path) -> AsyncIterator[KeyValueStore]:
        async with SQLiteStore(tmp_path / "small.db", max_bytes=1000, clock=clock) as store:
            yield store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "store.db"


@pytest.mark.parametrize(
    "arguments", [{"max_entries": 0}, {"max_bytes": 0}, {"deadline": 0}, {"policy": "fifo"}]
)
def test_settings_are_checked(path: Path, arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(arguments))):
        SQLiteStore(path, **arguments)
    assert not path.parent.exists()


async def test_entries_persist_after_reopening(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await store.put(entry("a"), entry("b"))
    async with SQLiteStore(path) as store:
        assert await keys_of(store) == ["a", "b"]
        assert (await store.stats()).entries == 2


async def test_the_file_is_readable_by_the_owner_only(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await store.put(entry("a"))
        modes = {stat.S_IMODE(found.stat().st_mode) for found in path.parent.iterdir()}
    assert modes == {0o600}


@pytest.mark.parametrize(("durable", "level"), [(False, 1), (True, 2)])
async def test_durable_waits_for_the_disk(path: Path, durable: bool, level: int) -> None:
    async with SQLiteStore(path, durable=durable) as store:
        found = await store._run(lambda table: table._connection.execute("PRAGMA synchronous").fetchone())
    assert found == (level,)


async def left_of(path: Path, policy: str) -> list[str]:
    """The same entries as in the tests of the memory store's policies, which must agree."""
    clock = FakeClock()
    async with SQLiteStore(path, max_entries=3, policy=policy, clock=clock) as store:
        for one in (entry("a", expires_at=clock() + 100), entry("b"), entry("c", expires_at=clock() + 200)):
            await store.put(one)
            clock.advance(1)
        for key in "aab":
            await store.get(EVERYBODY, key)
            clock.advance(1)
        for key in "de":
            await store.put(entry(key))
            clock.advance(1)
        assert (await store.stats()).evicted == 2
        return await keys_of(store)


@pytest.mark.parametrize(("policy", "left"), [("lru", "bde"), ("lfu", "abe"), ("ttl", "bde")])
async def test_entries_are_evicted_by_the_policy(path: Path, policy: str, left: str) -> None:
    assert await left_of(path, policy) == list(left)


@pytest.mark.parametrize("policy", EVICTION_QUERIES)
async def test_the_victim_is_found_by_an_index(path: Path, policy: str) -> None:
    query = f"EXPLAIN QUERY PLAN {EVICTION_QUERIES[policy]}"
    async with SQLiteStore(path) as store:
        plan = await store._run(lambda table: table._connection.execute(query).fetchall())
    steps = [step for *_, step in plan]
    assert "TEMP" not in " ".join(steps)
    assert all("INDEX" in step or "SEARCH" in step for step in steps if "entries" in step)


async def test_the_oldest_entry_without_expiry_is_evicted_first_used_or_not(path: Path) -> None:
    """The policy of the memory store does the same."""
    clock = FakeClock()
    async with SQLiteStore(path, max_entries=2, policy="ttl", clock=clock) as store:
        await store.put(entry("a"), entry("b"))
        clock.advance(1)
        await store.get(EVERYBODY, "a")
        await store.put(entry("c"))
        assert await keys_of(store) == ["b", "c"]


async def test_bytes_are_limited(path: Path) -> None:
    async with SQLiteStore(path, max_bytes=100) as store:
        await store.put(*(entry(key, b"x" * 29) for key in "abc"))
        await store.put(entry("d", b"x" * 49))
        assert await keys_of(store) == ["c", "d"]
        assert (await store.stats()).bytes == 80


async def test_expired_entries_are_evicted_before_live_ones(path: Path) -> None:
    clock, count = FakeClock(), 2 * PURGE_BATCH
    async with SQLiteStore(path, max_entries=count, clock=clock) as store:
        await store.put(entry("oldest"))
        await store.put(*(entry(f"ends {n}", expires_at=clock() + 1) for n in range(count - 1)))
        clock.advance(1)
        await store.put(*(entry(f"new {n}") for n in range(count - 1)))
        stats = await store.stats()
        assert (stats.entries, stats.evicted, stats.expired) == (count, 0, count - 1)


async def test_uses_persist_after_reopening(path: Path) -> None:
    clock = FakeClock()
    async with SQLiteStore(path, clock=clock) as store:
        await store.put(entry("a"), entry("b"))
        clock.advance(1)
        await store.get(EVERYBODY, "a")
    async with SQLiteStore(path, max_entries=2, clock=clock) as store:
        await store.put(entry("c"))
        assert await keys_of(store) == ["a", "c"]


async def test_pending_uses_are_limited(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await store.put(*(entry(str(n)) for n in range(MARKS)))
        await store.get_many(EVERYBODY, map(str, range(MARKS)))
        assert await store._run(lambda table: len(table._marks)) == 0


async def test_a_step_of_a_scan_reads_a_limited_number_of_bytes(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await store.put(*(entry(key, b"x" * (SCAN_BYTES // 2)) for key in "abcde"))
        page = await store._run(lambda table: table.page(Selection(), None, 0.0))
        assert [found.key for found in page.entries] == ["a", "b"]
        assert await keys_of(store) == list("abcde")


async def test_a_step_of_a_scan_examines_a_limited_number_of_entries(path: Path) -> None:
    rare = Selection(tags=frozenset({"rare"}))
    async with SQLiteStore(path) as store:
        await store.put(*(entry(f"{n:04}") for n in range(2 * BATCH)), entry("last", tags=("rare",)))
        page = await store._run(lambda table: table.page(rare, None, 0.0))
        assert page.entries == []
        assert page.last is not None
        assert await keys_of(store, rare) == ["last"]
        deleted, last = await store._run(lambda table: table.delete_page(rare, None, 0.0))
        assert (deleted, last) == (0, page.last)
        assert await store.delete_where(rare) == 1
        assert len(await keys_of(store)) == 2 * BATCH


async def test_a_step_of_a_scan_stays_within_the_tenant(path: Path) -> None:
    async with SQLiteStore(path) as store:
        others = (entry(str(n), scope=Scope("z")) for n in range(2 * BATCH))
        await store.put(entry("a", scope=Scope("a", "u")), *others)
        for selection in (Selection("a"), Selection("a", "u"), Selection.of(Scope("a", "u"))):
            page = await store._run(lambda table, chosen=selection: table.page(chosen, None, 0.0))
            assert ([found.key for found in page.entries], page.last) == (["a"], None)


@pytest.mark.parametrize("batch", [1, 3, 4, 1000])
async def test_a_scan_in_small_steps_misses_nothing(
    path: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "BATCH", batch)
    entries = [entry(key, scope=scope) for scope in NEIGHBOURS for key in ("a", "a\0", "ä", "🎉")]
    parts = [(None, "a", "a:b", "default"), (None, "", "b", ":b"), (None, "", "b", "c")]
    async with SQLiteStore(path) as store:
        await store.put(*entries)
        for selection in (Selection(*chosen) for chosen in itertools.product(*parts)):
            found = [(one.scope, one.key) async for one in store.scan(selection)]
            assert sorted(found) == sorted(
                (one.scope, one.key) for one in entries if selection.matches(one.scope, 0.0)
            )


async def test_a_new_file_never_finds_the_logs_of_one_that_is_set_aside(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    foreign = sqlite3.connect(path)  # in use, so that its logs are there
    foreign.executescript("PRAGMA journal_mode = WAL; CREATE TABLE theirs (a)")
    assert path.with_name("store.db-wal").exists()
    rename, left = Path.rename, []

    def noting(self: Path, target: Path) -> Path:
        renamed = rename(self, target)
        if self == path:  # from now on another process may make a new one
            left.extend(sorted(found.name for found in path.parent.glob("store.db-*")))
        return renamed

    monkeypatch.setattr(Path, "rename", noting)
    async with SQLiteStore(path) as store:
        assert await keys_of(store) == []
    foreign.close()
    assert left == []
    with sqlite3.connect(path.with_name("store.db.aside-1")) as connection:
        assert connection.execute("SELECT * FROM theirs").fetchall() == []
    connection.close()


FOREIGN = {
    "text": b"this is no database, and never was one\n" * 100,
    "empty": b"",
    "torn": b"SQLite format 3\0" + b"\xff" * 4096,
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
async def test_a_file_that_is_not_a_store_is_set_aside(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    async with SQLiteStore(path) as store:
        await store.put(entry("a"))
        assert await keys_of(store) == ["a"]
    aside = path.with_name("store.db.aside-1")
    assert aside.read_bytes() == content
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert str(aside) in caplog.text


@pytest.mark.parametrize(
    ("pragma", "reason"), [("application_id", "another application"), ("user_version", "format 99")]
)
async def test_databases_of_other_applications_and_formats_are_set_aside(
    path: Path, pragma: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with SQLiteStore(path) as store:
        await store.put(entry("a"))
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA {pragma} = 99")
    connection.close()
    async with SQLiteStore(path) as store:
        assert await keys_of(store) == []
    assert reason in caplog.text
    with sqlite3.connect(path.with_name("store.db.aside-1")) as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (1,)
    connection.close()


async def test_each_file_that_is_set_aside_is_kept(path: Path) -> None:
    path.parent.mkdir()
    for content in (b"first", b"second"):
        path.write_bytes(content)
        async with SQLiteStore(path) as store:
            await store.put(entry("a"))
    assert path.with_name("store.db.aside-1").read_bytes() == b"first"
    assert path.with_name("store.db.aside-2").read_bytes() == b"second"


async def test_damage_that_is_detected_later_fails_one_call(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with SQLiteStore(path) as store:
        await store.put(*(entry(str(n), b"x" * 3000) for n in range(200)))
    damaged = bytearray(path.read_bytes())
    half = len(damaged) // 2
    damaged[half:] = b"\xff" * (len(damaged) - half)
    path.write_bytes(damaged)
    async with SQLiteStore(path) as store:
        assert caplog.text == ""  # the part that is checked on opening is intact
        with pytest.raises(Unavailable, match=r"store\.db"):
            await keys_of(store)
        await store.put(entry("a"))
        assert await keys_of(store) == ["a"]
    assert path.with_name("store.db.aside-1").exists()
    assert "aside" in caplog.text


async def test_an_entry_that_cannot_be_read_is_unavailable_until_it_is_put_again(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await store.put(entry("a"), entry("b"))
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE entries SET about = x'ff' WHERE key = x'61'")
        connection.close()
        for call in (store.get(EVERYBODY, "a"), keys_of(store)):
            with pytest.raises(Unavailable, match="cannot be read"):
                await call
        assert await store.get(EVERYBODY, "b") == entry("b")
        await store.put(entry("a"))
        assert await keys_of(store) == ["a", "b"]


async def test_an_unusable_folder_is_unavailable_until_it_is_usable(path: Path) -> None:
    path.parent.write_text("a file where a folder should be")
    store = SQLiteStore(path)
    with pytest.raises(Unavailable):
        await store.open()
    path.parent.unlink()
    await store.put(entry("a"))
    assert await keys_of(store) == ["a"]
    await store.close()


async def test_a_locked_file_is_unavailable_within_the_deadline(path: Path) -> None:
    async with SQLiteStore(path, deadline=0.5) as store:
        await store.put(entry("a"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable):
            await store.put(entry("b"))
        assert await store.get(EVERYBODY, "a") == entry("a")  # readers do not wait for writers
        other.execute("ROLLBACK")
        other.close()
        await store.put(entry("b"))
        assert await keys_of(store) == ["a", "b"]


async def test_a_caller_does_not_wait_beyond_the_deadline_and_the_loop_stays_free(path: Path) -> None:
    release = threading.Event()
    store = SQLiteStore(path, deadline=0.05)
    for call in (store._run(lambda table: release.wait()), store.get(EVERYBODY, "a")):
        with pytest.raises(DeadlineExceeded, match=r"0\.05 s"):
            await call
    release.set()
    await store.close()


async def test_a_cancelled_call_does_no_harm(path: Path) -> None:
    async with SQLiteStore(path) as store:
        tasks = [asyncio.create_task(store.put(entry(str(n)))) for n in range(50)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert set(await keys_of(store)) >= {str(n) for n in range(1, 50, 2)}


WRITER = """
import asyncio, sys
from vectorcache_llm.kv import Entry, SQLiteStore
from vectorcache_llm.scope import EVERYBODY

async def main(path, name):
    async with SQLiteStore(path) as store:
        for number in range(int(sys.argv[3])):
            await store.put(Entry(EVERYBODY, f"{name} {number}", bytes([number % 256]) * (number * 37 % 9000), 1.0))
            print(number, flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)


async def test_a_killed_process_loses_no_acknowledged_write(path: Path) -> None:
    process = writer(path, "w", 10**9)
    assert process.stdout is not None
    acknowledged = -1
    while acknowledged < 300:
        acknowledged = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().splitlines()
    process.wait()
    process.stdout.close()
    whole = [line for line in rest if line.isdigit()]
    acknowledged = max(acknowledged, *(int(line) for line in whole[:-1]), -1)  # the last line may be torn
    async with SQLiteStore(path) as store:
        keys = [f"w {number}" for number in range(acknowledged + 1)]
        found = await store.get_many(EVERYBODY, keys)
        assert sorted(found) == sorted(keys)
        assert all(
            found[f"w {n}"].value == bytes([n % 256]) * (n * 37 % 9000) for n in range(acknowledged + 1)
        )
        stats = await store.stats()
        assert stats.entries == len(await keys_of(store))
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_processes_share_a_file_from_its_creation_on(path: Path) -> None:
    processes = [writer(path, str(number), 60) for number in range(3)]
    for process in processes:
        out, _ = await asyncio.to_thread(process.communicate)
        assert process.returncode == 0
        assert len(out.splitlines()) == 60
    async with SQLiteStore(path) as store:
        stats = await store.stats()
        assert stats.entries == 180
        assert len(await keys_of(store)) == 180
    assert sorted(found.name for found in path.parent.iterdir()) == ["store.db"]


async def test_stores_of_one_file_see_each_other(path: Path) -> None:
    async with SQLiteStore(path) as one, SQLiteStore(path) as other:
        await one.put(entry("a"))
        assert await other.get(EVERYBODY, "a") == entry("a")
        assert await other.put_new(entry("a", b"2")) is False
        assert await other.delete(EVERYBODY, "a") == 1
        assert await one.get(EVERYBODY, "a") is None


def test_the_application_id_is_readable_in_the_header() -> None:
    assert APPLICATION_ID.to_bytes(4, "big") == b"VCKV"
