from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.core.control import ControlledBlobs, ControlledFiles, Mapped, MappingCodec
from tests.support.core.layer_contract import LayerContract, opened

from vectorcache.errors import InvalidInput, Unavailable
from vectorcache.layers import BytesCodec, EfficientVectorStorage
from vectorcache.layers.diskfile import file_name
from vectorcache.layers.storage import ENTRY_BYTES
from vectorcache.stores import (
    BlobStore,
    DiskFileStore,
    FileStore,
    FolderBlobStore,
    MemoryBlobStore,
    MemoryFileStore,
)


def storage(blobs: BlobStore, files: FileStore, memory_bytes: int = 1 << 20) -> EfficientVectorStorage[bytes]:
    return EfficientVectorStorage(blobs, files, BytesCodec(), memory_bytes=memory_bytes, weigh=len)


class TestInMemory(LayerContract):
    @pytest.fixture
    async def layer(self) -> AsyncIterator[EfficientVectorStorage[bytes]]:
        async with opened(layer := storage(MemoryBlobStore(), MemoryFileStore())):
            yield layer


class TestOnADisk(LayerContract):
    @pytest.fixture
    async def layer(self, tmp_path: Path) -> AsyncIterator[EfficientVectorStorage[bytes]]:
        async with FolderBlobStore(tmp_path / "blobs") as blobs, DiskFileStore(tmp_path / "files") as files:
            layer = storage(blobs, files)
            async with opened(layer):
                yield layer


def test_the_disk_is_ten_times_the_memory_unless_told() -> None:
    memory, disk, blob = storage(MemoryBlobStore(), MemoryFileStore(), 1000).layer_stats()
    assert (memory.name, memory.capacity_bytes) == ("memory", 1000)
    assert (disk.name, disk.capacity_bytes) == ("disk", 10_000)
    assert (blob.name, blob.capacity_bytes) == ("blob", None)


@pytest.mark.parametrize("sizes", [{"memory_bytes": 0}, {"memory_bytes": 1, "disk_bytes": 0}])
def test_capacities_are_positive(sizes: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="max_bytes"):
        EfficientVectorStorage(
            MemoryBlobStore(),
            MemoryFileStore(),
            BytesCodec(),
            memory_bytes=sizes["memory_bytes"],
            disk_bytes=sizes.get("disk_bytes"),
            weigh=len,
        )


async def test_memory_counts_the_overhead_of_its_entries() -> None:
    async with opened(cache := storage(MemoryBlobStore(), MemoryFileStore())):
        await cache.put("a", b"123")
        assert cache.layer_stats()[0].bytes == 3 + ENTRY_BYTES


async def test_a_thousand_concurrent_gets_of_a_cold_chunk_are_one_blob_get() -> None:
    blobs = ControlledBlobs(MemoryBlobStore())
    await blobs.put("a", b"chunk")
    async with opened(cache := storage(blobs, MemoryFileStore())):
        assert await asyncio.gather(*(cache.get("a") for _ in range(1000))) == [b"chunk"] * 1000
        assert await cache.get("a") == b"chunk"
        assert blobs.control.calls["get"] == 1
        assert [layer.hits for layer in cache.layer_stats()] == [1, 0, 1]


async def test_a_restart_finds_the_disk_warm(tmp_path: Path) -> None:
    blobs = ControlledBlobs(MemoryBlobStore())
    for key in ("a", "b"):
        await blobs.put(key, key.encode())
    async with DiskFileStore(tmp_path) as files:
        async with opened(cache := storage(blobs, files)):
            await cache.get_many(["a", "b"])
        async with opened(cache := storage(blobs, files)):
            assert (await cache.get_many(["a", "b"])).found == {"a": b"a", "b": b"b"}
            assert cache.layer_stats()[1].hits == 2
    assert blobs.control.calls["get"] == 2


async def test_what_leaves_memory_comes_back_from_disk() -> None:
    blobs = ControlledBlobs(MemoryBlobStore())
    keys = [str(number) for number in range(10)]
    async with opened(cache := storage(blobs, MemoryFileStore(), memory_bytes=40_000)):
        for key in keys:
            await cache.put(key, key.encode() * 20_000)
        loaded = await cache.get_many(keys)
        assert loaded.found == {key: key.encode() * 20_000 for key in keys}
        assert cache.layer_stats()[0].items == 1
    assert blobs.control.calls["get"] == 0


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
async def test_a_damaged_file_is_loaded_again_and_made_good(tmp_path: Path, damage: str) -> None:
    blobs = ControlledBlobs(MemoryBlobStore())
    await blobs.put("a", b"chunk" * 100)
    async with DiskFileStore(tmp_path) as files:
        async with opened(cache := storage(blobs, files)):
            await cache.get("a")
        path = tmp_path / file_name("a")
        content = path.read_bytes()
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        path.write_bytes({"flip": flipped, "truncate": content[:100], "empty": b""}[damage])
        async with opened(cache := storage(blobs, files)):
            assert await cache.get("a") == b"chunk" * 100
        assert path.read_bytes() == content
    assert cache.layer_stats()[1].corrupt == 1
    assert blobs.control.calls["get"] == 2


async def test_without_a_working_disk_everything_is_answered() -> None:
    files = ControlledFiles(MemoryFileStore())
    files.control.failures = dict.fromkeys(["list", "read", "write", "delete"], Unavailable("no volume"))
    async with opened(cache := storage(MemoryBlobStore(), files)):
        await cache.put("a", b"1")
        assert await cache.get("a") == b"1"
        assert await cache.delete("a") is True
        assert await cache.get("a") is None
    memory, disk, blob = cache.layer_stats()
    assert disk.errors > 0
    assert (memory.errors, blob.errors) == (0, 0)


class TestMappedFiles:
    """Values that take memory only for a part once they are on disk."""

    @staticmethod
    def storage(
        blobs: BlobStore, files: FileStore, *, disk_bytes: int = 1 << 20
    ) -> EfficientVectorStorage[bytes]:
        return EfficientVectorStorage(
            blobs,
            files,
            MappingCodec(),
            memory_bytes=10 * (ENTRY_BYTES + 50),
            disk_bytes=disk_bytes,
            weigh=lambda value: 1 if isinstance(value, Mapped) else len(value),
        )

    async def test_memory_holds_what_is_mapped_as_soon_as_it_is_on_disk(self) -> None:
        blobs, files = MemoryBlobStore(), ControlledFiles(MemoryFileStore())
        gate = files.control.hold("write")
        for at in range(10):
            await blobs.put(f"k{at}", b"map" + bytes(47))
        async with opened(cache := self.storage(blobs, files)):
            assert type(await cache.get("k0")) is bytes  # the answer does not wait for the disk
            assert type(cache.get_cached(["k0"])["k0"]) is bytes
            gate.open()
            await settle()
            assert type(cache.get_cached(["k0"])["k0"]) is Mapped
            for at in range(10):
                await cache.get(f"k{at}")
            await settle()
            assert cache.layer_stats()[0].bytes == 10 * (ENTRY_BYTES + 1)

    async def test_memory_holds_the_whole_where_the_disk_fails(self) -> None:
        blobs, files = MemoryBlobStore(), ControlledFiles(MemoryFileStore())
        files.control.failures["write"] = Unavailable("broken")
        await blobs.put("a", b"map me")
        async with opened(cache := self.storage(blobs, files)):
            for _ in range(2):
                assert type(await cache.get("a")) is bytes
                await settle()
        assert cache.layer_stats()[1].errors > 0

    async def test_what_memory_serves_stays_on_disk_and_what_leaves_the_disk_leaves_memory(self) -> None:
        blobs, files = MemoryBlobStore(), MemoryFileStore()
        for key in ("a", "b", "c"):
            await blobs.put(key, b"map me")
        async with opened(cache := self.storage(blobs, files, disk_bytes=2 * 4096)):  # two files
            for key in ("a", "b"):
                await cache.get(key)
                await settle()
            assert set(cache.get_cached(["a"])) == {"a"}
            await cache.get("c")
            await settle()
            assert set(cache.get_cached(["a", "b", "c"])) == {"a", "c"}
            assert {info.name for info in await files.list()} == {file_name("a"), file_name("c")}


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(50):
        await asyncio.sleep(0)
