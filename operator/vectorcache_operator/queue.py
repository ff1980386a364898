"""A work queue keyed by resource: what is asked for twice is done once, what fails comes back later.

One key is never worked on twice at the same time; what is added to it meanwhile is done after. The queue holds
each key once, so the number of resources bounds it.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from vectorcache_operator.errors import ApiRefused, ApiUnavailable

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays after failures in a row: exponential, bounded, with jitter so that many do not come back at once."""

    first: float = 0.5
    factor: float = 2.0
    most: float = 60.0

    def delay(self, failures: int, rng: random.Random) -> float:
        """Seconds after the n-th failure (from 1): between half and all of the exponential."""
        full = min(self.most, self.first * self.factor ** min(failures - 1, 64))
        return full * rng.uniform(0.5, 1.0)


class Schedule(Generic[K]):
    """Which key is due when: each key once, at its earliest time. Pure; times are numbers passed in."""

    def __init__(self) -> None:
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0

    def add(self, key: K, at: float) -> None:
        """Ask for a key; a later time than one that is asked for already changes nothing."""
        known = self._due.get(key)
        if known is not None and known <= at:
            return
        self._due[key] = at
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, key))

    def discard(self, key: K) -> None:
        """Forget a key."""
        self._due.pop(key, None)

    def next_at(self) -> float | None:
        """When the next key is due."""
        while self._heap:
            at, _, key = self._heap[0]
            if self._due.get(key) == at:
                return at
            heapq.heappop(self._heap)  # it was asked for earlier, or is forgotten
        return None

    def pop(self, now: float) -> K | None:
        """Take the key that has been due longest, if any is due."""
        at = self.next_at()
        if at is None or at > now:
            return None
        _, _, key = heapq.heappop(self._heap)
        del self._due[key]
        return key

    def __len__(self) -> int:
        return len(self._due)


class WorkQueue(Generic[K]):
    """Calls ``work`` for keys, several at once.

    ``work`` returns after how many seconds it wants to be called again, or None. What it raises is logged and
    tried again after a back-off. Of one event loop.
    """

    def __init__(
        self,
        work: Callable[[K], Awaitable[float | None]],
        *,
        clock: Callable[[], float],
        rng: random.Random,
        workers: int = 4,
        backoff: Backoff = Backoff(),
    ) -> None:
        self._work = work
        self._clock = clock
        self._rng = rng
        self._workers = workers
        self._backoff = backoff
        self._schedule: Schedule[K] = Schedule()
        self._running: dict[K, float] = {}
        self._again: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()
        self._log = structlog.get_logger()

    def add(self, key: K, delay: float = 0.0) -> None:
        """Ask for a key to be worked on, in ``delay`` seconds at the latest."""
        at = self._clock() + delay
        if key in self._running:
            self._again[key] = min(at, self._again.get(key, at))
            return
        self._schedule.add(key, at)
        self._changed.set()

    def __len__(self) -> int:
        return len(self._schedule) + len(self._again)

    def longest_running(self) -> float:
        """Seconds since the oldest of the running calls began; 0 where none runs."""
        return max((self._clock() - began for began in self._running.values()), default=0.0)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._worker())

    async def step(self) -> bool:
        """Work on one key that is due; False where none is."""
        key = self._schedule.pop(self._clock())
        if key is None:
            return False
        self._running[key] = self._clock()
        delay: float | None = None
        try:
            delay = await self._work(key)
            self._failures.pop(key, None)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next try may go well
            delay = self._failed(key, error)
        finally:
            del self._running[key]
            if delay is not None:
                self.add(key, delay)
            if key in self._again:
                self._schedule.add(key, self._again.pop(key))
                self._changed.set()
        return True

    async def _worker(self) -> None:
        while True:
            if not await self.step():
                await self._wait()

    async def _wait(self) -> None:
        """Until a key is added or due. Every worker wakes; the first takes the key, the others wait again."""
        self._changed.clear()
        at = self._schedule.next_at()
        timeout = None if at is None else max(0.0, at - self._clock())
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return

    def _failed(self, key: K, error: Exception) -> float:
        count = self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay(count, self._rng)
        expected = isinstance(error, (ApiUnavailable, ApiRefused))
        tell = self._log.warning if expected else self._log.exception
        tell("reconcile failed", key=str(key), failures=count, retry_in=round(delay, 2), error=str(error))
        return delay
