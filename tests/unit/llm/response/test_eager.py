from __future__ import annotations

import asyncio

import pytest

from vectorcache_llm.response.eager import until


def soon(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_work_that_never_suspends_completes_at_its_first_step() -> None:
    async def work() -> int:
        return 7

    assert await until(work(), soon(-1)) == 7


async def test_suspended_work_continues() -> None:
    gate = asyncio.Event()
    seen = []

    async def work() -> str:
        seen.append("begun")
        await gate.wait()
        seen.append("half")
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        return "done"

    asyncio.get_running_loop().call_soon(gate.set)
    assert await until(work(), soon()) == "done"
    assert seen == ["begun", "half"]


async def test_late_work_is_cancelled() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(TimeoutError):
        await until(work(), soon(0.01))
    assert ended == [True]


@pytest.mark.parametrize("waits", [False, True])
async def test_errors_are_raised(waits: bool) -> None:
    async def work() -> None:
        if waits:
            await asyncio.sleep(0)
        raise KeyError("of the work")

    with pytest.raises(KeyError, match="of the work"):
        await until(work(), soon())


async def test_cancellation_reaches_the_work() -> None:
    heard = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard.append(True)
            raise

    task = asyncio.create_task(until(work(), soon()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard == [True]


@pytest.mark.parametrize(("waits", "expected"), [(False, ["asked"]), (True, ["asked", "meanwhile", "done"])])
async def test_meanwhile_runs_only_if_the_work_suspends(waits: bool, expected: list[str]) -> None:
    seen: list[str] = []

    async def work() -> None:
        seen.append("asked")
        if waits:
            await asyncio.sleep(0)
            seen.append("done")

    await until(work(), soon(), lambda: seen.append("meanwhile"))
    assert seen == expected


async def test_an_error_of_meanwhile_is_raised_after_the_work() -> None:
    """If the work were cancelled, its connection would keep an answer that was never read."""
    ended = []

    async def work() -> None:
        await asyncio.sleep(0)
        ended.append(True)

    with pytest.raises(ZeroDivisionError):
        await until(work(), soon(), lambda: 1 // 0)
    assert ended == [True]
