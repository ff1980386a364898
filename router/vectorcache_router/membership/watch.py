"""A list of Kubernetes objects that is kept up to date by a watch, and listed again after a failure."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Generic, TypeVar

import msgspec
import structlog

from vectorcache.errors import Unavailable, VectorCacheError
from vectorcache_router.membership.api import ApiRefused, Connect, KubernetesApi, Query
from vectorcache_router.membership.objects import Event, Metadata

T = TypeVar("T")

LEAST_WATCH = 1.0
"""Seconds. A watch that ends sooner counts as failed, so that a broken server is not queried in a tight loop."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Pause in seconds after the first failure, and maximum pause. It doubles with every failure."""

_GONE = 410


class _Named(msgspec.Struct, frozen=True):
    metadata: Metadata


_named = msgspec.json.Decoder(_Named).decode


class Watch(Generic[T]):
    """The objects of one kind that match a selector.

    Args:
        connect: opens a connection to the API, again after every failure.
        path, query: path of the kind, and the selector of its objects.
        decode: decodes one object.
        heard: called after every list and every event of the watch.
        failed: called after every failure.

    Attributes:
        objects: the objects by name.
        looked_at: the time of the first list in seconds since the epoch, by the server's clock or, if the response has
            no date, by the local clock.
        listed: whether the objects have been listed at least once.
        failure: why the objects cannot be followed at present, or empty.
    """

    def __init__(
        self,
        connect: Connect,
        path: str,
        query: Query,
        decode: Callable[[bytes | msgspec.Raw], T],
        *,
        heard: Callable[[], None] = lambda: None,
        failed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.objects: dict[str, T] = {}
        self.looked_at = 0.0
        self.listed = False
        self.failure = ""
        self._connect = connect
        self._path = path
        self._query = query
        self._decode = decode
        self._heard = heard
        self._failed = failed
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 - jitter is no secret
        self._pause = FIRST_PAUSE
        self._watching: asyncio.Timeout | None = None
        self._log = structlog.get_logger().bind(path=path)

    async def run(self) -> None:
        """Follow the objects until cancelled."""
        while True:
            try:
                async with self._connect() as api:
                    while True:
                        await self._follow(api)
            except Exception as error:  # noqa: BLE001 - otherwise the watch would end silently
                self._note(error)
            await self._sleep(self._rng.uniform(self._pause / 2, self._pause))
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def look_again(self) -> None:
        """List the objects now instead of waiting for the watch. ``heard`` or ``failed`` is called afterwards."""
        if self._watching is not None and not self._watching.expired():
            self._watching.reschedule(asyncio.get_running_loop().time())

    async def _follow(self, api: KubernetesApi) -> None:
        """List the objects, and watch them until they must be listed again."""
        version: str | None = await self._list(api)
        while version is not None:
            version = await self._watch(api, version)

    async def _list(self, api: KubernetesApi) -> str:
        found, date = await api.list(self._path, self._query)
        self.objects = {_named(item).metadata.name: self._decode(item) for item in found.items or ()}
        if not self.listed:
            self.looked_at = time.time() if date is None else date
        if self.failure:
            self._log.info("Kubernetes API responds again")
        self.listed, self.failure = True, ""
        self._heard()
        return found.metadata.resource_version

    async def _watch(self, api: KubernetesApi, version: str) -> str | None:
        """Watch until the server ends the watch. Return the version to continue from, or None to list again."""
        began = self._clock()
        try:
            async with (
                asyncio.timeout(None) as self._watching,
                aclosing(api.watch(self._path, self._query, version)) as events,
            ):
                async for event in events:
                    version = self._take(event)
                    self._heard()
        except TimeoutError:
            return None  # caused by look_again: timeouts of the API are raised as Unavailable
        except ApiRefused as error:
            if error.status != _GONE:
                raise
            version = ""
        finally:
            self._watching = None
            lasted = self._clock() - began >= LEAST_WATCH
            if lasted:
                self._pause = FIRST_PAUSE
        if not lasted:
            raise Unavailable("the Kubernetes API ended a watch immediately")
        return version or None

    def _take(self, event: Event) -> str:
        """Apply an event to the objects, and return its version."""
        metadata = _named(event.object).metadata
        if event.type == "DELETED":
            self.objects.pop(metadata.name, None)
        elif event.type != "BOOKMARK":
            self.objects[metadata.name] = self._decode(event.object)
        return metadata.resource_version

    def _note(self, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        if not self.failure:  # log the first failure only, not every retry
            if isinstance(error, VectorCacheError):
                self._log.warning("watch of the Kubernetes API failed", error=reason)
            else:
                self._log.exception("watch of the Kubernetes API failed")
        self.failure = reason
        self._failed()
