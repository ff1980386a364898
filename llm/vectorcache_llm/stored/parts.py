"""The backends of a cache: opening them on first use, and probing their health."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from vectorcache_llm.managed import PartHealth

PROBE_SECONDS = 5.0
"""Deadline for one health probe."""


class Part(Protocol):
    """A store or an index."""

    async def open(self) -> None:
        """Open the backend."""

    async def close(self) -> None:
        """Close the backend."""


P = TypeVar("P", bound=Part)


class Opened(Generic[P]):
    """A backend that is opened by its first use, so that a server may be unavailable when the cache is opened."""

    def __init__(self, part: P) -> None:
        self._part = part
        self._lock = asyncio.Lock()
        self._open = False

    async def __call__(self) -> P:
        """Return the backend, open.

        Raises:
            Unavailable: it cannot be opened.
        """
        if not self._open:
            async with self._lock:
                if not self._open:
                    await self._part.open()
                    self._open = True
        return self._part

    async def close(self) -> None:
        """Close the backend. A second call has no effect."""
        async with self._lock:
            self._open = False
            await self._part.close()


async def probe(
    name: str, ask: Callable[[], Awaitable[object]], seconds: float = PROBE_SECONDS
) -> PartHealth:
    """Call ``ask`` with a deadline and return the backend's health."""
    begin = time.perf_counter()
    try:
        async with asyncio.timeout(seconds) as deadline:
            await ask()
    except Exception as error:  # noqa: BLE001 - the result of the probe
        detail = f"no answer within {seconds:g} s" if deadline.expired() else str(error)
        return PartHealth(name, False, detail, time.perf_counter() - begin)
    return PartHealth(name, True, "", time.perf_counter() - begin)
