"""The parts that a cache stands on: opened when they first answer, asked how they are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from vectorcache_llm.managed import PartHealth

PROBE_SECONDS = 5.0
"""For one question about a part's health."""


class Part(Protocol):
    """A store or an index."""

    async def open(self) -> None:
        """Make ready."""

    async def close(self) -> None:
        """Release what is held."""


P = TypeVar("P", bound=Part)


class Opened(Generic[P]):
    """A part that is opened by its first use that succeeds, so that a server may be away when its cache opens."""

    def __init__(self, part: P) -> None:
        self._part = part
        self._lock = asyncio.Lock()
        self._open = False

    async def __call__(self) -> P:
        """The part, ready.

        Raises:
            Unavailable: it is away.
        """
        if not self._open:
            async with self._lock:
                if not self._open:
                    await self._part.open()
                    self._open = True
        return self._part

    async def close(self) -> None:
        """Close the part; a second call does nothing."""
        async with self._lock:
            self._open = False
            await self._part.close()


async def probe(
    name: str, ask: Callable[[], Awaitable[object]], seconds: float = PROBE_SECONDS
) -> PartHealth:
    """Ask a part for something and see how it goes, within a number of seconds."""
    begin = time.perf_counter()
    try:
        async with asyncio.timeout(seconds) as deadline:
            await ask()
    except Exception as error:  # noqa: BLE001 - it is what is asked for
        detail = f"no answer within {seconds:g} s" if deadline.expired() else str(error)
        return PartHealth(name, False, detail, time.perf_counter() - begin)
    return PartHealth(name, True, "", time.perf_counter() - begin)
