"""Searches that arrive while others are under way travel together: fewer, larger requests cost everyone less.

Nobody waits in an idle system, and nobody waits for long in a busy one: a search leaves at once if none of its kind
is under way, else when one returns, or when it has waited for a few milliseconds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from vectorcache.errors import Overloaded
from vectorcache.index.query import Answer
from vectorcache.vectors.metric import Floats

LINGER = 0.01
"""Seconds that a search waits for company at most."""

MAX_WAITING = 4096
"""Searches of one kind that may wait."""

MAX_TOGETHER = 256
"""Queries that travel together; one search alone may have more."""

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A search that has not left yet. Those that travel together go in the context of the first."""

    vectors: Floats
    answers: asyncio.Future[list[Answer]]
    context: Context = field(default_factory=copy_context)


@dataclass(slots=True)
class _Line:
    """Searches of one kind: how many are under way, those that wait, and when the next ones leave at the latest."""

    under_way: int = 0
    waiting: deque[_Waiting] = field(default_factory=deque)
    departure: asyncio.TimerHandle | None = None


class Together(Generic[K]):
    """Joins searches of the same kind: same version, k and so on.

    Args:
        search: answers the queries (b, d) of a kind, one answer each.
        linger: see ``LINGER``.
    """

    def __init__(
        self, search: Callable[[K, Floats], Awaitable[list[Answer]]], linger: float = LINGER
    ) -> None:
        self._search = search
        self._linger = linger
        self._lines: dict[K, _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def search(self, kind: K, vectors: Floats) -> list[Answer]:
        """One answer for each of the queries (b, d). What fails fails all that travelled together.

        Raises:
            Overloaded: too many wait already.
        """
        line = self._lines.setdefault(kind, _Line())
        if not line.under_way:
            line.under_way += 1
            try:
                return await self._search(kind, vectors)
            finally:
                self._returned(kind, line)
        if len(line.waiting) >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} searches wait already")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(vectors, loop.create_future())
        line.waiting.append(waiting)
        if line.departure is None:
            line.departure = loop.call_later(self._linger, self._depart, kind, line)
        return await waiting.answers

    def _returned(self, kind: K, line: _Line) -> None:
        line.under_way -= 1
        self._depart(kind, line)
        if not line.under_way:
            self._lines.pop(kind, None)

    def _depart(self, kind: K, line: _Line) -> None:
        """Those that wait leave, as many as may travel together; the others follow soon."""
        if line.departure is not None:
            line.departure.cancel()
            line.departure = None
        together = _taken(line.waiting)
        if not together:
            return
        loop = asyncio.get_running_loop()
        if line.waiting:
            line.departure = loop.call_later(self._linger, self._depart, kind, line)
        line.under_way += 1
        task = loop.create_task(self._travel(kind, line, together), context=together[0].context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _travel(self, kind: K, line: _Line, together: list[_Waiting]) -> None:
        try:
            answers = await self._search(kind, np.concatenate([one.vectors for one in together]))
        except Exception as error:  # noqa: BLE001 - whatever it is, it goes to those who wait
            for one in together:
                if not one.answers.done():
                    one.answers.set_exception(error)
                    one.answers.exception()  # retrieved, for the case that its caller gives up right now
        else:
            start = 0
            for one in together:
                stop = start + len(one.vectors)
                if not one.answers.done():
                    one.answers.set_result(answers[start:stop])
                start = stop
        finally:
            self._returned(kind, line)


def _taken(waiting: deque[_Waiting]) -> list[_Waiting]:
    """Those from the head of a line who travel together; callers that gave up are left out."""
    taken: list[_Waiting] = []
    queries = 0
    while waiting:
        one = waiting[0]
        if not one.answers.done():
            queries += len(one.vectors)
            if taken and queries > MAX_TOGETHER:
                break
            taken.append(one)
        waiting.popleft()
    return taken
