"""A bounded number of background tasks, and calls that several callers share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

from vectorcache.concurrency import Flight, SingleFlight, Tasks

V = TypeVar("V")


class Background(Tasks):
    """The tasks of one owner. ``offer`` starts none while ``limit`` or more are running; ``start`` always does."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def offer(self, work: Callable[[], Coroutine[Any, Any, object]]) -> bool:
        """Run ``work`` as a task and return True, or return False if too many tasks are running."""
        if len(self._running) >= self._limit:
            return False
        self.start(work())
        return True

    async def finish(self, seconds: float) -> None:
        """Wait for all tasks, and cancel those that are still running after ``seconds``."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        stragglers = tuple(self._running)
        for task in stragglers:
            task.cancel()
        await asyncio.gather(*stragglers, return_exceptions=True)


class SharedCalls(Generic[V]):
    """A ``SingleFlight`` in which each caller passes its own work. The work of a key's first caller runs."""

    def __init__(self, tasks: Tasks) -> None:
        self._works: dict[str, Callable[[Flight[V]], Awaitable[None]]] = {}
        self._flights: SingleFlight[str, V] = SingleFlight(self._load, tasks)

    def __contains__(self, key: str) -> bool:
        return key in self._works

    async def join(self, key: str, work: Callable[[Flight[V]], Awaitable[None]]) -> V:
        """Return the answer of a key's running work, or of ``work``. Cancelling a caller does not cancel the work."""
        self._works.setdefault(key, work)
        return await asyncio.shield(self._flights.join(key, 0))

    async def _load(self, key: str, size: int, flight: Flight[V]) -> None:
        try:
            await self._works[key](flight)
        finally:
            del self._works[key]
