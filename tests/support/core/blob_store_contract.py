"""What every BlobStore does."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.core.file_store_contract import BAD_NAMES

from vectorcache.errors import Conflict, InvalidInput, NotFound
from vectorcache.stores import BlobStore

# In the order of their bytes, which is not the order in which a walk through folders meets them.
KEYS = ["a", "b-c", "b.c", "b/c", "b/c2", "b/d/e", "b0", "bb"]
BAD_PREFIXES = [bad for bad in BAD_NAMES if bad not in ("", "a/")]


class BlobStoreContract:
    """Subclass it, and give it a ``store``."""

    @pytest.fixture
    def store(self) -> BlobStore:
        raise NotImplementedError

    async def test_a_missing_blob_is_not_found(self, store: BlobStore) -> None:
        with pytest.raises(NotFound, match="blob 'a/b' does not exist"):
            await store.get("a/b")
        assert await store.head("a/b") is None
        assert not await store.delete("a/b")

    @pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 8192], ids=["empty", "small", "2 MiB"])
    async def test_gets_what_was_put(self, store: BlobStore, data: bytes) -> None:
        await store.put("glove/v7/chunks/000042.arrow", data)
        assert (await store.get("glove/v7/chunks/000042.arrow")).data == data

    async def test_all_calls_tell_the_same_etag(self, store: BlobStore) -> None:
        etag = await store.put("a/b", b"content")
        head = await store.head("a/b")
        assert etag
        assert (await store.get("a/b")).etag == etag
        assert (await store.get("a/b", offset=2, length=2)).etag == etag
        assert head is not None
        assert (head.key, head.size, head.etag) == ("a/b", 7, etag)
        assert [info async for info in store.list()] == [head]

    async def test_each_write_has_its_own_etag(self, store: BlobStore) -> None:
        etags = [await store.put("a", content) for content in (b"1", b"2", b"1", b"1")]
        assert len(set(etags)) == 4

    async def test_a_recreated_blob_has_its_own_etag(self, store: BlobStore) -> None:
        etag = await store.put("a", b"1")
        await store.delete("a")
        assert await store.put("a", b"1") != etag

    @pytest.mark.parametrize(
        ("offset", "length", "expected"),
        [
            (0, None, b"0123456789"),
            (0, 1, b"0"),
            (3, 4, b"3456"),
            (3, None, b"3456789"),
            (9, 1, b"9"),
            (8, 100, b"89"),
            (0, 10, b"0123456789"),
        ],
    )
    async def test_reads_ranges(
        self, store: BlobStore, offset: int, length: int | None, expected: bytes
    ) -> None:
        await store.put("a", b"0123456789")
        assert (await store.get("a", offset=offset, length=length)).data == expected

    @pytest.mark.parametrize(
        ("offset", "length", "field"),
        [(-1, None, "offset"), (10, None, "offset"), (99, 1, "offset"), (0, 0, "length")],
    )
    async def test_refuses_ranges_that_are_none(
        self, store: BlobStore, offset: int, length: int | None, field: str
    ) -> None:
        await store.put("a", b"0123456789")
        with pytest.raises(InvalidInput) as caught:
            await store.get("a", offset=offset, length=length)
        assert caught.value.field == field

    async def test_reads_the_beginning_of_an_empty_blob(self, store: BlobStore) -> None:
        etag = await store.put("a", b"")
        blob = await store.get("a", offset=0, length=10)
        assert (blob.data, blob.etag) == (b"", etag)

    async def test_if_match_replaces_what_was_seen(self, store: BlobStore) -> None:
        first = await store.put("a", b"1")
        second = await store.put("a", b"2", if_match=first)
        assert second != first
        assert (await store.get("a")).data == b"2"

    async def test_if_match_refuses_what_was_not_seen(self, store: BlobStore) -> None:
        stale = await store.put("a", b"1")
        etag = await store.put("a", b"2")
        with pytest.raises(Conflict):
            await store.put("a", b"3", if_match=stale)
        blob = await store.get("a")
        assert (blob.data, blob.etag) == (b"2", etag)

    async def test_if_match_refuses_a_missing_blob(self, store: BlobStore) -> None:
        etag = await store.put("a", b"1")
        await store.delete("a")
        with pytest.raises(Conflict):
            await store.put("a", b"2", if_match=etag)
        assert await store.head("a") is None

    async def test_if_absent_creates_once(self, store: BlobStore) -> None:
        etag = await store.put("a", b"1", if_absent=True)
        with pytest.raises(Conflict):
            await store.put("a", b"2", if_absent=True)
        blob = await store.get("a")
        assert (blob.data, blob.etag) == (b"1", etag)
        await store.delete("a")
        await store.put("a", b"3", if_absent=True)

    async def test_takes_one_condition_at_most(self, store: BlobStore) -> None:
        with pytest.raises(InvalidInput, match="if_match"):
            await store.put("a", b"", if_match='"x"', if_absent=True)

    async def test_one_of_many_concurrent_creators_wins(self, store: BlobStore) -> None:
        puts = [store.put("a", bytes([i]), if_absent=True) for i in range(8)]
        await self._one_wins(store, await asyncio.gather(*puts, return_exceptions=True))

    async def test_one_of_many_concurrent_replacers_wins(self, store: BlobStore) -> None:
        etag = await store.put("a", b"before")
        puts = [store.put("a", bytes([i]), if_match=etag) for i in range(8)]
        await self._one_wins(store, await asyncio.gather(*puts, return_exceptions=True))

    async def _one_wins(self, store: BlobStore, results: list[str | BaseException]) -> None:
        winners = [i for i, result in enumerate(results) if isinstance(result, str)]
        assert len(winners) == 1
        assert all(isinstance(result, Conflict) for i, result in enumerate(results) if i not in winners)
        blob = await store.get("a")
        assert (blob.data, blob.etag) == (bytes(winners), results[winners[0]])

    async def test_delete_says_whether_there_was_one(self, store: BlobStore) -> None:
        await store.put("a/b", b"x")
        assert await store.delete("a/b")
        assert not await store.delete("a/b")
        assert await store.head("a/b") is None
        assert [info async for info in store.list()] == []

    @pytest.mark.parametrize(
        "prefix", ["", "a", "b", "b/", "b/c", "b/d/", "b.", "z", "z/", "b/d/e", "b/d/e/"]
    )
    async def test_lists_by_prefix_in_order(self, store: BlobStore, prefix: str) -> None:
        for key in reversed(KEYS):
            await store.put(key, key.encode())
        listed = [info async for info in store.list(prefix)]
        assert [info.key for info in listed] == [key for key in KEYS if key.startswith(prefix)]
        assert [info.size for info in listed] == [len(info.key) for info in listed]

    async def test_lists_folders(self, store: BlobStore) -> None:
        for key in KEYS:
            await store.put(key, b"")
        assert await store.list_folders() == ["b"]
        assert await store.list_folders("b/") == ["d"]
        assert await store.list_folders("b/d/") == []
        assert await store.list_folders("z/") == []

    async def test_a_folder_without_blobs_is_none(self, store: BlobStore) -> None:
        for key in ("a/b/c", "a/d", "e/f"):
            await store.put(key, b"")
        await store.delete("a/b/c")
        await store.delete("e/f")
        assert await store.list_folders() == ["a"]
        assert await store.list_folders("a/") == []

    async def test_a_folder_is_not_a_blob(self, store: BlobStore) -> None:
        await store.put("a/b", b"x")
        for key in ("a", "a/b/c"):
            assert await store.head(key) is None
            assert not await store.delete(key)
            with pytest.raises(NotFound):
                await store.get(key)

    @pytest.mark.parametrize("key", BAD_NAMES)
    async def test_refuses_what_is_no_key(self, store: BlobStore, key: str) -> None:
        for call in (store.get(key), store.put(key, b""), store.delete(key), store.head(key)):
            with pytest.raises(InvalidInput, match=r"^key: "):
                await call

    @pytest.mark.parametrize("prefix", BAD_PREFIXES)
    async def test_refuses_what_is_no_prefix(self, store: BlobStore, prefix: str) -> None:
        with pytest.raises(InvalidInput, match=r"^prefix: "):
            _ = [info async for info in store.list(prefix)]
        with pytest.raises(InvalidInput, match=r"^prefix: "):
            await store.list_folders(prefix)

    async def test_folders_are_listed_below_a_folder_only(self, store: BlobStore) -> None:
        with pytest.raises(InvalidInput, match=r"^prefix: "):
            await store.list_folders("a")

    async def test_closes_twice(self, store: BlobStore) -> None:
        await store.close()
        await store.close()
