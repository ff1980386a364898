"""What every CacheLayer does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from vectorcache.layers import LOAD_TIME_BOUNDS, CacheLayer
from vectorcache.layers.base import LayerStats


@asynccontextmanager
async def opened(layer: CacheLayer[bytes]) -> AsyncIterator[None]:
    await layer.open()
    try:
        yield
    finally:
        await layer.close()


class LayerContract:
    """Subclass it, and give it a fresh and opened ``layer`` with room for a hundred small values."""

    @pytest.fixture
    def layer(self) -> CacheLayer[bytes]:
        raise NotImplementedError

    async def test_what_was_never_put_is_not_there(self, layer: CacheLayer[bytes]) -> None:
        assert layer.get_cached(["a"]) == {}
        assert await layer.get("a") is None
        assert await layer.contains("a") is False
        assert await layer.delete("a") is False

    @pytest.mark.parametrize(
        "value", [b"value", b"", bytes(range(256)) * 400], ids=["some", "empty", "100 kB"]
    )
    async def test_what_was_put_comes_back(self, layer: CacheLayer[bytes], value: bytes) -> None:
        await layer.put("a", value)
        assert await layer.contains("a") is True
        assert await layer.get("a") == value

    async def test_get_cached_returns_the_value_or_nothing(self, layer: CacheLayer[bytes]) -> None:
        await layer.put("a", b"1")
        assert layer.get_cached(["a"]) in ({"a": b"1"}, {})
        before = layer.stats()
        found = layer.get_cached(["missing", "a"])
        assert layer.stats().hits == before.hits + len(found)
        assert layer.get_cached(["missing"]) == {}
        assert layer.stats().misses == before.misses

    async def test_a_newer_value_replaces(self, layer: CacheLayer[bytes]) -> None:
        await layer.put("a", b"old")
        await layer.put("a", b"new")
        assert await layer.get("a") == b"new"

    async def test_what_was_deleted_is_gone_and_can_come_back(self, layer: CacheLayer[bytes]) -> None:
        await layer.put("a", b"1")
        assert await layer.delete("a") is True
        assert await layer.delete("a") is False
        assert await layer.get("a") is None
        assert await layer.contains("a") is False
        await layer.put("a", b"2")
        assert await layer.get("a") == b"2"

    @pytest.mark.parametrize(
        "key", ["collection/v7/chunks/000042.arrow", "a.b-c_d", "/".join(["part" * 20] * 12)]
    )
    async def test_keys_are_as_file_names_are(self, layer: CacheLayer[bytes], key: str) -> None:
        await layer.put(key, b"1")
        assert await layer.get(key) == b"1"
        assert await layer.contains(key) is True
        assert await layer.delete(key) is True

    async def test_keys_do_not_mix(self, layer: CacheLayer[bytes]) -> None:
        keys = ["a", "A", "b", "ab", "a.b", "a-b"]
        await asyncio.gather(*(layer.put(key, key.encode()) for key in keys))
        values = await asyncio.gather(*(layer.get(key) for key in keys))
        assert values == [key.encode() for key in keys]

    async def test_hits_and_misses_are_counted_and_looking_is_not(self, layer: CacheLayer[bytes]) -> None:
        await layer.put("a", b"1")
        before = layer.stats()
        await layer.get("a")
        await layer.get("a")
        await layer.get("missing")
        await layer.contains("a")
        after = layer.stats()
        assert (after.hits - before.hits, after.misses - before.misses) == (2, 1)
        assert (after.errors, after.corrupt, after.evictions) == (0, 0, 0)

    async def test_the_statistics_are_whole(self, layer: CacheLayer[bytes]) -> None:
        await layer.put("a", b"1")
        await layer.get("a")
        stats = layer.stats()
        assert isinstance(stats, LayerStats)
        assert stats.name
        assert len(stats.load_times.buckets) == len(LOAD_TIME_BOUNDS) + 1
        assert sum(stats.load_times.buckets) == stats.load_times.count
        assert stats.load_times.max_seconds <= stats.load_times.total_seconds
        if stats.capacity_bytes is not None:
            assert stats.items == 1
            assert stats.bytes is not None
            assert 0 < stats.bytes <= stats.capacity_bytes

    async def test_closing_twice_is_closing_once(self, layer: CacheLayer[bytes]) -> None:
        await layer.put("a", b"1")
        await layer.close()
        await layer.close()

    async def test_concurrent_calls_of_one_key_see_whole_values(self, layer: CacheLayer[bytes]) -> None:
        values = [bytes([number]) * 10_000 for number in range(8)]
        reads = [layer.get("a") for _ in range(16)]
        answers = await asyncio.gather(*(layer.put("a", value) for value in values), *reads)
        assert set(answers[len(values) :]) <= {None, *values}
        assert await layer.get("a") in values
