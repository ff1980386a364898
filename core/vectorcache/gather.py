"""Coroutines side by side, with one error instead of a group of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")


async def all_of(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run side by side; the first error cancels the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def each_of(call: Callable[[S], Coroutine[Any, Any, T]], items: Iterable[S], at_once: int) -> list[T]:
    """Call for each item, for at most so many at the same time; results and errors are as in ``all_of``."""
    gate = asyncio.Semaphore(at_once)

    async def one(item: S) -> T:
        async with gate:
            return await call(item)

    return await all_of([one(item) for item in items])
