"""Concurrency for asyncio: background tasks, locks per key, single flight, bounded fan-out, work in threads.

These classes do not depend on caches or servers. Each object is used by one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable
from concurrent.futures import Executor
from typing import Any, Generic, ParamSpec, Self, TypeVar
from weakref import WeakValueDictionary

K = TypeVar("K", bound=Hashable)
P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
V = TypeVar("V")

INLINE_WORK = 2e6
"""Maximum work in multiplications that runs on the event loop: about 0.5 ms. A switch to a thread costs 0.1 ms."""


async def all_of(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines concurrently and return their results. The first error cancels the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def each_of(call: Callable[[S], Coroutine[Any, Any, T]], items: Iterable[S], at_once: int) -> list[T]:
    """Call for each item, at most ``at_once`` calls at a time. Results and errors are those of ``all_of``."""
    gate = asyncio.Semaphore(at_once)

    async def one(item: S) -> T:
        async with gate:
            return await call(item)

    return await all_of([one(item) for item in items])


class Tasks:
    """Tasks of one owner, held by strong references (the event loop holds only weak ones)."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine in a new task."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def complete(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to completion and return its result, even if the caller is cancelled."""
        return await asyncio.shield(self.start(work))

    async def drain(self) -> None:
        """Wait until no task is running."""
        while self._running:
            await asyncio.wait(self._running)

    async def cancel(self) -> None:
        """Cancel the running tasks and wait for them."""
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


class KeyLocks:
    """One lock per key, which exists only while a task holds it or waits for it. Waiters are served in order."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def __getitem__(self, key: str) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())


class Flight(Generic[V]):
    """One load in progress: its answer, and whether its key was written since it started.

    An invalidated flight still answers the callers that joined it before the write, but its value must not be cached.
    """

    __slots__ = ("answer", "invalidated")

    def __init__(self) -> None:
        self.answer: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self.invalidated = False


class SingleFlight(Generic[K, V]):
    """Concurrent callers of a key share one call of ``load``, which runs in a background task.

    ``load`` gets the key, the size that the first caller expects, and the flight, whose ``answer`` it sets. It may
    continue after that, for example to copy the value:

    1. A joins the key. No flight is in progress, so one starts and calls ``load``.
    2. B joins the key and waits for the same answer.
    3. ``load`` sets the answer, and A and B return. The flight is still in progress, and C gets its answer at once.
    4. ``load`` returns and the flight ends. The next caller starts a new one.

    If ``load`` raises before it sets the answer, all waiting callers get the error; it is not cached. If it returns
    without an answer, they get a ``RuntimeError``. A cancelled caller does not cancel the load, even if no other caller
    waits for it: its result is still cached.

    A write of the key while a flight is in progress invalidates the flight:

    1. ``load`` has read the old value.
    2. The writer stores the new value and calls ``invalidate``, which removes the flight and marks it.
    3. D joins the key after the write. It starts a new flight, which reads the new value.
    4. The old flight is marked, so ``load`` must not cache its value, and its end does not remove the new flight.
    """

    def __init__(self, load: Callable[[K, int, Flight[V]], Awaitable[None]], tasks: Tasks) -> None:
        self._load = load
        self._tasks = tasks
        self._flights: dict[K, Flight[V]] = {}

    @classmethod
    def of(cls, call: Callable[[K], Awaitable[V]], tasks: Tasks) -> Self:
        """Share calls whose result is the answer."""

        async def load(key: K, _: int, flight: Flight[V]) -> None:
            flight.answer.set_result(await call(key))

        return cls(load, tasks)

    def join(self, key: K, size: int = 0) -> asyncio.Future[V]:
        """Return the future answer. It is shared, so await it only through ``asyncio.shield`` or ``asyncio.wait``."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = Flight()
            self._tasks.start(self._run(key, size, flight))
        return flight.answer

    def invalidate(self, key: K) -> None:
        """Mark the flight of a key that was written, so that later callers do not join it."""
        flight = self._flights.pop(key, None)
        if flight is not None:
            flight.invalidated = True

    async def _run(self, key: K, size: int, flight: Flight[V]) -> None:
        try:
            await self._load(key, size, flight)
        except asyncio.CancelledError:
            flight.answer.cancel()
            raise
        except Exception as error:
            if flight.answer.done():
                raise
            _fail(flight.answer, error)
        else:
            if not flight.answer.done():
                _fail(flight.answer, RuntimeError(f"the load of {key!r} returned without an answer"))
        finally:
            if not flight.invalidated:
                del self._flights[key]


def _fail(answer: asyncio.Future[V], error: Exception) -> None:
    answer.set_exception(error)
    answer.exception()  # marked as retrieved, in case no caller waits for it any more


class Offload:
    """Runs short work on the event loop and long work in a thread.

    Args:
        executor: runs long work; None takes the default executor of the event loop.
        inline_work: see ``INLINE_WORK``.
    """

    def __init__(self, executor: Executor | None = None, inline_work: float = INLINE_WORK) -> None:
        self._executor = executor
        self._inline_work = inline_work

    async def run(self, work: float, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function and return its result. ``work`` is its approximate cost in multiplications."""
        if work <= self._inline_work:
            return call(*args, **kwargs)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: call(*args, **kwargs))
