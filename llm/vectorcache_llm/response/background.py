"""Work that nobody waits for, in bounded number, and calls that many share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

from vectorcache.concurrency import Flight, SingleFlight, Tasks

V = TypeVar("V")


class Background(Tasks):
    """Tasks of one owner, at most ``limit`` at a time where they are offered rather than started."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def offer(self, work: Callable[[], Coroutine[Any, Any, object]]) -> bool:
        """Run as a task of its own, or, where too many run, not at all."""
        if len(self._running) >= self._limit:
            return False
        self.start(work())
        return True

    async def finish(self, seconds: float) -> None:
        """Wait until nothing runs; what still does after so long is cancelled."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        stragglers = tuple(self._running)
        for task in stragglers:
            task.cancel()
        await asyncio.gather(*stragglers, return_exceptions=True)


class SharedCalls(Generic[V]):
    """Core's ``SingleFlight`` where each call brings its own work: that of the first caller of a key is done."""

    def __init__(self, tasks: Tasks) -> None:
        self._works: dict[str, Callable[[Flight[V]], Awaitable[None]]] = {}
        self._flights: SingleFlight[V] = SingleFlight(self._load, tasks)

    def __contains__(self, key: str) -> bool:
        return key in self._works

    async def join(self, key: str, work: Callable[[Flight[V]], Awaitable[None]]) -> V:
        """The answer that ``work``, or the work under way, sets. A caller that is cancelled cancels nobody else."""
        self._works.setdefault(key, work)
        return await asyncio.shield(self._flights.join(key, 0))

    async def _load(self, key: str, size: int, flight: Flight[V]) -> None:
        try:
            await self._works[key](flight)
        finally:
            del self._works[key]
