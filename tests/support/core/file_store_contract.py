"""What every FileStore does."""

from __future__ import annotations

import asyncio

import pytest

from vectorcache.errors import InvalidInput
from vectorcache.stores import FileStore

BAD_NAMES = [
    "",
    "/",
    "a/",
    "/a",
    "a//b",
    ".",
    "..",
    "a/../b",
    ".hidden",
    "a/.b",
    "a b",
    "ä",
    "a\n",
    "a\0",
    "a\\b",
]


class FileStoreContract:
    """Subclass it, and give it a ``store``."""

    @pytest.fixture
    def store(self) -> FileStore:
        raise NotImplementedError

    async def test_a_missing_file_reads_as_none(self, store: FileStore) -> None:
        assert await store.read("nothing") is None
        assert await store.read("no/folder/either") is None

    @pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 8192], ids=["empty", "small", "2 MiB"])
    async def test_reads_what_was_written(self, store: FileStore, data: bytes) -> None:
        await store.write("collection/v7/000042.arrow", data)
        assert await store.read("collection/v7/000042.arrow") == data

    @pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 8192], ids=["empty", "small", "2 MiB"])
    async def test_maps_what_was_written(self, store: FileStore, data: bytes) -> None:
        assert await store.map("collection/v7/000042.arrow") is None
        await store.write("collection/v7/000042.arrow", data)
        view = await store.map("collection/v7/000042.arrow")
        assert view is not None
        assert (view.readonly, bytes(view)) == (True, data)

    async def test_what_was_mapped_stays_as_it_is(self, store: FileStore) -> None:
        await store.write("a", b"first")
        first = await store.map("a")
        await store.write("a", b"second")
        second = await store.map("a")
        await store.delete("a")
        assert first is not None
        assert second is not None
        assert (bytes(first), bytes(second), await store.map("a")) == (b"first", b"second", None)

    async def test_a_write_replaces(self, store: FileStore) -> None:
        await store.write("a", b"a long first content")
        await store.write("a", b"second")
        assert await store.read("a") == b"second"
        assert [(file.name, file.size) for file in await store.list()] == [("a", 6)]

    async def test_names_are_independent(self, store: FileStore) -> None:
        names = ["a", "b/a", "b/c/a", "A", "-", "_x.y-z.0"]
        for name in names:
            await store.write(name, name.encode())
        assert [await store.read(name) for name in names] == [name.encode() for name in names]

    async def test_a_folder_is_not_a_file(self, store: FileStore) -> None:
        await store.write("a/b", b"x")
        assert await store.read("a") is None
        assert not await store.delete("a")
        assert await store.read("a/b/c") is None
        assert not await store.delete("a/b/c")

    async def test_delete_says_whether_there_was_one(self, store: FileStore) -> None:
        await store.write("a/b", b"x")
        assert await store.delete("a/b")
        assert not await store.delete("a/b")
        assert await store.read("a/b") is None
        assert await store.list() == []

    async def test_lists_names_and_sizes(self, store: FileStore) -> None:
        assert await store.list() == []
        await store.write("a", b"1")
        await store.write("b/c/d", b"333")
        assert {file.name: file.size for file in await store.list()} == {"a": 1, "b/c/d": 3}

    async def test_a_read_is_a_use(self, store: FileStore) -> None:
        await store.write("first", b"")
        await store.write("second", b"")
        await store.read("first")
        used_at = {file.name: file.used_at for file in await store.list()}
        assert used_at["first"] >= used_at["second"]

    @pytest.mark.parametrize("name", BAD_NAMES)
    async def test_refuses_what_is_no_name(self, store: FileStore, name: str) -> None:
        for call in (store.read(name), store.write(name, b""), store.delete(name)):
            with pytest.raises(InvalidInput, match=r"^name: "):
                await call
        assert await store.list() == []

    async def test_concurrent_writes_leave_one_of_them_whole(self, store: FileStore) -> None:
        contents = [bytes([i]) * 100_000 for i in range(16)]
        writes = [store.write("a", content) for content in contents]
        reads = [store.read("a") for _ in contents]
        _, seen = await asyncio.gather(asyncio.gather(*writes), asyncio.gather(*reads))
        assert await store.read("a") in contents
        assert {*seen} <= {None, *contents}
        assert [file.name for file in await store.list()] == ["a"]

    async def test_closes_twice(self, store: FileStore) -> None:
        await store.close()
        await store.close()
