from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from vectorcache.errors import DeadlineExceeded, NotFound, Unavailable
from vectorcache.stores.threads import FileThreads


@pytest.fixture
async def threads() -> AsyncIterator[FileThreads]:
    threads = FileThreads(2)
    yield threads
    await threads.close()


def failing(error: Exception) -> None:
    raise error


async def test_calls_run_off_the_event_loop(threads: FileThreads) -> None:
    assert await threads.run(threading.get_ident) != threading.get_ident()
    assert await threads.run(int, "ff", base=16) == 255


async def test_as_many_calls_run_at_once_as_there_are_threads(threads: FileThreads) -> None:
    pairs = threading.Barrier(2)
    lock = threading.Lock()
    active = most = 0

    def call() -> None:
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        pairs.wait(10)
        with lock:
            active -= 1

    await asyncio.gather(*(threads.run(call) for _ in range(20)))
    assert most == 2


async def test_errors_of_the_system_are_unavailable(threads: FileThreads) -> None:
    with pytest.raises(Unavailable, match="no luck") as caught:
        await threads.run(failing, PermissionError("no luck"))
    assert isinstance(caught.value.__cause__, PermissionError)


@pytest.mark.parametrize("error", [NotFound("blob", "a"), DeadlineExceeded("late"), ValueError("a bug")])
async def test_other_errors_pass(threads: FileThreads, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        await threads.run(failing, error)
    assert caught.value is error


async def test_closing_waits_for_what_runs() -> None:
    threads = FileThreads(1)
    started, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        started.set()
        assert go_on.wait(10)
        done.set()

    running = asyncio.create_task(threads.run(call))
    assert await asyncio.to_thread(started.wait, 10)
    closing = asyncio.create_task(threads.close())
    go_on.set()
    await closing
    assert done.is_set()
    await running
