"""Whether the blob store answers: asked now and then, so that readiness, metrics and people can know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from vectorcache.errors import VectorCacheError
from vectorcache.stores.base import BlobStore

WELL_SECONDS, ILL_SECONDS = 5.0, 1.0
"""Between looks while it answers, and while it does not."""

LOOK_SECONDS = 5.0
"""After so long without an answer a look has failed."""

_KEY = "reachable"  # no such blob: that there is none is an answer, and costs nobody anything


class BlobProbe:
    """Looks at a blob store until cancelled.

    Attributes:
        reached: whether it has answered since the start.
        failure: why it does not answer now, or empty. Empty too before the first look has ended.
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
        """Look, wait, and look again."""
        while True:
            await self.look()
            await self._sleep(ILL_SECONDS if self.failure else WELL_SECONDS)

    async def look(self) -> None:
        """Ask once."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._blobs.head(_KEY)
        except TimeoutError:
            self._failed(f"no answer within {LOOK_SECONDS:g} s")
        except VectorCacheError as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001 - a watch that ended would go unnoticed for long
            self._failed(f"{type(error).__name__}: {error}")
        else:
            if self.failure:
                self._log.info("blob store answers again")
            self.reached, self.failure = True, ""

    def warnings(self) -> list[str]:
        """That it does not answer, since when and why."""
        if not self.failure:
            return []
        seconds = self._clock() - self._failing_since
        return [f"the blob store has not answered for {seconds:.0f} s: {self.failure}"]

    def _failed(self, why: str) -> None:
        if not self.failure:
            self._failing_since = self._clock()
            self._log.warning("blob store does not answer", error=why)
        self.failure = why
