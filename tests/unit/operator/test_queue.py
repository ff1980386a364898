from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from tests.support.waiting import until

from vectorcache_operator.errors import ApiUnavailable
from vectorcache_operator.queue import Backoff, Schedule, WorkQueue


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class HighRandom(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


class TestSchedule:
    def test_each_key_has_its_earliest_time(self) -> None:
        schedule: Schedule[str] = Schedule()
        schedule.add("a", 5.0)
        schedule.add("a", 3.0)
        schedule.add("a", 9.0)
        assert (len(schedule), schedule.next_at()) == (1, 3.0)
        assert schedule.pop(2.9) is None
        assert schedule.pop(3.0) == "a"
        assert schedule.pop(100.0) is None
        assert schedule.next_at() is None

    def test_the_key_due_longest_comes_first(self) -> None:
        schedule: Schedule[str] = Schedule()
        for key, at in (("late", 3.0), ("early", 1.0), ("middle", 2.0), ("also early", 1.0)):
            schedule.add(key, at)
        assert [schedule.pop(5.0) for _ in range(4)] == ["early", "also early", "middle", "late"]

    def test_a_discarded_key_is_not_returned(self) -> None:
        schedule: Schedule[str] = Schedule()
        schedule.add("a", 1.0)
        schedule.discard("a")
        assert schedule.pop(5.0) is None
        schedule.add("a", 4.0)
        assert schedule.next_at() == 4.0

    def test_against_a_plain_list(self) -> None:
        rng = random.Random(5)
        schedule: Schedule[int] = Schedule()
        plain: dict[int, float] = {}
        for now in range(2000):
            key, at = rng.randrange(20), now + rng.random() * 10
            schedule.add(key, at)
            plain[key] = min(at, plain.get(key, at))
            if rng.random() < 0.7:
                due = [key for key, when in plain.items() if when <= now]
                expected = min(due, key=lambda one: plain[one]) if due else None
                assert schedule.pop(now) == expected
                if expected is not None:
                    del plain[expected]
            assert len(schedule) == len(plain)


def test_backoff_grows_is_bounded_and_jitters() -> None:
    backoff = Backoff(first=0.5, factor=2.0, max_delay=60.0)
    assert [backoff.delay(n, HighRandom()) for n in (1, 2, 3, 8, 10_000)] == [0.5, 1.0, 2.0, 60.0, 60.0]
    delays = {backoff.delay(3, random.Random(seed)) for seed in range(50)}
    assert len(delays) == 50
    assert all(1.0 <= delay <= 2.0 for delay in delays)


def queue_of(work: object, clock: Clock, workers: int = 2) -> WorkQueue[str]:
    return WorkQueue(work, clock=clock, rng=HighRandom(), workers=workers)  # type: ignore[arg-type]


async def test_a_key_added_twice_is_processed_once() -> None:
    done: list[str] = []

    async def work(key: str) -> None:
        done.append(key)

    queue = queue_of(work, Clock())
    for key in "aabab":
        queue.add(key)
    while await queue.step():
        pass
    assert done == ["a", "b"]


async def test_a_key_added_while_it_is_processed_is_processed_afterwards() -> None:
    running: Counter[str] = Counter()
    done: list[str] = []
    go = asyncio.Event()

    async def work(key: str) -> None:
        running[key] += 1
        assert running[key] == 1
        await go.wait()
        running[key] -= 1
        done.append(key)

    queue = queue_of(work, Clock(), workers=4)
    task = asyncio.create_task(queue.run())
    queue.add("a")
    await until(lambda: running["a"] == 1)
    queue.add("a")
    queue.add("a")
    queue.add("b")
    await until(lambda: running["b"] == 1)
    assert len(queue) == 1
    go.set()
    await until(lambda: sorted(done) == ["a", "a", "b"])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_backoff_grows_until_a_success() -> None:
    clock, failing, calls = Clock(), True, 0

    async def work(_key: str) -> None:
        nonlocal calls
        calls += 1
        if failing:
            raise ApiUnavailable("not now")

    queue = queue_of(work, clock)
    queue.add("a")
    assert await queue.step()
    waits = []
    for _ in range(9):
        before = clock.now
        while not await queue.step():
            clock.now += 0.25
        waits.append(clock.now - before)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    failing = False
    clock.now += 60.0
    assert await queue.step()
    clock.now += 1000.0
    assert not await queue.step()
    failing = True
    queue.add("a")
    assert await queue.step()
    clock.now += 0.5
    assert await queue.step()
    assert calls == 13


async def test_an_event_does_not_wait_for_the_backoff() -> None:
    clock, calls = Clock(), 0

    async def work(_key: str) -> None:
        nonlocal calls
        calls += 1
        raise ApiUnavailable("not now")

    queue = queue_of(work, clock)
    queue.add("a")
    await queue.step()
    queue.add("a")
    assert await queue.step()
    assert calls == 2


async def test_an_unexpected_error_is_retried() -> None:
    clock, calls = Clock(), 0

    async def work(_key: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise KeyError("a mistake of ours")

    queue = queue_of(work, clock)
    queue.add("a")
    await queue.step()
    clock.now += 0.5
    assert await queue.step()
    assert calls == 2


async def test_work_returns_its_requeue_delay() -> None:
    clock, calls = Clock(), 0

    async def work(_key: str) -> float:
        nonlocal calls
        calls += 1
        return 30.0

    queue = queue_of(work, clock)
    queue.add("a")
    await queue.step()
    clock.now += 29.0
    assert not await queue.step()
    clock.now += 1.0
    assert await queue.step()
    assert calls == 2


async def test_workers_wake_up_for_delayed_keys() -> None:
    done = asyncio.Event()

    async def work(_key: str) -> None:
        done.set()

    loop = asyncio.get_running_loop()
    queue: WorkQueue[str] = WorkQueue(work, clock=loop.time, rng=random.Random(1))
    task = asyncio.create_task(queue.run())
    queue.add("a", delay=0.05)
    began = loop.time()
    async with asyncio.timeout(5):
        await done.wait()
    assert loop.time() - began >= 0.04
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_age_of_the_oldest_call() -> None:
    clock, go = Clock(), asyncio.Event()

    async def work(_key: str) -> None:
        await go.wait()

    queue = queue_of(work, clock)
    assert queue.longest_running() == 0.0
    task = asyncio.create_task(queue.run())
    queue.add("a")
    await until(lambda: len(queue) == 0)
    clock.now += 400.0
    assert queue.longest_running() == pytest.approx(400.0)
    go.set()
    await until(lambda: queue.longest_running() == 0.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
