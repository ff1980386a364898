"""Awaiting what mostly does not wait: without a timer, unless it comes to that."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


def nothing() -> None:
    """There is nothing to be done meanwhile."""


async def until(work: Coroutine[Any, Any, T], ends: float, meanwhile: Callable[[], object] = nothing) -> T:
    """Run a coroutine that ends by ``ends``, of the event loop's clock.

    What is in process answers at its first step; setting a timer and taking it back would cost as much as a look-up.

    Args:
        work: what to run.
        ends: seconds.
        meanwhile: what is to be done anyway, where the work waits for somebody: for a server, after asking it.

    Raises:
        TimeoutError: it did not end by then.
    """
    try:
        waiting_for = work.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    async with asyncio.timeout_at(ends):
        return await _rest(work, waiting_for, meanwhile)


@types.coroutine
def _rest(
    work: Coroutine[Any, Any, T], waiting_for: Any, meanwhile: Callable[[], object]
) -> Generator[Any, Any, T]:
    """Go on with a coroutine that waits for something, as ``await`` would."""
    problem: Exception | None = None
    try:
        meanwhile()
    except Exception as error:  # noqa: BLE001 - the work comes to its end first
        problem = error
    try:
        while True:
            try:
                sent = yield waiting_for
            except BaseException as error:  # noqa: BLE001 - a cancellation, too, is the coroutine's to hear
                waiting_for = work.throw(error)
            else:
                waiting_for = work.send(sent)
    except StopIteration as done:
        if problem is not None:
            raise problem from None
        value: T = done.value
        return value
    finally:
        work.close()
