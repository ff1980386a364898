"""A work queue of keys that deduplicates requests and retries failures.

A key is never processed by two workers at the same time. If it is added while it is being processed, it is processed
again afterwards. The queue contains each key at most once, so its size is bounded by the number of resources.
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
    """Delays after consecutive failures: exponential and bounded, with jitter to spread the retries of many keys."""

    first: float = 0.5
    factor: float = 2.0
    max_delay: float = 60.0

    def delay(self, failures: int, rng: random.Random) -> float:
        """Return the delay in seconds after the n-th failure (from 1): 50 to 100 % of the exponential."""
        full = min(self.max_delay, self.first * self.factor ** min(failures - 1, 64))
        return full * rng.uniform(0.5, 1.0)


class Schedule(Generic[K]):
    """The due time of each key; a key has at most one. It has no clock: times are passed in."""

    def __init__(self) -> None:
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0

    def add(self, key: K, at: float) -> None:
        """Schedule a key, unless it is already scheduled for an earlier time."""
        known = self._due.get(key)
        if known is not None and known <= at:
            return
        self._due[key] = at
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, key))

    def discard(self, key: K) -> None:
        """Remove a key."""
        self._due.pop(key, None)

    def next_at(self) -> float | None:
        """Return the earliest due time, or None."""
        while self._heap:
            at, _, key = self._heap[0]
            if self._due.get(key) == at:
                return at
            heapq.heappop(self._heap)  # outdated: the key was rescheduled earlier, or removed
        return None

    def pop(self, now: float) -> K | None:
        """Remove and return the key that has been due longest, or return None."""
        at = self.next_at()
        if at is None or at > now:
            return None
        _, _, key = heapq.heappop(self._heap)
        del self._due[key]
        return key

    def __len__(self) -> int:
        return len(self._due)


class WorkQueue(Generic[K]):
    """Calls ``work`` for keys, several at the same time.

    ``work`` returns the seconds until it must be called again for the key, or None. If it raises, the error is logged
    and the key is retried after a back-off. For use in one event loop.
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
        """Request that a key is processed in at most ``delay`` seconds."""
        at = self._clock() + delay
        if key in self._running:
            self._again[key] = min(at, self._again.get(key, at))
            return
        self._schedule.add(key, at)
        self._changed.set()

    def __len__(self) -> int:
        return len(self._schedule) + len(self._again)

    def longest_running(self) -> float:
        """Return the age of the oldest running call in seconds, or 0."""
        return max((self._clock() - began for began in self._running.values()), default=0.0)

    async def run(self) -> None:
        """Process keys until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._worker())

    async def step(self) -> bool:
        """Process one key that is due. Return False if there is none."""
        key = self._schedule.pop(self._clock())
        if key is None:
            return False
        self._running[key] = self._clock()
        delay: float | None = None
        try:
            delay = await self._work(key)
            self._failures.pop(key, None)
        except Exception as error:  # noqa: BLE001 - any error may be temporary
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
        """Wait until a key is added or due. All workers wake up; the first takes the key, and the others wait again."""
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
        log = self._log.warning if expected else self._log.exception
        log("reconcile failed", key=str(key), failures=count, retry_in=round(delay, 2), error=str(error))
        return delay
