from __future__ import annotations

import asyncio
import gc

import pytest

from vectorcache.concurrency import Flight, SingleFlight, Tasks
from vectorcache.errors import Unavailable


class Loads:
    """Loads that answer their number when they are let, and end when they are let once more."""

    def __init__(self) -> None:
        self.tasks = Tasks()
        self.flights = SingleFlight(self._load, self.tasks)
        self.started: list[tuple[str, int]] = []
        self.seen: list[Flight[int]] = []
        self.may_answer = asyncio.Event()
        self.may_end = asyncio.Event()
        self.error: Exception | None = None

    async def _load(self, key: str, size: int, flight: Flight[int]) -> None:
        self.started.append((key, size))
        self.seen.append(flight)
        number = len(self.started)
        await self.may_answer.wait()
        if self.error:
            raise self.error
        flight.answer.set_result(number)
        await self.may_end.wait()

    async def get(self, key: str = "a") -> int:
        return await asyncio.shield(self.flights.join(key, 8))

    def callers(self, count: int) -> list[asyncio.Task[int]]:
        return [asyncio.create_task(self.get()) for _ in range(count)]

    async def end(self) -> None:
        self.may_answer.set()
        self.may_end.set()
        await self.tasks.drain()


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_concurrent_callers_share_one_load() -> None:
    loads = Loads()
    callers = loads.callers(100)
    loads.may_answer.set()
    assert await asyncio.gather(*callers) == [1] * 100
    assert loads.started == [("a", 8)]
    await loads.end()


async def test_keys_fly_side_by_side() -> None:
    loads = Loads()
    loads.may_answer.set()
    assert await asyncio.gather(*(loads.get(key) for key in "ab")) == [1, 2]
    await loads.end()


async def test_who_comes_between_the_answer_and_the_end_gets_the_same_answer() -> None:
    loads = Loads()
    loads.may_answer.set()
    assert await loads.get() == await loads.get() == 1
    await loads.end()
    assert await loads.get() == 2
    await loads.end()


async def test_a_cancelled_caller_cancels_nobody_else() -> None:
    loads = Loads()
    callers = loads.callers(3)
    await asyncio.sleep(0)
    callers[0].cancel()
    loads.may_answer.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [1, 1]
    await loads.end()


async def test_a_load_that_all_callers_left_goes_on_to_its_end() -> None:
    loads = Loads()
    callers = loads.callers(2)
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    await loads.end()
    assert loads.seen[0].answer.result() == 1


async def test_an_error_goes_to_all_and_is_not_remembered() -> None:
    loads = Loads()
    loads.error = Unavailable("down")
    callers = loads.callers(3)
    loads.may_answer.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert results == [loads.error] * 3
    loads.error = None
    assert await loads.get() == 2
    await loads.end()


async def test_an_error_that_nobody_waits_for_is_quiet() -> None:
    loads = Loads()
    loads.error = Unavailable("down")
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    (caller,) = loads.callers(1)
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])
    await loads.end()
    loads.seen.clear()
    loads.error = None
    gc.collect()
    assert reported == []


async def test_who_asks_after_a_write_does_not_join_the_flight_before_it() -> None:
    loads = Loads()
    before = loads.callers(1)
    await asyncio.sleep(0)
    loads.flights.invalidate("a")
    after = loads.callers(1)
    loads.may_answer.set()
    assert await asyncio.gather(*before, *after) == [1, 2]
    assert [flight.invalidated for flight in loads.seen] == [True, False]
    await loads.end()


async def test_the_end_of_an_invalidated_flight_does_not_end_the_next_one() -> None:
    loads = Loads()
    first = loads.callers(1)
    await settle()
    loads.flights.invalidate("a")
    first_may_answer, loads.may_answer = loads.may_answer, asyncio.Event()
    second = loads.callers(1)
    await settle()
    first_may_answer.set()
    loads.may_end.set()
    await asyncio.wait(first)
    await settle()
    third = loads.callers(1)
    await settle()
    loads.may_answer.set()
    assert await asyncio.gather(*first, *second, *third) == [1, 2, 2]
    await loads.end()


def test_invalidating_an_unknown_key_does_nothing() -> None:
    SingleFlight[str, int](lambda key, size, flight: asyncio.sleep(0), Tasks()).invalidate("a")


async def test_a_load_that_is_cancelled_leaves_nobody_waiting() -> None:
    loads = Loads()
    (caller,) = loads.callers(1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for task in loads.tasks._running:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_a_load_that_returns_without_an_answer_fails_its_callers() -> None:
    tasks = Tasks()
    flights = SingleFlight[str, int](lambda key, size, flight: asyncio.sleep(0), tasks)
    answers = [flights.join("a", 8), flights.join("a", 8)]
    async with asyncio.timeout(5):
        results = await asyncio.gather(*map(asyncio.shield, answers), return_exceptions=True)
    assert [type(result) for result in results] == [RuntimeError] * 2
    assert str(results[0]) == "the load of 'a' returned without an answer"
    await tasks.drain()
    assert flights.join("a", 8) is not answers[0], "the error is not remembered"
    await tasks.drain()


async def test_an_invalidated_load_that_returns_without_an_answer_fails_its_callers() -> None:
    tasks = Tasks()
    flights = SingleFlight[str, int](lambda key, size, flight: asyncio.sleep(0), tasks)
    answer = flights.join("a", 8)
    flights.invalidate("a")
    await tasks.drain()
    with pytest.raises(RuntimeError, match="'a' returned without an answer"):
        answer.result()


async def test_concurrent_calls_share_a_result_and_an_error() -> None:
    gate, calls = asyncio.Event(), 0

    async def call(key: int) -> str:
        nonlocal calls
        calls += 1
        await gate.wait()
        if key < 0:
            raise ValueError("negative")
        return f"answer {key}"

    flights = SingleFlight.of(call, Tasks())
    waiting = [flights.join(key) for key in (1, 1, -1, -1)]
    gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert results[:2] == ["answer 1"] * 2
    assert [str(error) for error in results[2:]] == ["negative"] * 2
    assert calls == 2
    assert await flights.join(1) == "answer 1"
    assert calls == 3
