"""Concurrency for asyncio: background tasks, locks per key, single flight, bounded fan-out, work in threads.

None of these knows a cache or a server. Each is used by one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Executor
from typing import Any, Generic, ParamSpec, TypeVar
from weakref import WeakValueDictionary

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
V = TypeVar("V")

INLINE_WORK = 2e6
"""Multiplications that run on the event loop: about half a millisecond. A thread hop costs a tenth of one."""


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


class Tasks:
    """Tasks of one owner, held by strong references (the event loop itself holds weak ones only)."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run as a task of its own."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def complete(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work that runs to its end even if its caller is cancelled."""
        return await asyncio.shield(self.start(work))

    async def drain(self) -> None:
        """Wait until nothing runs."""
        while self._running:
            await asyncio.wait(self._running)

    async def cancel(self) -> None:
        """Give up what runs."""
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


class KeyLocks:
    """One lock per key, kept only while somebody holds it or waits for it. Waiters are served in order."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def __getitem__(self, key: str) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())


class Flight(Generic[V]):
    """One load under way: its answer, and whether its key was written meanwhile.

    An invalidated flight still answers those who asked before the write; what it found must not be kept.
    """

    __slots__ = ("answer", "invalidated")

    def __init__(self) -> None:
        self.answer: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self.invalidated = False


class SingleFlight(Generic[V]):
    """Runs ``load`` at most once at a time for each key, in a task of its own.

    ``load`` is given the key, the size that the first caller expects, and the flight, whose ``answer`` it
    sets. It may go on after that (copying what it found); until it ends, later callers get the same answer
    at once. A caller that is cancelled cancels nobody else, and a load that all callers have left goes on
    to its end: it was paid for, and its result is kept. An error goes to all who wait, and is not
    remembered.
    """

    def __init__(self, load: Callable[[str, int, Flight[V]], Awaitable[None]], tasks: Tasks) -> None:
        self._load = load
        self._tasks = tasks
        self._flights: dict[str, Flight[V]] = {}

    def join(self, key: str, size: int) -> asyncio.Future[V]:
        """The answer to come; shared, so wait for it by ``asyncio.shield`` or ``asyncio.wait`` only."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = Flight()
            self._tasks.start(self._fly(key, size, flight))
        return flight.answer

    def invalidate(self, key: str) -> None:
        """Tell that a key was written: who asks from now on does not join the flight under way."""
        flight = self._flights.pop(key, None)
        if flight is not None:
            flight.invalidated = True

    async def _fly(self, key: str, size: int, flight: Flight[V]) -> None:
        try:
            await self._load(key, size, flight)
        except asyncio.CancelledError:
            flight.answer.cancel()
            raise
        except Exception as error:
            if flight.answer.done():
                raise
            flight.answer.set_exception(error)
            flight.answer.exception()  # retrieved, for the case that nobody waits any more
        finally:
            if not flight.invalidated:
                del self._flights[key]


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
