from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.core.control import ControlledBlobs
from tests.support.core.fake_nodes import FakeClock

from vectorcache.errors import CorruptData, NotFound, Unavailable
from vectorcache.layers.codec import BytesCodec
from vectorcache.layers.disk import DiskLayer
from vectorcache.layers.diskfile import file_weight
from vectorcache.layers.kept import PAUSE, KeptBlobs
from vectorcache.layers.tolerant import TolerantLayer
from vectorcache.lru import LRU
from vectorcache.stores.memory import MemoryBlobStore, MemoryFileStore

DOWN = Unavailable("no network")
KEY = "words/v1/manifest.json"


@pytest.fixture
async def blobs() -> ControlledBlobs:
    blobs = ControlledBlobs(MemoryBlobStore())
    await blobs.put(KEY, b"one")
    return blobs


@pytest.fixture
def files() -> MemoryFileStore:
    return MemoryFileStore()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def kept_over(blobs: ControlledBlobs, files: MemoryFileStore, clock: FakeClock) -> KeptBlobs:
    lru = LRU[str, int](max_bytes=1 << 20, weigh=file_weight)
    layer = TolerantLayer(DiskLayer(files, lru, BytesCodec()))
    await layer.open()
    return KeptBlobs(blobs, layer, clock=clock)


@pytest.fixture
async def kept(blobs: ControlledBlobs, files: MemoryFileStore, clock: FakeClock) -> AsyncIterator[KeptBlobs]:
    async with await kept_over(blobs, files, clock) as kept:
        yield kept


def fail(blobs: ControlledBlobs, error: Exception = DOWN) -> None:
    blobs.control.failures = dict.fromkeys(("get", "head", "list_folders"), error)


async def test_the_store_is_asked_first(kept: KeptBlobs, blobs: ControlledBlobs) -> None:
    assert (await kept.get(KEY)).data == b"one"
    etag = await blobs.put(KEY, b"two")
    blob = await kept.get(KEY)
    assert (blob.data, blob.etag) == (b"two", etag)
    assert await kept.recall(KEY) == b"two"


async def test_what_was_read_is_told_where_the_store_does_not_answer(
    kept: KeptBlobs, blobs: ControlledBlobs
) -> None:
    await kept.get(KEY)
    assert await kept.list_folders() == ["words"]
    assert await kept.list_folders("words/") == ["v1"]
    fail(blobs)
    blob = await kept.get(KEY)
    assert (blob.data, blob.etag) == (b"one", "")
    info = await kept.head(KEY)
    assert info is not None
    assert (info.key, info.size, info.etag) == (KEY, 3, "")
    assert await kept.list_folders() == ["words"]
    assert await kept.list_folders("words/") == ["v1"]


async def test_what_was_not_read_is_unavailable(kept: KeptBlobs, blobs: ControlledBlobs) -> None:
    fail(blobs)
    for asking in (kept.get(KEY), kept.head(KEY), kept.list_folders()):
        with pytest.raises(Unavailable, match="no network"):
            await asking


async def test_a_next_process_finds_it(
    blobs: ControlledBlobs, files: MemoryFileStore, clock: FakeClock
) -> None:
    async with await kept_over(blobs, files, clock) as first:
        await first.get(KEY)
    fail(blobs)
    async with await kept_over(blobs, files, clock) as second:
        assert (await second.get(KEY)).data == b"one"


async def test_other_errors_are_the_stores_answer(kept: KeptBlobs, blobs: ControlledBlobs) -> None:
    await kept.get(KEY)
    fail(blobs, CorruptData("torn"))
    with pytest.raises(CorruptData):
        await kept.get(KEY)


async def test_what_is_gone_is_forgotten(kept: KeptBlobs, blobs: ControlledBlobs) -> None:
    await kept.get(KEY)
    await blobs.delete(KEY)
    with pytest.raises(NotFound):
        await kept.get(KEY)
    assert await kept.recall(KEY) is None
    await blobs.put(KEY, b"one")
    await kept.get(KEY)
    await blobs.delete(KEY)
    assert await kept.head(KEY) is None
    assert await kept.recall(KEY) is None
    await kept.put(KEY, b"new")
    await kept.get(KEY)
    await kept.delete(KEY)
    assert await kept.recall(KEY) is None


async def test_a_store_that_failed_is_not_asked_for_a_moment(
    kept: KeptBlobs, blobs: ControlledBlobs, clock: FakeClock
) -> None:
    await kept.get(KEY)
    fail(blobs)
    assert (await kept.get(KEY)).data == b"one"
    blobs.control.calls.clear()
    for _ in range(5):
        assert (await kept.get(KEY)).data == b"one"
    assert blobs.control.calls["get"] == 0
    blobs.control.failures.clear()
    await blobs.put("words/current.json", b"{}")
    assert (await kept.get("words/current.json")).data == b"{}", "what is not kept is asked for"
    await blobs.put(KEY, b"two")
    clock.now += PAUSE
    assert (await kept.get(KEY)).data == b"two"


async def test_a_slow_read_does_not_replace_what_was_read_after_it(
    kept: KeptBlobs, blobs: ControlledBlobs
) -> None:
    gate = blobs.control.hold("get", limit=1)
    first = asyncio.create_task(kept.get(KEY))
    await gate.arrivals(1)
    await blobs.put(KEY, b"two")
    second = asyncio.create_task(kept.get(KEY))
    gate.open()
    assert (await second).data == b"two"
    await first
    assert await kept.recall(KEY) == b"two"


async def test_parts_and_lists_are_the_stores(kept: KeptBlobs, blobs: ControlledBlobs) -> None:
    await kept.get(KEY)
    assert (await kept.get(KEY, offset=1, length=1)).data == b"n"
    assert [info.key async for info in kept.list("words/")] == [KEY]
    fail(blobs)
    with pytest.raises(Unavailable):
        await kept.get(KEY, offset=1)
