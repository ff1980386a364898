from __future__ import annotations

import itertools

import pytest
from tests.support.core.blob_store_contract import BlobStoreContract
from tests.support.core.file_store_contract import FileStoreContract

from vectorcache.stores import BlobStore, FileStore, MemoryBlobStore, MemoryFileStore, RetryingBlobStore


class TestMemoryFileStore(FileStoreContract):
    @pytest.fixture
    def store(self) -> FileStore:
        return MemoryFileStore()


class TestMemoryBlobStore(BlobStoreContract):
    @pytest.fixture
    def store(self) -> BlobStore:
        return MemoryBlobStore()


class TestMemoryBlobStoreRetried(BlobStoreContract):
    @pytest.fixture
    def store(self) -> BlobStore:
        return RetryingBlobStore(MemoryBlobStore())


async def test_times_of_use_are_the_clocks() -> None:
    ticks = itertools.count(100.0)
    store = MemoryFileStore(clock=lambda: next(ticks))
    await store.write("a", b"")
    await store.write("b", b"")
    await store.read("a")
    await store.read("missing")
    assert {file.name: file.used_at for file in await store.list()} == {"a": 102.0, "b": 101.0}


async def test_a_listing_is_not_disturbed_by_writes() -> None:
    store = MemoryBlobStore()
    await store.put("a", b"")
    await store.put("b", b"")
    seen = []
    async for info in store.list():
        seen.append(info.key)
        await store.delete("b")
        await store.put("c", b"")
    assert seen == ["a", "b"]
