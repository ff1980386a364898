"""Work that would hold the event loop for long runs in a thread; what is short runs at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

INLINE_WORK = 2e6
"""Multiplications that run at once: about half a millisecond. A hop to a thread and back costs a tenth of one."""


class Offload:
    """Decides by the amount of work where it runs.

    Args:
        executor: runs what is long; None takes the event loop's own.
        inline_work: see ``INLINE_WORK``.
    """

    def __init__(self, executor: Executor | None = None, inline_work: float = INLINE_WORK) -> None:
        self._executor = executor
        self._inline_work = inline_work

    async def run(self, work: float, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it with these arguments; ``work`` is about how many multiplications it takes."""
        if work <= self._inline_work:
            return call(*args, **kwargs)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: call(*args, **kwargs))
