"""Micro-batching: searches of one kind that arrive while others are in flight are sent as one request.

An idle system adds no delay: a search is sent at once if none of its kind is in flight. Otherwise it is queued, and the
queue is flushed when a request returns or when its oldest search has waited for ``linger`` seconds.
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
"""Maximum time in seconds that a search waits to be batched with others."""

MAX_WAITING = 4096
"""Maximum number of queued searches of one kind."""

MAX_BATCH = 256
"""Maximum number of queries in a batch. A single search may have more, and is then sent alone."""

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A queued search. A batch runs in the context (request id, logging) of its first search."""

    vectors: Floats
    answers: asyncio.Future[list[Answer]]
    context: Context = field(default_factory=copy_context)


@dataclass(slots=True)
class _Queue:
    """Searches of one kind: the number of requests in flight, queued searches, and the timer that flushes them."""

    in_flight: int = 0
    waiting: deque[_Waiting] = field(default_factory=deque)
    timer: asyncio.TimerHandle | None = None


class Batcher(Generic[K]):
    """Batching of searches of the same kind, that is, with the same version and options.

    Args:
        search: answers the queries (b, d) of a kind, one answer per query.
        linger: see ``LINGER``.
    """

    def __init__(
        self, search: Callable[[K, Floats], Awaitable[list[Answer]]], linger: float = LINGER
    ) -> None:
        self._search = search
        self._linger = linger
        self._queues: dict[K, _Queue] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def search(self, kind: K, vectors: Floats) -> list[Answer]:
        """Return one answer for each of the queries (b, d). An error fails all searches of the batch.

        Raises:
            Overloaded: the queue is full.
        """
        queue = self._queues.setdefault(kind, _Queue())
        if not queue.in_flight:
            queue.in_flight += 1
            try:
                return await self._search(kind, vectors)
            finally:
                self._returned(kind, queue)
        if len(queue.waiting) >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} searches are already queued")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(vectors, loop.create_future())
        queue.waiting.append(waiting)
        if queue.timer is None:
            queue.timer = loop.call_later(self._linger, self._flush, kind, queue)
        return await waiting.answers

    def _returned(self, kind: K, queue: _Queue) -> None:
        queue.in_flight -= 1
        self._flush(kind, queue)
        if not queue.in_flight:
            self._queues.pop(kind, None)

    def _flush(self, kind: K, queue: _Queue) -> None:
        """Send one batch of queued searches. If more are left, start the timer again for them."""
        if queue.timer is not None:
            queue.timer.cancel()
            queue.timer = None
        batch = _take_batch(queue.waiting)
        if not batch:
            return
        loop = asyncio.get_running_loop()
        if queue.waiting:
            queue.timer = loop.call_later(self._linger, self._flush, kind, queue)
        queue.in_flight += 1
        task = loop.create_task(self._send(kind, queue, batch), context=batch[0].context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, kind: K, queue: _Queue, batch: list[_Waiting]) -> None:
        try:
            answers = await self._search(kind, np.concatenate([one.vectors for one in batch]))
        except Exception as error:  # noqa: BLE001 - it is raised to every caller of the batch
            for one in batch:
                if not one.answers.done():
                    one.answers.set_exception(error)
                    one.answers.exception()  # marked as retrieved, in case the caller is cancelled right now
        else:
            start = 0
            for one in batch:
                stop = start + len(one.vectors)
                if not one.answers.done():
                    one.answers.set_result(answers[start:stop])
                start = stop
        finally:
            self._returned(kind, queue)


def _take_batch(waiting: deque[_Waiting]) -> list[_Waiting]:
    """Take searches from the head of a queue, up to ``MAX_BATCH`` queries. Cancelled ones are dropped."""
    taken: list[_Waiting] = []
    queries = 0
    while waiting:
        one = waiting[0]
        if not one.answers.done():
            queries += len(one.vectors)
            if taken and queries > MAX_BATCH:
                break
            taken.append(one)
        waiting.popleft()
    return taken
