"""Runs a coroutine with a deadline, but arms the timer only if it suspends."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


def nothing() -> None:
    """Do nothing."""


async def until(
    work: Coroutine[Any, Any, T], deadline: float, meanwhile: Callable[[], object] = nothing
) -> T:
    """Run a coroutine until a deadline.

    In-process work completes at its first step, where arming and cancelling a timer would cost as much as a lookup.

    Args:
        work: the coroutine.
        deadline: seconds of the event loop's clock.
        meanwhile: called once when the work first suspends, for example while a server handles its request.

    Raises:
        TimeoutError: the work exceeded the deadline.
    """
    try:
        waiting_for = work.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    async with asyncio.timeout_at(deadline):
        return await _rest(work, waiting_for, meanwhile)


@types.coroutine
def _rest(
    work: Coroutine[Any, Any, T], waiting_for: Any, meanwhile: Callable[[], object]
) -> Generator[Any, Any, T]:
    """Continue a suspended coroutine as ``await`` would."""
    problem: Exception | None = None
    try:
        meanwhile()
    except Exception as error:  # noqa: BLE001 - raised after the work has ended
        problem = error
    try:
        while True:
            try:
                sent = yield waiting_for
            except BaseException as error:  # noqa: BLE001 - the coroutine handles cancellation too
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
