from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.core.control import ControlledLayer
from tests.support.core.layer_contract import LayerContract, opened

from vectorcache.errors import CorruptData, InvalidInput, Unavailable
from vectorcache.layers import (
    BlobLayer,
    BytesCodec,
    CacheLayer,
    DiskLayer,
    MemoryLayer,
    NLayerCache,
    file_weight,
)
from vectorcache.lru import LRU
from vectorcache.stores import MemoryBlobStore, MemoryFileStore


def memory(capacity: int = 1 << 20) -> MemoryLayer[bytes]:
    return MemoryLayer(LRU[str, bytes](max_bytes=capacity, weigh=len))


def disk(capacity: int = 10 << 20) -> DiskLayer[bytes]:
    lru = LRU[str, int](max_bytes=capacity, weigh=file_weight)
    return DiskLayer(MemoryFileStore(), lru, BytesCodec())


def blob() -> BlobLayer[bytes]:
    return BlobLayer(MemoryBlobStore(), BytesCodec())


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(20):
        await asyncio.sleep(0)


class OneLayer(LayerContract):
    @pytest.fixture
    async def layer(self, layers: list[CacheLayer[bytes]]) -> AsyncIterator[NLayerCache[bytes]]:
        async with opened(cache := NLayerCache(layers)):
            yield cache


class TestOneLayer(OneLayer):
    @pytest.fixture(params=[memory, disk, blob])
    def layers(self, request: pytest.FixtureRequest) -> list[CacheLayer[bytes]]:
        return [request.param()]


class TestTwoLayers(OneLayer):
    @pytest.fixture(params=[(memory, disk), (memory, blob), (disk, blob)])
    def layers(self, request: pytest.FixtureRequest) -> list[CacheLayer[bytes]]:
        return [make() for make in request.param]


class TestThreeLayers(OneLayer):
    @pytest.fixture
    def layers(self) -> list[CacheLayer[bytes]]:
        return [memory(), disk(), blob()]


class TestCachesInCaches(OneLayer):
    @pytest.fixture
    def layers(self) -> list[CacheLayer[bytes]]:
        return [NLayerCache([memory(), disk()]), NLayerCache([memory(), blob()])]


class Three:
    """A cache of three layers that a test controls."""

    def __init__(
        self,
        origin: dict[str, bytes] | None = None,
        *,
        max_loads: int = 32,
        max_load_bytes: int = 1 << 20,
        expected_bytes: int = 1,
    ) -> None:
        self.top = ControlledLayer(name="top")
        self.middle = ControlledLayer(name="middle")
        self.origin = ControlledLayer(origin, name="origin")
        self.layers = [self.top, self.middle, self.origin]
        self.cache = NLayerCache(
            self.layers, max_loads=max_loads, max_load_bytes=max_load_bytes, expected_bytes=expected_bytes
        )

    def values(self) -> list[dict[str, bytes]]:
        return [layer.values for layer in self.layers]


@pytest.fixture
async def three() -> AsyncIterator[Three]:
    three = Three({"a": b"1"})
    async with opened(three.cache):
        yield three


def test_no_layers_are_not_a_cache() -> None:
    with pytest.raises(InvalidInput, match="at least one layer"):
        NLayerCache[bytes]([])


@pytest.mark.parametrize("bounds", [(0, 1, 1), (1, 0, 1), (1, 1, -1)])
def test_bounds_are_checked(bounds: tuple[int, int, int]) -> None:
    max_loads, max_load_bytes, expected_bytes = bounds
    with pytest.raises(InvalidInput, match=r"max_loads|max_bytes|expected_bytes"):
        Three(max_loads=max_loads, max_load_bytes=max_load_bytes, expected_bytes=expected_bytes)


class TestReading:
    async def test_what_is_found_below_is_copied_to_all_above(self, three: Three) -> None:
        assert await three.cache.get("a") == b"1"
        await three.cache.close()
        assert three.values() == [{"a": b"1"}] * 3

    async def test_what_is_found_in_the_middle_is_copied_up_only(self, three: Three) -> None:
        three.middle.values["b"] = b"2"
        assert await three.cache.get("b") == b"2"
        await three.cache.close()
        assert three.values() == [{"b": b"2"}, {"b": b"2"}, {"a": b"1"}]

    async def test_what_is_nowhere_is_copied_nowhere(self, three: Three) -> None:
        assert await three.cache.get("missing") is None
        await three.cache.close()
        assert three.values() == [{}, {}, {"a": b"1"}]
        assert three.cache.stats().misses == 1

    async def test_a_slow_copy_does_not_delay_the_answer_and_close_waits_for_it(self, three: Three) -> None:
        copies = three.middle.control.hold("put")
        assert await three.cache.get("a") == b"1"
        assert three.top.values == {"a": b"1"}
        await copies.arrivals()
        closing = asyncio.create_task(three.cache.close())
        await settle()
        assert not closing.done()
        copies.open()
        await closing
        assert three.middle.values == {"a": b"1"}

    async def test_a_read_does_not_wait_for_a_copy_in_flight(self, three: Three) -> None:
        copies = three.middle.control.hold("put")
        await three.cache.get("a")
        await copies.arrivals()
        three.top.values.clear()
        assert await three.cache.get("a") == b"1"
        assert three.origin.control.calls["get"] == 1
        copies.open()

    async def test_loads_are_timed(self) -> None:
        times = iter([0.0, 0.5])
        cache = NLayerCache([memory(), ControlledLayer({"a": b"1"})], clock=lambda: next(times))
        await cache.get("a")
        await cache.get("a")
        loads = cache.stats().load_times
        assert (loads.count, loads.total_seconds) == (1, 0.5)
        assert cache.stats().hits == 2


class TestSingleFlight:
    async def test_a_thousand_concurrent_gets_are_one_read_below(self) -> None:
        origin = ControlledLayer({"a": b"1"})
        cache = NLayerCache([memory(), disk(), origin])
        async with opened(cache):
            values = await asyncio.gather(*(cache.get("a") for _ in range(1000)))
            assert values == [b"1"] * 1000
            assert await cache.get("a") == b"1"
            assert await asyncio.gather(*(cache.get("a") for _ in range(1000))) == [b"1"] * 1000
        assert origin.control.calls["get"] == 1
        assert cache.stats().hits == 2001

    async def test_a_cancelled_waiter_cancels_nobody_else(self, three: Three) -> None:
        reads = three.origin.control.hold("get")
        waiters = [asyncio.create_task(three.cache.get("a")) for _ in range(3)]
        await reads.arrivals()
        waiters[0].cancel()
        reads.open()
        results = await asyncio.gather(*waiters, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1:] == [b"1", b"1"]

    async def test_a_load_that_everybody_left_is_kept(self, three: Three) -> None:
        reads = three.origin.control.hold("get")
        waiter = asyncio.create_task(three.cache.get("a"))
        await reads.arrivals()
        waiter.cancel()
        await asyncio.wait([waiter])
        reads.open()
        await three.cache.close()
        assert three.values() == [{"a": b"1"}] * 3

    async def test_an_error_reaches_all_who_wait_and_the_next_tries_again(self, three: Three) -> None:
        three.origin.control.failures["get"] = Unavailable("down")
        results = await asyncio.gather(*(three.cache.get("a") for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [Unavailable] * 3
        assert three.origin.control.calls["get"] == 1
        three.origin.control.failures.clear()
        assert await three.cache.get("a") == b"1"


class TestBounds:
    async def test_loads_at_once_are_bounded_in_number(self) -> None:
        three = Three({str(number): b"1" for number in range(10)}, max_loads=3)
        reads = three.origin.control.hold("get")
        getting = asyncio.gather(*(three.cache.get(str(number)) for number in range(10)))
        await reads.arrivals(3)
        await settle()
        assert three.origin.control.calls["get"] == 3
        reads.open()
        assert await getting == [b"1"] * 10
        await three.cache.close()

    async def test_loads_at_once_are_bounded_in_the_bytes_expected(self) -> None:
        three = Three(dict.fromkeys("abcd", b"1"), max_load_bytes=100, expected_bytes=30)
        reads = three.origin.control.hold("get")
        getting = [
            asyncio.create_task(three.cache.get("a", size=50)),
            asyncio.create_task(three.cache.get("b")),
            asyncio.create_task(three.cache.get("c")),
            asyncio.create_task(three.cache.get("d", size=5000)),
        ]
        await reads.arrivals(2)
        await settle()
        assert three.origin.control.calls["get"] == 2
        reads.open()
        assert await asyncio.gather(*getting) == [b"1"] * 4
        await three.cache.close()

    async def test_a_load_counts_until_its_last_copy_is_made(self) -> None:
        three = Three(dict.fromkeys("abc", b"1"), max_loads=2)
        copies = three.middle.control.hold("put")
        assert [await three.cache.get("a"), await three.cache.get("b")] == [b"1", b"1"]
        third = asyncio.create_task(three.cache.get("c"))
        await copies.arrivals(2)
        await settle()
        assert not third.done()
        copies.open()
        assert await third == b"1"
        await three.cache.close()

    async def test_a_negative_size_is_refused(self, three: Three) -> None:
        with pytest.raises(InvalidInput, match="size: -1"):
            await three.cache.get("a", size=-1)


class TestGetMany:
    async def test_found_missing_and_failed_are_told_apart(self) -> None:
        class Partly(ControlledLayer):
            async def get(self, key: str) -> bytes | None:
                if key == "bad":
                    raise CorruptData(key)
                return await super().get(key)

        cache = NLayerCache([memory(), Partly({"a": b"1", "b": b"2"})])
        await cache.get("a")
        loaded = await cache.get_many(["a", "b", "missing", "bad", "b"], [1, 2, 3, 4, 5])
        assert loaded.found == {"a": b"1", "b": b"2"}
        assert {key: str(error) for key, error in loaded.failed.items()} == {"bad": "bad"}
        await cache.close()

    async def test_cached_values_start_no_task(self) -> None:
        cache = NLayerCache([memory(), ControlledLayer()])
        for key in "abc":
            await cache.put(key, key.encode())
        before = asyncio.all_tasks()
        with pytest.raises(StopIteration) as stopped:  # it never waited
            cache.get_many("abc").send(None)
        assert stopped.value.value.found == {key: key.encode() for key in "abc"}
        assert asyncio.all_tasks() == before

    async def test_a_key_named_twice_is_one(self, three: Three) -> None:
        await three.cache.put("a", b"1")
        for keys in (["a", "a"], ["a", "b", "b"]):
            assert (await three.cache.get_many(keys)).found == {"a": b"1"}

    async def test_the_rest_is_loaded_side_by_side(self) -> None:
        three = Three({key: key.encode() for key in "abc"})
        reads = three.origin.control.hold("get")
        getting = asyncio.create_task(three.cache.get_many("abc"))
        await reads.arrivals(3)
        reads.open()
        assert (await getting).found == {key: key.encode() for key in "abc"}
        await three.cache.close()

    async def test_cancelling_it_cancels_no_load(self, three: Three) -> None:
        reads = three.origin.control.hold("get")
        getting = asyncio.create_task(three.cache.get_many(["a"]))
        other = asyncio.create_task(three.cache.get("a"))
        await reads.arrivals()
        getting.cancel()
        reads.open()
        assert await other == b"1"
        assert getting.cancelled()

    async def test_a_bug_is_not_swallowed(self, three: Three) -> None:
        three.origin.control.failures["get"] = RuntimeError("a bug")
        with pytest.raises(RuntimeError, match="a bug"):
            await three.cache.get_many(["a"])

    async def test_sizes_belong_to_keys(self, three: Three) -> None:
        with pytest.raises(InvalidInput, match="1 sizes, one per key"):
            await three.cache.get_many(["a"], [1, 2])

    async def test_nothing_asked_nothing_found(self, three: Three) -> None:
        loaded = await three.cache.get_many([])
        assert (loaded.found, loaded.failed) == ({}, {})


class TestBrokenLayers:
    @pytest.mark.parametrize(
        "error", [Unavailable("down"), OSError(errno.ENOSPC, "full"), RuntimeError("bug")]
    )
    async def test_a_broken_upper_layer_is_passed_over_and_counted(
        self, three: Three, error: Exception
    ) -> None:
        calls = ["get", "put", "delete", "contains", "close"]
        three.middle.control.failures = dict.fromkeys(calls, error)
        assert await three.cache.get("a") == b"1"
        await three.cache.put("b", b"2")
        assert await three.cache.get_many(["a", "b"])
        assert await three.cache.contains("b") is True
        assert await three.cache.delete("b") is True
        assert three.values() == [{"a": b"1"}, {}, {"a": b"1"}]
        top, middle, origin = three.cache.layer_stats()
        assert (top.errors, origin.errors) == (0, 0)
        assert middle.errors >= 4

    async def test_a_layer_that_cannot_be_opened_is_passed_over(self) -> None:
        three = Three({"a": b"1"})
        three.middle.control.failures["open"] = Unavailable("no volume")
        async with opened(three.cache):
            assert await three.cache.get("a") == b"1"
        assert three.cache.layer_stats()[1].errors == 1

    async def test_a_origin_that_cannot_be_opened_is_an_error(self) -> None:
        three = Three()
        three.origin.control.failures["open"] = Unavailable("down")
        with pytest.raises(Unavailable, match="down"):
            await three.cache.open()

    async def test_the_origins_failure_is_the_callers(self, three: Three) -> None:
        three.origin.control.failures = dict.fromkeys(
            ["get", "put", "delete", "contains"], Unavailable("down")
        )
        for call in (
            three.cache.get("a"),
            three.cache.put("a", b"2"),
            three.cache.delete("a"),
            three.cache.contains("a"),
        ):
            with pytest.raises(Unavailable, match="down"):
                await call
        assert three.cache.layer_stats()[-1].errors == three.cache.stats().errors == 4

    async def test_a_copy_above_serves_while_the_origin_is_down(self, three: Three) -> None:
        await three.cache.get("a")
        three.origin.control.failures["get"] = Unavailable("down")
        assert await three.cache.get("a") == b"1"

    async def test_a_write_of_unknown_outcome_leaves_nothing_above(self, three: Three) -> None:
        await three.cache.put("a", b"old")
        three.origin.control.failures["put"] = Unavailable("timed out")
        with pytest.raises(Unavailable):
            await three.cache.put("a", b"new")
        assert three.values()[:2] == [{}, {}]

    async def test_a_layer_that_does_not_take_a_new_value_does_not_serve_the_old_one(
        self, three: Three
    ) -> None:
        await three.cache.put("a", b"old")
        three.top.control.failures["put"] = OSError(errno.ENOSPC, "full")
        await three.cache.put("a", b"new")
        assert three.values() == [{}, {"a": b"new"}, {"a": b"new"}]


class TestWriting:
    async def test_the_origin_is_first(self, three: Three) -> None:
        writes = three.origin.control.hold("put")
        writing = asyncio.create_task(three.cache.put("b", b"2"))
        await writes.arrivals()
        assert three.values() == [{}, {}, {"a": b"1"}]
        writes.open()
        await writing
        assert [values["b"] for values in three.values()] == [b"2"] * 3

    async def test_a_write_whose_caller_is_cancelled_is_finished(self, three: Three) -> None:
        await three.cache.put("a", b"old")
        writes = three.origin.control.hold("put")
        writing = asyncio.create_task(three.cache.put("a", b"new"))
        await writes.arrivals()
        writing.cancel()
        await asyncio.wait([writing])
        writes.open()
        await three.cache.close()
        assert three.values() == [{"a": b"new"}] * 3

    @pytest.mark.parametrize("held", ["top", "middle", "origin"])
    @pytest.mark.parametrize("source", ["middle", "origin"])
    async def test_a_load_that_began_before_a_write_brings_nothing_old_back(
        self, three: Three, held: str, source: str
    ) -> None:
        layers = {layer.stats().name: layer for layer in three.layers}
        three.origin.values["a"] = b"old"
        layers[source].values["a"] = b"old"
        reads, writes = layers[source].control.hold("get"), layers[held].control.hold("put")
        reading = asyncio.create_task(three.cache.get("a"))
        await reads.arrivals()  # it has read the old value
        writing = asyncio.create_task(three.cache.put("a", b"new"))
        await writes.arrivals()
        reads.open()
        await settle()
        writes.open()
        assert await reading == b"old"
        await writing
        assert await three.cache.get("a") == b"new"
        await three.cache.close()
        assert three.values() == [{"a": b"new"}] * 3

    async def test_a_read_during_a_write_returns_the_old_value_and_does_not_restore_it(
        self, three: Three
    ) -> None:
        three.middle.values["a"] = b"old"
        writes = three.middle.control.hold("put")
        writing = asyncio.create_task(three.cache.put("a", b"new"))
        await writes.arrivals()
        assert await three.cache.get("a") == b"old"
        writes.open()
        await writing
        assert three.values() == [{"a": b"new"}] * 3
        assert await three.cache.get("a") == b"new"

    async def test_a_read_that_began_during_a_write_and_ends_after_it_restores_no_old_value(
        self, three: Three
    ) -> None:
        three.middle.values["a"] = b"old"
        reads, writes = three.middle.control.hold("get"), three.middle.control.hold("put")
        writing = asyncio.create_task(three.cache.put("a", b"new"))
        await writes.arrivals()
        reading = asyncio.create_task(three.cache.get("a"))
        await reads.arrivals()
        writes.open()
        await writing
        reads.open()
        assert await reading == b"old"
        assert three.values() == [{"a": b"new"}] * 3

    async def test_nobody_joins_a_load_from_before_a_write(self) -> None:
        origin = ControlledLayer({"a": b"old"})
        cache = NLayerCache([origin])
        reads = origin.control.hold("get", limit=1)
        before = asyncio.create_task(cache.get("a"))
        await reads.arrivals()
        await cache.put("a", b"new")
        assert await cache.get("a") == b"new"
        reads.open()
        assert await before == b"old"

    async def test_a_reader_never_goes_back(self, three: Three) -> None:
        await three.cache.put("a", b"old")
        writes = three.middle.control.hold("put")
        writing = asyncio.create_task(three.cache.put("a", b"new"))
        await writes.arrivals()
        assert three.top.values == {"a": b"old"}
        writes.open()
        await writing

    async def test_a_slow_copy_of_the_old_is_followed_by_the_new(self, three: Three) -> None:
        copies = three.middle.control.hold("put", limit=1)
        await three.cache.get("a")
        await copies.arrivals()
        writing = asyncio.create_task(three.cache.put("a", b"new"))
        await settle()
        copies.open()
        await writing
        await three.cache.close()
        assert three.values() == [{"a": b"new"}] * 3

    async def test_a_load_during_a_deletion_does_not_bring_the_key_back(self, three: Three) -> None:
        reads = three.origin.control.hold("get")
        reading = asyncio.create_task(three.cache.get("a"))
        await reads.arrivals()
        assert await three.cache.delete("a") is True
        reads.open()
        assert await reading == b"1"
        await three.cache.close()
        assert three.values() == [{}, {}, {}]

    async def test_deleting_reaches_what_only_an_upper_layer_has(self, three: Three) -> None:
        three.middle.values["stray"] = b"1"
        assert await three.cache.delete("stray") is True
        assert await three.cache.delete("stray") is False


KEYS = st.sampled_from("abcde")
CALL = st.one_of(
    st.tuples(st.just("put"), KEYS, st.binary(min_size=1, max_size=12)),
    st.tuples(st.sampled_from(["get", "delete", "contains", "get_many"]), KEYS, st.just(b"")),
)
BREAKS = st.sets(st.sampled_from(["get", "put", "delete", "contains"]))


@settings(max_examples=60)
@given(calls=st.lists(CALL, max_size=40), broken=BREAKS, memory_bytes=st.integers(1, 30))
def test_it_answers_as_a_dict_does(
    calls: list[tuple[str, str, bytes]], broken: set[str], memory_bytes: int
) -> None:
    async def scenario() -> None:
        model: dict[str, bytes] = {}
        middle = ControlledLayer()
        middle.control.failures = dict.fromkeys(broken, Unavailable("broken"))
        cache = NLayerCache([memory(memory_bytes), middle, disk(8192), blob()])
        async with opened(cache):
            for call, key, value in calls:
                if call == "put":
                    await cache.put(key, value)
                    model[key] = value
                elif call == "get":
                    assert await cache.get(key) == model.get(key)
                elif call == "contains":
                    assert await cache.contains(key) is (key in model)
                elif call == "get_many":
                    assert (await cache.get_many("abcde")).found == model
                elif broken & {"delete"} == set():
                    assert await cache.delete(key) is (model.pop(key, None) is not None)
            assert (await cache.get_many("abcde")).found == model

    asyncio.run(scenario())


@settings(max_examples=60)
@given(
    calls=st.lists(st.tuples(st.sampled_from(["put", "get", "delete"]), KEYS), min_size=1, max_size=40),
    memory_bytes=st.integers(1, 4),
)
def test_after_concurrent_calls_all_layers_agree_with_the_origin(
    calls: list[tuple[str, str]], memory_bytes: int
) -> None:
    async def scenario() -> None:
        layers: list[CacheLayer[bytes]] = [memory(memory_bytes), disk(8192), blob()]
        async with opened(cache := NLayerCache(layers, max_loads=3)):
            running = [asyncio.create_task(run(cache, number, *call)) for number, call in enumerate(calls)]
            for task in running[::4]:
                await asyncio.sleep(0)
                task.cancel()
            await asyncio.wait(running)
            await cache._tasks.drain()
            for key in "abcde":
                truth = await layers[-1].get(key)
                for layer in layers[:-1]:
                    assert await layer.get(key) in (None, truth)

    async def run(cache: NLayerCache[bytes], number: int, call: str, key: str) -> None:
        if call == "put":
            await cache.put(key, bytes([number]))
        elif call == "get":
            await cache.get(key)
        else:
            await cache.delete(key)

    asyncio.run(scenario())
