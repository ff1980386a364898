from __future__ import annotations

import asyncio

import pytest

from vectorcache.concurrency import all_of, each_of
from vectorcache.errors import Unavailable


async def test_results_come_in_the_order_of_the_calls() -> None:
    first, second = asyncio.Event(), asyncio.Event()

    async def waits() -> str:
        second.set()
        await first.wait()
        return "a"

    async def goes_on() -> str:
        await second.wait()
        first.set()
        return "b"

    assert await all_of([waits(), goes_on()]) == ["a", "b"]
    assert await all_of([]) == []


async def test_the_first_error_cancels_the_others_and_is_raised_as_it_is() -> None:
    error, cancelled = Unavailable("down"), asyncio.Event()

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def fails() -> None:
        raise error

    with pytest.raises(Unavailable) as raised:
        await all_of([hangs(), all_of([fails()])])
    assert raised.value is error
    assert cancelled.is_set()


async def test_a_bounded_number_of_calls_is_in_flight() -> None:
    in_flight: set[int] = set()
    most = 0

    async def call(item: int) -> int:
        nonlocal most
        in_flight.add(item)
        most = max(most, len(in_flight))
        await asyncio.sleep(0)
        in_flight.discard(item)
        return 2 * item

    assert await each_of(call, range(20), 3) == [2 * item for item in range(20)]
    assert most == 3
