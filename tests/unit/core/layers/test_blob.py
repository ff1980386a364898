from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.core.control import ControlledBlobs
from tests.support.core.layer_contract import LayerContract, opened

from vectorcache.errors import CorruptData, Unavailable
from vectorcache.layers import BlobLayer, BytesCodec, Codec
from vectorcache.stores import FolderBlobStore, MemoryBlobStore


class TestBlobLayerInMemory(LayerContract):
    @pytest.fixture
    async def layer(self) -> AsyncIterator[BlobLayer[bytes]]:
        layer = BlobLayer(MemoryBlobStore(), BytesCodec())
        async with opened(layer):
            yield layer


class TestBlobLayerInAFolder(LayerContract):
    @pytest.fixture
    async def layer(self, tmp_path: Path) -> AsyncIterator[BlobLayer[bytes]]:
        layer: BlobLayer[bytes]
        async with FolderBlobStore(tmp_path) as blobs, opened(layer := BlobLayer(blobs, BytesCodec())):
            yield layer


class Reversing(Codec[str]):
    def encode(self, key: str, value: str) -> bytes:
        return value[::-1].encode()

    def decode(self, key: str, data: bytes) -> str:
        if not data:
            raise CorruptData(f"{key}: empty")
        return data.decode()[::-1]


async def test_values_pass_through_the_codec() -> None:
    blobs = MemoryBlobStore()
    layer = BlobLayer(blobs, Reversing())
    await layer.put("a", "abc")
    assert (await blobs.get("a")).data == b"cba"
    assert await layer.get("a") == "abc"


async def test_a_corrupt_blob_is_an_error_and_stays() -> None:
    blobs = MemoryBlobStore()
    await blobs.put("a", b"")
    layer = BlobLayer(blobs, Reversing())
    with pytest.raises(CorruptData, match="a: empty"):
        await layer.get("a")
    assert layer.stats().corrupt == 1
    assert await blobs.head("a") is not None


class Recorded(BytesCodec):
    def check_blob(self, key: str, data: bytes) -> None:
        if data != b"recorded":
            raise CorruptData(f"{key}: another checksum")


async def test_what_differs_from_its_recorded_checksum_is_corrupt() -> None:
    blobs = MemoryBlobStore()
    await blobs.put("a", b"recorded")
    await blobs.put("b", b"something else")
    layer = BlobLayer(blobs, Recorded())
    assert await layer.get("a") == b"recorded"
    with pytest.raises(CorruptData, match="b: another checksum"):
        await layer.get("b")
    assert (layer.stats().hits, layer.stats().corrupt) == (1, 1)


async def test_errors_of_the_store_pass_through() -> None:
    blobs = ControlledBlobs(MemoryBlobStore())
    blobs.control.failures["get"] = Unavailable("down")
    with pytest.raises(Unavailable, match="down"):
        await BlobLayer(blobs, BytesCodec()).get("a")


async def test_reads_are_timed() -> None:
    blobs = MemoryBlobStore()
    await blobs.put("a", b"1")
    times = iter([0.0, 0.004, 10.0, 13.0])
    layer = BlobLayer(blobs, BytesCodec(), clock=lambda: next(times))
    await layer.get("a")
    await layer.get("missing")
    loads = layer.stats().load_times
    assert (loads.count, loads.total_seconds, loads.max_seconds) == (2, 3.004, 3.0)
    assert [index for index, count in enumerate(loads.buckets) if count] == [5, 14]


async def test_the_store_is_not_ours_to_close() -> None:
    blobs = MemoryBlobStore()
    layer = BlobLayer(blobs, BytesCodec())
    await layer.put("a", b"1")
    await layer.close()
    assert (await blobs.get("a")).data == b"1"
    assert layer.stats().items is layer.stats().bytes is layer.stats().capacity_bytes is None
