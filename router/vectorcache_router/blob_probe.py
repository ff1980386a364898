"""A periodic probe of the blob store, whose result is reported by readiness, metrics and logs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from vectorcache.errors import VectorCacheError
from vectorcache.stores.base import BlobStore

WELL_SECONDS, ILL_SECONDS = 5.0, 1.0
"""Intervals between probes while the store responds, and while it does not."""

LOOK_SECONDS = 5.0
"""Timeout of a probe."""

_KEY = (
    "reachable"  # this blob does not exist: a cheap request, and "not found" proves that the store responds
)


class BlobProbe:
    """A periodic probe of a blob store.

    Attributes:
        reached: whether the store has responded since the start.
        failure: why the last probe failed. Empty if it succeeded, and before the first probe.
    """

    def __init__(
        self,
        blobs: BlobStore,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.reached = False
        self.failure = ""
        self._blobs = blobs
        self._clock = clock
        self._sleep = sleep
        self._failing_since = 0.0
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Probe the store periodically until cancelled."""
        while True:
            await self.look()
            await self._sleep(ILL_SECONDS if self.failure else WELL_SECONDS)

    async def look(self) -> None:
        """Probe the store once."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._blobs.head(_KEY)
        except TimeoutError:
            self._failed(f"no response within {LOOK_SECONDS:g} s")
        except VectorCacheError as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001 - otherwise the probe would end silently
            self._failed(f"{type(error).__name__}: {error}")
        else:
            if self.failure:
                self._log.info("blob store responds again")
            self.reached, self.failure = True, ""

    def warnings(self) -> list[str]:
        """Return a warning with duration and cause if the store does not respond."""
        if not self.failure:
            return []
        seconds = self._clock() - self._failing_since
        return [f"the blob store has not responded for {seconds:.0f} s: {self.failure}"]

    def _failed(self, reason: str) -> None:
        if not self.failure:
            self._failing_since = self._clock()
            self._log.warning("blob store does not respond", error=reason)
        self.failure = reason
