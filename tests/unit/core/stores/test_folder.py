from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from zlib import crc32

import pytest
from tests.support.core.blob_store_contract import BlobStoreContract
from tests.support.core.increment import KEY, increment

from vectorcache.errors import Conflict, DeadlineExceeded, InvalidInput, Unavailable
from vectorcache.stores import BlobStore, FolderBlobStore, RetryingBlobStore
from vectorcache.stores.folder import LOCKS

ROOT = Path(__file__).parents[4]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FolderBlobStore]:
    async with FolderBlobStore(tmp_path / "blobs") as store:
        yield store


class TestFolderBlobStore(BlobStoreContract):
    @pytest.fixture
    def store(self, store: FolderBlobStore) -> BlobStore:
        return store


class TestFolderBlobStoreRetried(BlobStoreContract):
    @pytest.fixture
    def store(self, store: FolderBlobStore) -> BlobStore:
        return RetryingBlobStore(store)


async def test_blobs_survive_a_restart(tmp_path: Path) -> None:
    async with FolderBlobStore(tmp_path) as store:
        etag = await store.put("a/b", b"kept")
    async with FolderBlobStore(tmp_path) as store:
        blob = await store.get("a/b")
    assert (blob.data, blob.etag) == (b"kept", etag)


async def test_temporary_files_and_locks_are_no_blobs(store: FolderBlobStore, tmp_path: Path) -> None:
    await store.put("a/b", b"whole")
    (tmp_path / "blobs/a/.0123456789abcdef.tmp").write_bytes(b"tor")
    (tmp_path / "blobs/torn").mkdir()
    (tmp_path / "blobs/torn/.0123456789abcdef.tmp").write_bytes(b"tor")
    assert os.listdir(tmp_path / "blobs/.locks")
    assert [info.key async for info in store.list()] == ["a/b"]
    assert await store.list_folders() == ["a"]


async def test_a_failed_write_leaves_the_old_content(
    store: FolderBlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = await store.put("a", b"old")

    def broken(path: Path, target: Path) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", broken)
        with pytest.raises(Unavailable, match="Input/output error"):
            await store.put("a", b"new")
    assert (await store.get("a")).etag == etag
    assert sorted(os.listdir(tmp_path / "blobs")) == [".locks", "a"]


async def test_content_is_on_the_medium_before_it_is_visible(
    store: FolderBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("fsync"), fsync(fd)))
    monkeypatch.setattr(Path, "replace", lambda path, target: (steps.append("rename"), replace(path, target)))
    await store.put("a", b"x")
    assert steps == ["fsync", "rename"]


async def test_etags_never_come_again_though_the_clock_stands_still(tmp_path: Path) -> None:
    async with FolderBlobStore(tmp_path, clock_ns=lambda: 1_700_000_000_000_000_000) as store:
        etags = [await store.put("a", b"%d" % (i % 2)) for i in range(10)]
    assert len(set(etags)) == 10


async def test_etags_never_come_again_though_the_clock_goes_back(tmp_path: Path) -> None:
    times = iter(range(2_000_000_000, 1_000_000_000, -100_000_000))
    async with FolderBlobStore(tmp_path, clock_ns=lambda: next(times)) as store:
        etags = [await store.put("a", b"%d" % (i % 2)) for i in range(10)]
    assert len(set(etags)) == 10


async def test_no_key_is_a_folder_of_another(store: FolderBlobStore) -> None:
    await store.put("a/b", b"")
    for key in ("a", "a/b/c", "a/b/c/d"):
        with pytest.raises(InvalidInput, match=r"^key: "):
            await store.put(key, b"")
    assert [info.key async for info in store.list()] == ["a/b"]


async def test_waits_for_a_lock_within_bounds(tmp_path: Path) -> None:
    async with FolderBlobStore(tmp_path, lock_seconds=0.01) as store:
        etag = await store.put("a", b"old")
        with (tmp_path / ".locks" / str(crc32(b"a") % LOCKS)).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(DeadlineExceeded, match="locked by another writer"):
                await store.put("a", b"new")
            with pytest.raises(DeadlineExceeded):
                await store.delete("a")
            assert (await store.get("a")).data == b"old"
        await store.put("a", b"new", if_match=etag)
        assert (await store.get("a")).data == b"new"


async def test_readers_see_whole_blobs_while_they_are_replaced(store: FolderBlobStore) -> None:
    contents = [bytes([i]) * 100_000 for i in range(20)]
    etags = {await store.put("a", contents[0]): contents[0]}

    async def write() -> None:
        for content in contents:
            etags[await store.put("a", content)] = content

    async def read() -> list[tuple[str, bytes]]:
        return [(blob.etag, blob.data) for blob in [await store.get("a") for _ in range(40)]]

    _, seen = await asyncio.gather(write(), read())
    assert all(etags[etag] == data for etag, data in seen)


async def test_concurrent_increments_lose_nothing(store: FolderBlobStore) -> None:
    await store.put(KEY, b"0")
    await asyncio.gather(*(increment(store) for _ in range(20)))
    assert (await store.get(KEY)).data == b"20"


async def test_increments_of_several_processes_lose_nothing(store: FolderBlobStore, tmp_path: Path) -> None:
    await store.put(KEY, b"0")
    program = [sys.executable, "-m", "tests.support.core.increment", str(tmp_path / "blobs"), "25"]
    processes = [await asyncio.create_subprocess_exec(*program, cwd=ROOT) for _ in range(4)]
    async with asyncio.timeout(60):
        assert [await process.wait() for process in processes] == [0, 0, 0, 0]
    assert (await store.get(KEY)).data == b"100"


async def test_one_of_several_stores_creates(tmp_path: Path) -> None:
    stores = [FolderBlobStore(tmp_path) for _ in range(4)]
    puts = [store.put("a", bytes([i]), if_absent=True) for i, store in enumerate(stores)]
    results = await asyncio.gather(*puts, return_exceptions=True)
    assert sum(isinstance(result, Conflict) for result in results) == 3
    for store in stores:
        await store.close()
