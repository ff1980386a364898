"""A bound on the number and the bytes of concurrent loads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from vectorcache.errors import InvalidInput


class Budget:
    """Admission of loads, first come first served, within both bounds.

    A load that is larger than the whole budget is admitted alone. A waiter that is cancelled leaves the queue and
    does not delay the others. For use by one event loop.
    """

    def __init__(self, max_loads: int, max_bytes: int) -> None:
        for field, bound in (("max_loads", max_loads), ("max_bytes", max_bytes)):
            if bound < 1:
                raise InvalidInput(field, bound, "a positive number")
        self._max_loads = max_loads
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self.loads = 0
        self.bytes = 0

    @asynccontextmanager
    async def reserve(self, size: int) -> AsyncIterator[None]:
        """Wait until a load of ``size`` bytes is admitted, and count it while the block runs."""
        await self._admit(size)
        try:
            yield
        finally:
            self._release(size)

    async def _admit(self, size: int) -> None:
        if not self._waiting and self._fits(size):
            self._take(size)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, size))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._admit_next()  # it may have been the head of the queue and blocked smaller loads
            else:
                self._release(size)  # it was admitted before the cancellation arrived
            raise

    def _fits(self, size: int) -> bool:
        return self.loads == 0 or (self.loads < self._max_loads and self.bytes + size <= self._max_bytes)

    def _take(self, size: int) -> None:
        self.loads += 1
        self.bytes += size

    def _release(self, size: int) -> None:
        self.loads -= 1
        self.bytes -= size
        self._admit_next()

    def _admit_next(self) -> None:
        while self._waiting:
            turn, size = self._waiting[0]
            if not turn.cancelled():
                if not self._fits(size):
                    return
                self._take(size)
                turn.set_result(None)
            self._waiting.popleft()
