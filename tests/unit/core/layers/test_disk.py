from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.core.control import ControlledFiles, Mapped, MappingCodec
from tests.support.core.layer_contract import LayerContract, opened

from vectorcache.errors import CorruptData, Unavailable
from vectorcache.layers import BytesCodec, Codec, DiskLayer
from vectorcache.layers.disk import MAX_WRITES
from vectorcache.layers.diskfile import file_name, file_weight, pack
from vectorcache.lru import LRU
from vectorcache.stores import DiskFileStore, FileStore, MemoryFileStore


class Clock:
    """Each look is a second later."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def disk(files: FileStore, items: int = 100) -> DiskLayer[bytes]:
    return DiskLayer(files, LRU[str, int](max_items=items, weigh=int), BytesCodec())


async def reopened(files: FileStore, items: int = 100) -> DiskLayer[bytes]:
    """What a restarted process finds."""
    layer = disk(files, items)
    await layer.open()
    return layer


async def assert_consistent(layer: DiskLayer[bytes], files: FileStore) -> None:
    """The index names exactly the files that there are, with their sizes."""
    stored = {info.name: info.size for info in await files.list()}
    index = layer._index
    assert {name: index.peek(name) for name in list(index.keys())} == stored


@pytest.fixture
def files() -> ControlledFiles:
    return ControlledFiles(MemoryFileStore(Clock()))


@pytest.fixture
async def layer(files: ControlledFiles) -> AsyncIterator[DiskLayer[bytes]]:
    """Room for two files; at the end the index agrees with the files."""
    layer = disk(files, items=2)
    async with opened(layer):
        yield layer
    await assert_consistent(layer, files.inner)


class TestDiskLayerOverMemory(LayerContract):
    @pytest.fixture
    async def layer(self) -> AsyncIterator[DiskLayer[bytes]]:
        files, lru = MemoryFileStore(Clock()), LRU[str, int](max_bytes=10 << 20, weigh=file_weight)
        layer = DiskLayer(files, lru, BytesCodec())
        async with opened(layer):
            yield layer
        await assert_consistent(layer, files)


class TestDiskLayerOverADisk(LayerContract):
    @pytest.fixture
    async def layer(self, tmp_path: Path) -> AsyncIterator[DiskLayer[bytes]]:
        lru = LRU[str, int](max_bytes=10 << 20, weigh=file_weight)
        async with DiskFileStore(tmp_path) as files:
            layer = DiskLayer(files, lru, BytesCodec())
            async with opened(layer):
                yield layer
            await assert_consistent(layer, files)


class TestCapacity:
    async def test_eviction_deletes_the_file(self, layer: DiskLayer[bytes], files: ControlledFiles) -> None:
        for key in "abc":
            await layer.put(key, b"1")
        assert await files.read(file_name("a")) is None
        assert await layer.get("a") is None
        assert await layer.get("b") == await layer.get("c") == b"1"
        assert layer.stats().evictions == 1

    async def test_a_read_is_a_use(self, layer: DiskLayer[bytes]) -> None:
        await layer.put("a", b"1")
        await layer.put("b", b"1")
        await layer.get("a")
        await layer.put("c", b"1")
        assert [await layer.contains(key) for key in "abc"] == [True, False, True]

    async def test_a_value_beyond_the_capacity_is_not_written_and_hides_no_older_one(
        self, files: ControlledFiles
    ) -> None:
        layer = DiskLayer(files, LRU[str, int](max_bytes=1000, weigh=int), BytesCodec())
        async with opened(layer):
            await layer.put("a", b"old")
            await layer.put("b", b"1")
            await layer.put("a", bytes(1000))
            assert await layer.get("a") is None
            assert await layer.get("b") == b"1"
        assert files.control.calls["write"] == 2
        await assert_consistent(layer, files.inner)

    async def test_bytes_are_those_of_the_files(self, files: ControlledFiles) -> None:
        layer = DiskLayer(files, LRU[str, int](max_bytes=100_000, weigh=file_weight), BytesCodec())
        async with opened(layer):
            await layer.put("a", bytes(4096))
            assert layer.stats().bytes == 8192
            assert layer.stats().capacity_bytes == 100_000


class TestRestart:
    @pytest.fixture(params=["memory", "disk"])
    async def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FileStore]:
        store = MemoryFileStore(Clock()) if request.param == "memory" else DiskFileStore(tmp_path)
        async with store:
            yield store

    async def test_survivors_are_known(self, store: FileStore) -> None:
        async with opened(before := await reopened(store)):
            for key in ["a", "b/c"]:
                await before.put(key, key.encode())
        after = await reopened(store)
        assert after.stats().items == 2
        assert await after.get("a") == b"a"
        assert await after.get("b/c") == b"b/c"

    async def test_a_file_that_was_deleted_stays_deleted(self, store: FileStore) -> None:
        before = await reopened(store)
        await before.put("a", b"1")
        await before.delete("a")
        assert await (await reopened(store)).get("a") is None

    async def test_recency_survives(self) -> None:
        files = MemoryFileStore(Clock())
        before = await reopened(files)
        for key in "abc":
            await before.put(key, b"1")
        await before.get("a")
        after = await reopened(files, items=3)
        await after.put("d", b"1")
        assert [await after.contains(key) for key in "abcd"] == [True, False, True, True]

    async def test_what_is_beyond_a_smaller_capacity_is_deleted_oldest_first(self) -> None:
        files = MemoryFileStore(Clock())
        before = await reopened(files)
        for key in "abcde":
            await before.put(key, b"1")
        after = await reopened(files, items=2)
        assert [await after.contains(key) for key in "abcde"] == [False, False, False, True, True]
        assert after.stats().evictions == 3
        await assert_consistent(after, files)

    async def test_names_that_are_not_ours_are_removed_and_counted(self, store: FileStore) -> None:
        for name in ["foreign.txt", "folder/" + "a" * 32]:
            await store.write(name, b"?")
        layer = await reopened(store)
        assert await store.list() == []
        assert (layer.stats().corrupt, layer.stats().items) == (2, 0)

    async def test_a_store_that_cannot_be_listed_makes_a_layer_that_does_nothing(
        self, files: ControlledFiles
    ) -> None:
        files.control.failures["list"] = Unavailable("no permission")
        layer = disk(files)
        with pytest.raises(Unavailable, match="no permission"):
            await layer.open()
        with pytest.raises(Unavailable, match="not open"):
            await layer.put("a", b"1")
        assert await layer.get("a") is None
        assert files.control.calls["write"] == 0


class Picky(Codec[bytes]):
    def encode(self, key: str, value: bytes) -> bytes:
        return value

    def decode(self, key: str, data: bytes) -> bytes:
        raise CorruptData(key)


class TestCorruption:
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"not ours at all",
            pack("a", b"value")[:-1],
            pack("a", b"value") + b"!",
            pack("a", b"value")[:-1] + b"E",
            pack("b", b"value"),
        ],
        ids=["empty", "foreign", "truncated", "longer", "flipped", "of another key"],
    )
    async def test_a_file_that_is_not_right_is_removed_counted_and_a_miss(
        self, layer: DiskLayer[bytes], files: ControlledFiles, content: bytes
    ) -> None:
        await layer.put("a", b"value")
        await files.inner.write(file_name("a"), content)
        assert await layer.get("a") is None
        assert await files.inner.list() == []
        stats = layer.stats()
        assert (stats.corrupt, stats.misses, stats.hits, stats.items) == (1, 1, 0, 0)
        await layer.put("a", b"again")
        assert await layer.get("a") == b"again"

    async def test_what_the_codec_cannot_read_is_removed_too(self, files: ControlledFiles) -> None:
        layer = DiskLayer(files, LRU[str, int](max_items=2), Picky())
        async with opened(layer):
            await layer.put("a", b"1")
            assert await layer.get("a") is None
        assert layer.stats().corrupt == 1
        assert await files.inner.list() == []

    async def test_a_corrupt_file_that_cannot_be_deleted_is_not_served_and_deleted_later(
        self, layer: DiskLayer[bytes], files: ControlledFiles
    ) -> None:
        await layer.put("a", b"value")
        await files.inner.write(file_name("a"), b"torn")
        files.control.failures["delete"] = Unavailable("read-only")
        assert await layer.get("a") is None
        assert await layer.get("a") is None
        assert (layer.stats().corrupt, layer.stats().errors) == (1, 1)
        files.control.failures.clear()
        await layer.put("b", b"1")
        assert [info.name for info in await files.inner.list()] == [file_name("b")]

    async def test_a_file_that_somebody_else_deleted_is_a_miss(
        self, layer: DiskLayer[bytes], files: ControlledFiles
    ) -> None:
        await layer.put("a", b"1")
        await files.inner.delete(file_name("a"))
        assert await layer.get("a") is None
        assert await layer.contains("a") is False


class TestFailures:
    @pytest.mark.parametrize("error", [Unavailable("down"), OSError(errno.ENOSPC, "disk full")])
    async def test_a_write_that_fails_leaves_no_older_value(
        self, layer: DiskLayer[bytes], files: ControlledFiles, error: Exception
    ) -> None:
        await layer.put("a", b"old")
        files.control.failures["write"] = error
        with pytest.raises(type(error)):
            await layer.put("a", b"new")
        assert await layer.get("a") is None
        assert await files.inner.list() == []
        files.control.failures.clear()
        await layer.put("a", b"new")
        assert await layer.get("a") == b"new"

    async def test_a_file_that_cannot_be_deleted_is_not_served_and_deleted_at_close(
        self, layer: DiskLayer[bytes], files: ControlledFiles
    ) -> None:
        await layer.put("a", b"1")
        files.control.failures["delete"] = Unavailable("read-only")
        with pytest.raises(Unavailable):
            await layer.delete("a")
        assert await layer.get("a") is None
        files.control.failures.clear()
        await layer.close()
        assert await files.inner.list() == []

    async def test_a_broken_disk_is_asked_for_one_deletion_per_put(
        self, layer: DiskLayer[bytes], files: ControlledFiles
    ) -> None:
        files.control.failures["delete"] = Unavailable("broken")
        for number in range(6):
            await layer.put(str(number), b"1")
        assert files.control.calls["delete"] == layer.stats().errors == 4
        files.control.failures.clear()
        await layer.put("last", b"1")
        await assert_consistent(layer, files.inner)

    async def test_a_read_that_fails_keeps_the_file(
        self, layer: DiskLayer[bytes], files: ControlledFiles
    ) -> None:
        await layer.put("a", b"1")
        files.control.failures["read"] = Unavailable("busy")
        with pytest.raises(Unavailable):
            await layer.get("a")
        files.control.failures.clear()
        assert await layer.get("a") == b"1"


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(20):
        await asyncio.sleep(0)


class TestRaces:
    async def test_a_key_evicted_while_it_is_put_again_keeps_its_new_file(
        self, layer: DiskLayer[bytes], files: ControlledFiles
    ) -> None:
        await layer.put("a", b"old")
        await layer.put("b", b"1")
        writes = files.control.hold("write", limit=1)
        again = asyncio.create_task(layer.put("a", b"new"))
        await writes.arrivals()
        evicting = asyncio.create_task(layer.put("c", b"1"))  # drives out a, the oldest
        await settle()
        assert layer.stats().evictions == 1
        writes.open()
        await asyncio.gather(again, evicting)
        assert await layer.get("a") == b"new"

    async def test_a_put_waits_for_the_deletion_of_its_evicted_file(
        self, layer: DiskLayer[bytes], files: ControlledFiles
    ) -> None:
        await layer.put("a", b"old")
        await layer.put("b", b"1")
        deletions = files.control.hold("delete")
        evicting = asyncio.create_task(layer.put("c", b"1"))
        await deletions.arrivals()
        again = asyncio.create_task(layer.put("a", b"new"))
        await settle()
        assert files.control.calls["write"] == 3  # a's new file is not written into the arms of the deletion
        deletions.open()
        await asyncio.gather(evicting, again)
        assert await layer.get("a") == b"new"

    async def test_a_key_evicted_while_it_is_read_is_found_or_missed(
        self, layer: DiskLayer[bytes], files: ControlledFiles
    ) -> None:
        await layer.put("a", b"1")
        reads = files.control.hold("read")
        reading = asyncio.create_task(layer.get("a"))
        await reads.arrivals()
        writing = asyncio.gather(layer.put("b", b"1"), layer.put("c", b"1"))
        await settle()
        reads.open()
        assert await reading in (b"1", None)
        await writing
        assert await layer.get("a") is None

    async def test_a_read_during_a_rewrite_waits_for_the_new_value(
        self, layer: DiskLayer[bytes], files: ControlledFiles
    ) -> None:
        await layer.put("a", b"old")
        writes = files.control.hold("write")
        writing = asyncio.create_task(layer.put("a", b"new"))
        await writes.arrivals()
        reading = asyncio.create_task(layer.get("a"))
        await settle()
        assert files.control.calls["read"] == 0
        writes.open()
        await writing
        assert await reading == b"new"

    async def test_a_deletion_during_a_write_follows_it(
        self, layer: DiskLayer[bytes], files: ControlledFiles
    ) -> None:
        writes = files.control.hold("write")
        writing = asyncio.create_task(layer.put("a", b"1"))
        await writes.arrivals()
        deleting = asyncio.create_task(layer.delete("a"))
        await settle()
        writes.open()
        await writing
        assert await deleting is True
        assert await layer.get("a") is None

    async def test_a_write_during_a_deletion_follows_it(
        self, layer: DiskLayer[bytes], files: ControlledFiles
    ) -> None:
        await layer.put("a", b"old")
        deletions = files.control.hold("delete")
        deleting = asyncio.create_task(layer.delete("a"))
        await deletions.arrivals()
        writing = asyncio.create_task(layer.put("a", b"new"))
        await settle()
        deletions.open()
        assert await deleting is True
        await writing
        assert await layer.get("a") == b"new"

    async def test_a_write_whose_caller_is_cancelled_is_finished(
        self, layer: DiskLayer[bytes], files: ControlledFiles
    ) -> None:
        writes = files.control.hold("write")
        writing = asyncio.create_task(layer.put("a", b"1"))
        await writes.arrivals()
        writing.cancel()
        await asyncio.wait([writing])
        writes.open()
        await layer.close()
        assert await layer.get("a") == b"1"

    async def test_files_being_written_at_once_are_bounded(
        self, layer: DiskLayer[bytes], files: ControlledFiles
    ) -> None:
        writes = files.control.hold("write")
        writing = asyncio.gather(*(layer.put(str(number), b"1") for number in range(3 * MAX_WRITES)))
        await writes.arrivals(MAX_WRITES)
        await settle()
        assert files.control.calls["write"] == MAX_WRITES
        writes.open()
        await writing


CALLS = st.tuples(st.sampled_from(["get", "put", "delete", "corrupt"]), st.sampled_from("abcd"))


@pytest.mark.parametrize("value", [b"plain", b"map me"])
@settings(max_examples=60)
@given(
    calls=st.lists(CALLS, min_size=1, max_size=40),
    failing=st.sets(st.sampled_from(["write", "delete", "map"])),
)
def test_whatever_runs_at_once_the_index_agrees_with_the_files(
    value: bytes, calls: list[tuple[str, str]], failing: set[str]
) -> None:
    async def scenario() -> None:
        files = ControlledFiles(MemoryFileStore(Clock()))
        layer = DiskLayer(files, LRU[str, int](max_items=2, weigh=int), MappingCodec())
        async with opened(layer):
            files.control.failures.update({call: Unavailable(call) for call in failing})
            running = [asyncio.create_task(run(layer, files, *call)) for call in calls]
            for task in running[::3]:
                await asyncio.sleep(0)
                task.cancel()
            await asyncio.wait(running)
            files.control.failures.clear()
        await assert_consistent(layer, files.inner)
        assert {name for name in layer._mapped if name not in layer._index} == set()

    async def run(layer: DiskLayer[bytes], files: ControlledFiles, call: str, key: str) -> None:
        try:
            if call == "put":
                await layer.put(key, value + key.encode())
            elif call == "delete":
                await layer.delete(key)
            elif call == "get":
                assert await layer.get(key) in (None, value + key.encode())
            elif await layer.contains(key):
                await files.inner.write(file_name(key), pack(key, b"?")[:-1] + b"!")
        except Unavailable:
            pass

    asyncio.run(scenario())


class TestMappedFiles:
    """Values that are best read where their file is mapped."""

    @pytest.fixture
    def gone(self) -> list[str]:
        return []

    @pytest.fixture
    async def layer(self, files: ControlledFiles, gone: list[str]) -> AsyncIterator[DiskLayer[bytes]]:
        lru = LRU[str, int](max_items=2, weigh=int)
        async with opened(layer := DiskLayer(files, lru, MappingCodec(), on_unmapped=gone.append)):
            yield layer
        await assert_consistent(layer, files.inner)

    async def test_a_put_returns_the_value_over_its_file(
        self, layer: DiskLayer[bytes], files: ControlledFiles
    ) -> None:
        value = b"map me"
        kept = await layer.put("a", value)
        assert (kept, type(kept)) == (value, Mapped)
        assert type(await layer.get("a")) is Mapped
        assert files.control.calls["read"] == 0
        plain = b"plain"
        assert await layer.put("b", plain) is plain
        assert type(await layer.get("b")) is Mapped
        assert files.control.calls["read"] == 1

    async def test_a_survivor_is_verified_once(self, layer: DiskLayer[bytes], files: ControlledFiles) -> None:
        await layer.put("a", b"map me")
        restarted = DiskLayer(files, LRU[str, int](max_items=2, weigh=int), MappingCodec())
        async with opened(restarted):
            for _ in range(3):
                assert type(await restarted.get("a")) is Mapped
        assert files.control.calls["read"] == 1

    @pytest.mark.parametrize(
        "damage", [lambda data: data[:-1], lambda data: data[:-1] + b"?", lambda data: b""]
    )
    async def test_a_survivor_that_is_damaged_is_a_miss(
        self, layer: DiskLayer[bytes], files: ControlledFiles, damage: Callable[[bytes], bytes]
    ) -> None:
        await layer.put("a", b"map me")
        restarted = DiskLayer(files, LRU[str, int](max_items=2, weigh=int), MappingCodec())
        await files.write(file_name("a"), damage(pack("a", b"map me")))
        async with opened(restarted):
            assert await restarted.get("a") is None
            assert restarted.stats().corrupt == 1
        await layer.delete("a")

    async def test_the_key_is_told_when_its_file_leaves(
        self, layer: DiskLayer[bytes], gone: list[str]
    ) -> None:
        for key in ("a", "b", "c"):
            await layer.put(key, b"map me")
        assert gone == ["a"]
        await layer.delete("c")
        assert gone == ["a", "c"]
        await layer.put("b", b"map another")
        assert gone == ["a", "c", "b"]
        await layer.put("d", b"plain")
        await layer.delete("d")
        assert gone == ["a", "c", "b"]

    async def test_what_is_touched_stays(self, layer: DiskLayer[bytes], gone: list[str]) -> None:
        await layer.put("a", b"map me")
        await layer.put("b", b"map me")
        layer.touch(["a", "unknown"])
        await layer.put("c", b"map me")
        assert gone == ["b"]
        assert layer.stats().hits == 0

    async def test_what_is_touched_most_recently_stays_longest(
        self, layer: DiskLayer[bytes], gone: list[str]
    ) -> None:
        for key in ("a", "b"):
            await layer.put(key, b"map me")
        layer.touch(["a", "b"])
        layer.touch(["a"])
        await layer.put("c", b"map me")
        assert gone == ["b"]

    async def test_what_is_read_after_others_were_touched_stays(
        self, layer: DiskLayer[bytes], gone: list[str]
    ) -> None:
        for key in ("a", "b"):
            await layer.put(key, b"map me")
        layer.touch(["a"])
        layer.touch(["b"])
        await layer.get("a")
        await layer.put("c", b"map me")
        assert gone == ["b"]

    async def test_touched_keys_are_bounded(
        self, layer: DiskLayer[bytes], gone: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vectorcache.layers.disk.MAX_TOUCHED", 3)
        for key in ("a", "b"):
            await layer.put(key, b"map me")
        layer.touch(["a", *map(str, range(9))])
        assert not layer._touched
        await layer.put("c", b"map me")
        assert gone == ["b"]

    async def test_a_file_that_cannot_be_mapped_is_read_whole(
        self, layer: DiskLayer[bytes], files: ControlledFiles, gone: list[str]
    ) -> None:
        await layer.put("a", b"map me")
        files.control.failures["map"] = Unavailable("no more mappings")
        assert type(await layer.get("a")) is bytes
        value = b"map me too"
        assert await layer.put("b", value) is value
        assert type(await layer.get("b")) is bytes
        del files.control.failures["map"]
        assert type(await layer.get("b")) is Mapped
        assert layer.stats().corrupt == 0

    async def test_a_file_that_somebody_else_deleted_is_a_miss(
        self, layer: DiskLayer[bytes], files: ControlledFiles, gone: list[str]
    ) -> None:
        await layer.put("a", b"map me")
        await files.inner.delete(file_name("a"))
        assert await layer.get("a") is None
        assert gone == ["a"]

    async def test_what_has_no_room_is_not_mapped(self, files: ControlledFiles) -> None:
        layer = DiskLayer(files, LRU[str, int](max_bytes=10, weigh=int), MappingCodec())
        async with opened(layer):
            value = b"map me"
            assert await layer.put("a", value) is value
