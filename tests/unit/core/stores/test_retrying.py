from __future__ import annotations

import asyncio
import random

import pytest
from tests.support.core.blob_store_contract import BlobStoreContract
from tests.support.core.flaky_blob_store import Fault, FlakyBlobStore

from vectorcache.errors import Conflict, DeadlineExceeded, InvalidInput, NotFound, Unavailable
from vectorcache.stores import BlobStore, RetryCounts, RetryingBlobStore, RetryPolicy, retrying

LOST = Fault.LOST_REQUEST
QUICK = RetryPolicy(attempts=3, attempt_timeout=0.02, deadline=30.0)


class Sleeper:
    """Sleeps in no time, and remembers for how long."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


class HighestJitter(random.Random):
    """Always the upper bound."""

    def uniform(self, a: float, b: float) -> float:
        return b


def retried(
    inner: FlakyBlobStore, policy: RetryPolicy | None = None, sleep: Sleeper | None = None
) -> RetryingBlobStore:
    return RetryingBlobStore(inner, policy, sleep=sleep or Sleeper(), rng=random.Random(0))


class TestRetriedThroughFaults(BlobStoreContract):
    """The contract holds while requests and answers of the first calls get lost."""

    @pytest.fixture(params=[LOST, Fault.LOST_ANSWER], ids=["requests lost", "answers lost"])
    def store(self, request: pytest.FixtureRequest) -> BlobStore:
        return retried(FlakyBlobStore(request.param, LOST, Fault.NONE, LOST))


async def test_tries_again_until_it_works() -> None:
    inner = FlakyBlobStore(LOST, LOST, LOST, LOST)
    sleep = Sleeper()
    store = RetryingBlobStore(inner, sleep=sleep, rng=random.Random(0))
    await store.put("a", b"x")
    assert inner.calls == ["put"] * 5
    assert len(sleep.slept) == 4
    assert store.counts == RetryCounts(calls=1, retries=4)


async def test_gives_up_after_the_last_attempt() -> None:
    inner = FlakyBlobStore(LOST, LOST, LOST, LOST)
    store = retried(inner, RetryPolicy(attempts=3))
    with pytest.raises(Unavailable, match="the request was lost"):
        await store.head("a")
    assert inner.calls == ["head"] * 3
    assert store.counts == RetryCounts(calls=1, retries=2, failures=1)


async def test_back_off_doubles_up_to_its_bound() -> None:
    sleep = Sleeper()
    policy = RetryPolicy(attempts=7, first_wait=0.1, max_wait=1.0)
    store = RetryingBlobStore(FlakyBlobStore(*[LOST] * 6), policy, sleep=sleep, rng=HighestJitter())
    await store.head("a")
    assert sleep.slept == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_jitter_is_full() -> None:
    rng = random.Random(1)
    policy = RetryPolicy(first_wait=1.0, max_wait=8.0)
    waits = [policy.wait(3, rng) for _ in range(1000)]
    assert 0 <= min(waits) < 0.1
    assert 3.9 < max(waits) <= 4.0
    assert sum(waits) / len(waits) == pytest.approx(2.0, abs=0.1)


def test_late_attempts_do_not_overflow() -> None:
    assert RetryPolicy(max_wait=2.0).wait(100_000, HighestJitter()) == 2.0


@pytest.mark.parametrize("field", ["attempts", "attempt_timeout", "deadline", "first_wait", "max_wait"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_policy_has_bounds(field: str, value: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        RetryPolicy(**{field: value})
    assert caught.value.field == field


async def test_what_is_permanent_is_not_tried_again() -> None:
    inner = FlakyBlobStore()
    store = retried(inner)
    await store.put("a", b"x")
    with pytest.raises(NotFound):
        await store.get("b")
    with pytest.raises(Conflict):
        await store.put("a", b"y", if_absent=True)
    with pytest.raises(InvalidInput):
        await store.get("a", offset=-1)
    assert inner.calls == ["put", "get", "put", "get"]
    assert store.counts == RetryCounts(calls=4)


async def test_an_attempt_without_an_answer_is_ended_and_tried_again() -> None:
    inner = FlakyBlobStore(Fault.SILENCE, Fault.SILENCE)
    store = retried(inner, QUICK)
    assert await store.head("a") is None
    assert store.counts == RetryCounts(calls=1, retries=2, timeouts=2)


async def test_the_last_attempt_without_an_answer_exceeds_the_deadline() -> None:
    store = retried(FlakyBlobStore(*[Fault.SILENCE] * 3), QUICK)
    with pytest.raises(DeadlineExceeded, match=r"get a/b: not finished within 0.02 s"):
        await store.get("a/b")
    assert store.counts == RetryCounts(calls=1, retries=2, timeouts=3, failures=1)


async def test_the_deadline_bounds_attempts_and_waits() -> None:
    inner = FlakyBlobStore(*[LOST] * 1000)
    policy = RetryPolicy(attempts=1000, deadline=0.05)

    async def forever(seconds: float) -> None:
        await asyncio.Event().wait()

    store = RetryingBlobStore(inner, policy, sleep=forever)
    with pytest.raises(DeadlineExceeded, match=r"head a: not finished within 0.05 s"):
        await store.head("a")
    assert inner.calls == ["head"]
    assert store.counts == RetryCounts(calls=1, retries=1, timeouts=1, failures=1)


async def test_a_cancelled_caller_is_not_retried() -> None:
    inner = FlakyBlobStore(Fault.SILENCE)
    store = retried(inner)
    call = asyncio.create_task(store.head("a"))
    await inner.called.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert inner.calls == ["head"]
    assert store.counts == RetryCounts(calls=1)


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.SILENCE_AFTER])
async def test_a_write_that_was_done_is_no_conflict(fault: Fault) -> None:
    inner = FlakyBlobStore(Fault.NONE, fault)
    store = retried(inner, QUICK)
    seen = await store.put("a", b"1")
    etag = await store.put("a", b"2", if_match=seen)
    assert (await store.get("a")).etag == etag
    assert inner.calls == ["put", "put", "put", "get", "get"]


async def test_a_creation_that_was_done_is_no_conflict() -> None:
    store = retried(FlakyBlobStore(Fault.LOST_ANSWER))
    etag = await store.put("a", b"1", if_absent=True)
    assert (await store.get("a")).etag == etag


async def test_a_conflict_with_another_writer_stays_one() -> None:
    inner = FlakyBlobStore(Fault.NONE, LOST)
    store = retried(inner)
    seen = await store.put("a", b"1")
    await super(FlakyBlobStore, inner).put("a", b"theirs")
    with pytest.raises(Conflict):
        await store.put("a", b"ours", if_match=seen)
    assert inner.calls == ["put", "put", "put", "get"]
    assert (await store.get("a")).data == b"theirs"


async def test_a_conflict_about_a_blob_that_vanished_stays_one() -> None:
    inner = FlakyBlobStore(Fault.NONE, LOST)
    store = retried(inner)
    seen = await store.put("a", b"1")
    await super(FlakyBlobStore, inner).delete("a")
    with pytest.raises(Conflict):
        await store.put("a", b"2", if_match=seen)


async def test_reading_back_is_tried_again_too() -> None:
    inner = FlakyBlobStore(Fault.LOST_ANSWER, Fault.NONE, LOST)
    store = retried(inner)
    etag = await store.put("a", b"1", if_absent=True)
    assert (await store.head("a")).etag == etag
    assert inner.calls == ["put", "put", "get", "put", "get", "head"]


async def test_a_first_conflict_is_believed() -> None:
    inner = FlakyBlobStore()
    store = retried(inner)
    await store.put("a", b"same")
    with pytest.raises(Conflict):
        await store.put("a", b"same", if_absent=True)
    assert "get" not in inner.calls


async def test_a_listing_goes_on_where_it_broke_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "LIST_PAGE", 2)
    inner = FlakyBlobStore()
    keys = [f"k/{i}" for i in range(7)]
    for key in keys:
        await inner.put(key, b"")
    inner.calls.clear()
    inner.faults = [Fault.BROKEN_PAGE, LOST]
    store = retried(inner)
    assert [info.key async for info in store.list("k/")] == keys
    assert inner.calls == ["list"] * 3
    assert store.counts.retries == 2


async def test_a_listing_gives_up_too() -> None:
    store = retried(FlakyBlobStore(*[LOST] * 3), RetryPolicy(attempts=3))
    with pytest.raises(Unavailable):
        _ = [info async for info in store.list()]
    assert store.counts == RetryCounts(calls=1, retries=2, failures=1)


async def test_a_slow_reader_of_a_listing_is_in_time() -> None:
    inner = FlakyBlobStore()
    for key in "abc":
        await inner.put(key, b"")
    store = retried(inner, RetryPolicy(deadline=0.01, attempt_timeout=0.01))
    loop = asyncio.get_running_loop()
    seen = []
    async for info in store.list():
        seen.append(info.key)
        deadline_passed = asyncio.Event()
        loop.call_later(0.012, deadline_passed.set)
        await deadline_passed.wait()
    assert seen == ["a", "b", "c"]


async def test_concurrent_calls_do_not_mix_their_attempts() -> None:
    store = retried(FlakyBlobStore(*[LOST, Fault.NONE] * 20), RetryPolicy(attempts=50))
    await asyncio.gather(*(store.put(f"k{i}", b"%d" % i) for i in range(30)))
    assert [(await store.get(f"k{i}")).data for i in range(30)] == [b"%d" % i for i in range(30)]
    assert store.counts == RetryCounts(calls=60, retries=20)


async def test_closes_the_inner_store() -> None:
    inner = FlakyBlobStore()
    async with retried(inner):
        pass
    assert inner.closed == 1
