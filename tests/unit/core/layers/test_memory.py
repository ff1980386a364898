from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.support.core.layer_contract import LayerContract, opened

from vectorcache.layers import MemoryLayer
from vectorcache.lru import LRU


@pytest.fixture
async def small() -> AsyncIterator[MemoryLayer[bytes]]:
    layer = MemoryLayer(LRU[str, bytes](max_bytes=10, weigh=len))
    async with opened(layer):
        yield layer


class TestMemoryLayer(LayerContract):
    @pytest.fixture
    async def layer(self) -> AsyncIterator[MemoryLayer[bytes]]:
        layer = MemoryLayer(LRU[str, bytes](max_bytes=1 << 20, weigh=len))
        async with opened(layer):
            yield layer


async def test_the_value_itself_is_kept(small: MemoryLayer[bytes]) -> None:
    value = b"value"
    await small.put("a", value)
    assert small.get_cached(["a"])["a"] is value
    assert await small.get("a") is value


async def test_evictions_are_counted_replacements_and_deletions_are_not(small: MemoryLayer[bytes]) -> None:
    await small.put("a", b"12345")
    await small.put("a", b"54321")
    await small.put("b", b"12345")
    await small.put("c", b"12345")
    await small.delete("c")
    stats = small.stats()
    assert (stats.evictions, stats.items, stats.bytes, stats.capacity_bytes) == (1, 1, 5, 10)
    assert await small.get("a") is None


async def test_a_value_beyond_the_capacity_is_not_kept_and_hides_no_older_one(
    small: MemoryLayer[bytes],
) -> None:
    await small.put("a", b"old")
    await small.put("b", b"1")
    await small.put("a", b"12345678901")
    assert await small.get("a") is None
    assert await small.get("b") == b"1"


async def test_get_cached_counts_as_a_use(small: MemoryLayer[bytes]) -> None:
    await small.put("a", b"12345")
    await small.put("b", b"12345")
    small.get_cached(["a"])
    await small.put("c", b"12345")
    assert small.get_cached(["a", "b"]) == {"a": b"12345"}


async def test_closing_drops_everything(small: MemoryLayer[bytes]) -> None:
    await small.put("a", b"1")
    await small.close()
    assert small.stats().items == 0
