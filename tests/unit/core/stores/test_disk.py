from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.core.file_store_contract import FileStoreContract

from vectorcache.errors import Unavailable
from vectorcache.stores import DiskFileStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DiskFileStore]:
    async with DiskFileStore(tmp_path / "cache") as store:
        yield store


class TestDiskFileStore(FileStoreContract):
    @pytest.fixture
    def store(self, store: DiskFileStore) -> DiskFileStore:
        return store


async def test_a_read_sets_the_time_of_use(store: DiskFileStore, tmp_path: Path) -> None:
    await store.write("a", b"x")
    os.utime(tmp_path / "cache/a", (1000, 1000))
    assert (await store.list())[0].used_at == 1000
    await store.read("a")
    assert (await store.list())[0].used_at > 1000


async def test_files_and_their_use_survive_a_restart(tmp_path: Path) -> None:
    async with DiskFileStore(tmp_path) as store:
        await store.write("a/b", b"kept")
    os.utime(tmp_path / "a/b", (2000, 2000))
    async with DiskFileStore(tmp_path) as store:
        assert [(file.name, file.used_at) for file in await store.list()] == [("a/b", 2000)]
        assert await store.read("a/b") == b"kept"


async def test_leftovers_of_a_crash_are_removed(store: DiskFileStore, tmp_path: Path) -> None:
    await store.write("a/b", b"whole")
    torn = tmp_path / "cache/a/.0123456789abcdef.tmp"
    torn.write_bytes(b"tor")
    assert [file.name for file in await store.list()] == ["a/b"]
    assert not torn.exists()
    assert await store.read("a/b") == b"whole"


async def test_what_is_not_ours_is_left_alone(store: DiskFileStore, tmp_path: Path) -> None:
    await store.write("a", b"")
    foreign = [tmp_path / "cache" / name for name in ("lost+found/x", ".git/config", "with space", ".hidden")]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    assert [file.name for file in await store.list()] == ["a"]
    assert all(path.exists() for path in foreign)


async def test_a_failed_write_leaves_the_old_content(
    store: DiskFileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.write("a", b"old")

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("vectorcache.stores.filesystem.os.write", full)
        with pytest.raises(Unavailable, match="No space left") as caught:
            await store.write("a", b"new")
    assert isinstance(caught.value.__cause__, OSError)
    assert await store.read("a") == b"old"
    assert os.listdir(tmp_path / "cache") == ["a"]


async def test_a_write_that_takes_less_than_asked_is_continued(
    store: DiskFileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr("vectorcache.stores.filesystem.os.write", lambda fd, data: write(fd, data[:3]))
        await store.write("a", b"0123456789")
    assert await store.read("a") == b"0123456789"


async def test_a_listing_spares_writes_in_flight(
    store: DiskFileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, go_on = threading.Event(), threading.Event()
    replace = Path.replace

    def slow_replace(path: Path, target: Path) -> Path:
        written.set()
        assert go_on.wait(10)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", slow_replace)
    writing = asyncio.create_task(store.write("a", b"content"))
    assert await asyncio.to_thread(written.wait, 10)
    assert await store.list() == []
    go_on.set()
    await writing
    assert await store.read("a") == b"content"


async def test_a_cancelled_write_is_all_or_nothing(store: DiskFileStore, tmp_path: Path) -> None:
    await store.write("a", b"old")
    writing = asyncio.create_task(store.write("a", b"new"))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await store.close()
    assert (tmp_path / "cache/a").read_bytes() in (b"old", b"new")
    assert os.listdir(tmp_path / "cache") == ["a"]


async def test_errors_of_the_medium_are_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    async with DiskFileStore(tmp_path / "file") as store:
        with pytest.raises(Unavailable) as caught:
            await store.write("a", b"")
        assert isinstance(caught.value.__cause__, OSError)
