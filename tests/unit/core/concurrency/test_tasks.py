from __future__ import annotations

import asyncio
import gc

import pytest

from vectorcache.concurrency import KeyLocks, Tasks


async def test_work_goes_on_when_its_caller_is_cancelled() -> None:
    tasks, started, may_end, done = Tasks(), asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        await may_end.wait()
        done.set()

    caller = asyncio.create_task(tasks.complete(work()))
    await started.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    may_end.set()
    await tasks.drain()
    assert done.is_set()


async def test_an_error_reaches_the_caller() -> None:
    async def work() -> None:
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        await Tasks().complete(work())


async def test_draining_waits_for_what_work_starts_too() -> None:
    tasks, ended = Tasks(), []

    async def second() -> None:
        await asyncio.sleep(0)
        ended.append(2)

    async def first() -> None:
        await asyncio.sleep(0)
        tasks.start(second())
        ended.append(1)

    tasks.start(first())
    await tasks.drain()
    assert ended == [1, 2]


async def test_a_lock_is_one_while_it_is_held_and_forgotten_after() -> None:
    locks = KeyLocks()
    async with locks["a"]:
        assert locks["a"].locked()
        assert not locks["b"].locked()
    gc.collect()
    assert not locks["a"].locked()
    assert len(locks._locks) == 0


async def test_what_runs_can_be_given_up() -> None:
    tasks = Tasks()
    running = [tasks.start(asyncio.Event().wait()) for _ in range(2)]
    await tasks.cancel()
    assert all(task.cancelled() for task in running)
    await tasks.drain()
