from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator

import pytest
from tests.support.core.control import ControlledLayer
from tests.support.core.layer_contract import LayerContract, opened

from vectorcache.errors import Unavailable
from vectorcache.layers import MemoryLayer
from vectorcache.layers.tolerant import TolerantLayer
from vectorcache.lru import LRU

ERRORS = [Unavailable("down"), OSError(errno.ENOSPC, "disk full"), RuntimeError("a bug")]
CALLS = ["open", "close", "get_cached", "get", "put", "delete", "contains"]


class TestTolerantLayer(LayerContract):
    @pytest.fixture
    async def layer(self) -> AsyncIterator[TolerantLayer[bytes]]:
        lru = LRU[str, bytes](max_bytes=1 << 20, weigh=len)
        async with opened(layer := TolerantLayer(MemoryLayer(lru))):
            yield layer


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_every_failure_is_passed_over_and_counted(error: Exception) -> None:
    inner = ControlledLayer({"a": b"1"})
    layer = TolerantLayer(inner)
    inner.control.failures = dict.fromkeys(CALLS, error)
    await layer.open()
    assert layer.get_cached(["a"]) == {}
    assert await layer.get("a") is None
    assert await layer.contains("a") is False
    assert await layer.delete("a") is False
    await layer.close()
    assert layer.stats().errors == 6


async def test_a_layer_that_does_not_take_a_new_value_loses_the_old_one() -> None:
    inner = ControlledLayer({"a": b"old"})
    layer = TolerantLayer(inner)
    inner.control.failures["put"] = OSError(errno.ENOSPC, "disk full")
    await layer.put("a", b"new")
    assert await layer.get("a") is None
    assert layer.stats().errors == 1


async def test_cancellation_is_not_a_failure() -> None:
    inner = ControlledLayer()
    gate = inner.control.hold("get")
    layer = TolerantLayer(inner)
    reading = asyncio.create_task(layer.get("a"))
    await gate.arrivals()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert layer.stats().errors == 0
