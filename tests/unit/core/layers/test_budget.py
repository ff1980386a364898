from __future__ import annotations

import asyncio
import random

import pytest

from vectorcache.errors import InvalidInput
from vectorcache.layers.budget import Budget


class Load:
    """Holds a part of a budget from its admission until it is told to end."""

    def __init__(self, budget: Budget, size: int) -> None:
        self.admitted = False
        self.end = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self._run(budget, size))

    async def _run(self, budget: Budget, size: int) -> None:
        async with budget.reserve(size):
            self.admitted = True
            await self.end.wait()

    async def finish(self) -> None:
        self.end.set()
        await self.task
        await settle()

    async def cancel(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        await settle()


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def start(budget: Budget, *sizes: int) -> list[Load]:
    loads = []
    for size in sizes:
        loads.append(Load(budget, size))
        await settle()
    return loads


def admitted(loads: list[Load]) -> list[bool]:
    return [load.admitted for load in loads]


async def finish(loads: list[Load]) -> None:
    for load in loads:
        await load.finish()


@pytest.mark.parametrize(("loads", "size", "field"), [(0, 1, "max_loads"), (1, 0, "max_bytes")])
def test_bounds_are_positive(loads: int, size: int, field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        Budget(loads, size)


async def test_the_number_is_bounded() -> None:
    budget = Budget(2, 100)
    loads = await start(budget, 1, 1, 1)
    assert admitted(loads) == [True, True, False]
    await loads[1].finish()
    assert admitted(loads) == [True, True, True]
    await finish(loads)
    assert (budget.loads, budget.bytes) == (0, 0)


async def test_the_bytes_are_bounded() -> None:
    budget = Budget(10, 100)
    loads = await start(budget, 60, 40, 1)
    assert admitted(loads) == [True, True, False]
    assert budget.bytes == 100
    await finish(loads)


async def test_what_is_larger_than_everything_is_admitted_alone() -> None:
    loads = await start(Budget(10, 100), 10, 500, 10)
    assert admitted(loads) == [True, False, False]
    await loads[0].finish()
    assert admitted(loads) == [True, True, False]
    await finish(loads)


async def test_waiting_loads_are_admitted_in_order() -> None:
    loads = await start(Budget(10, 100), 60, 50, 10)
    assert admitted(loads) == [True, False, False]  # the 10 would fit, but the 50 has waited longer
    await loads[0].finish()
    assert admitted(loads) == [True, True, True]
    await finish(loads)


async def test_a_cancelled_head_of_the_queue_lets_the_next_pass() -> None:
    budget = Budget(10, 100)
    loads = await start(budget, 60, 50, 10)
    await loads[1].cancel()
    assert admitted(loads) == [True, False, True]
    await finish([loads[0], loads[2]])
    assert (budget.loads, budget.bytes) == (0, 0)


async def test_admitted_and_cancelled_in_one_moment_gives_everything_back() -> None:
    budget = Budget(1, 100)
    async with budget.reserve(1):
        loads = await start(budget, 1, 1)
    assert budget.loads == 1  # the end of the block has admitted the first load, which has not run yet
    await loads[0].cancel()
    assert admitted(loads) == [False, True]
    await loads[1].finish()
    assert (budget.loads, budget.bytes) == (0, 0)


async def test_random_loads_with_cancellations_hold_the_bounds_and_all_end() -> None:
    rng = random.Random(7)
    budget = Budget(4, 100)
    most = 0

    async def load(size: int) -> None:
        nonlocal most
        async with budget.reserve(size):
            assert budget.loads <= 4
            assert budget.bytes <= 100 or budget.loads == 1
            most = max(most, budget.loads)
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)

    tasks = [asyncio.create_task(load(rng.randrange(1, 120))) for _ in range(300)]
    for task in rng.sample(tasks, 100):
        await asyncio.sleep(0)
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results)
    assert (budget.loads, budget.bytes) == (0, 0)
    assert most > 1
