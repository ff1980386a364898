"""Single flight: concurrent loads of one key are one load."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from vectorcache.layers.tasks import Tasks

V = TypeVar("V")


class Flight(Generic[V]):
    """One load under way: its answer, and whether its key was written meanwhile.

    An overtaken flight still answers those who asked before the write; what it found must not be kept.
    """

    __slots__ = ("answer", "overtaken")

    def __init__(self) -> None:
        self.answer: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self.overtaken = False


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

    def overtake(self, key: str) -> None:
        """Tell that a key was written: who asks from now on does not join the flight under way."""
        flight = self._flights.pop(key, None)
        if flight is not None:
            flight.overtaken = True

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
            if not flight.overtaken:
                del self._flights[key]
