"""All objects of one kind, kept up to date: listed, then watched, listed again whenever that fails."""

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
"""Seconds. A watch that ends sooner counts as failed, so that a broken server is not asked over and over."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds after a first failure, and the most after many: each doubles the pause."""

_GONE = 410


class _Named(msgspec.Struct, frozen=True):
    metadata: Metadata


_named = msgspec.json.Decoder(_Named).decode


class Watch(Generic[T]):
    """The objects that a selector names.

    Args:
        connect: makes a connection to the API; a new one after every failure.
        path, query: of the kind, and which of its objects.
        decode: one object.
        heard: called after every sign of life of the API, and whatever changed by it.
        failed: called after every failure.

    Attributes:
        objects: by name.
        looked_at: the time of the first list by the server's clock, in seconds since the epoch; by ours, where the
            server does not tell.
        listed: whether ``objects`` is a picture at all.
        failure: why the API is not followed now, or empty.
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
            except Exception as error:  # noqa: BLE001 - a watch that ended would go unnoticed for long
                self._note(error)
            await self._sleep(self._rng.uniform(self._pause / 2, self._pause))
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def look_again(self) -> None:
        """List now, instead of waiting for the watch to tell; ``heard`` or ``failed`` says when that is done."""
        if self._watching is not None and not self._watching.expired():
            self._watching.reschedule(asyncio.get_running_loop().time())

    async def _follow(self, api: KubernetesApi) -> None:
        """List, and watch from there until it is time to list again."""
        version: str | None = await self._list(api)
        while version is not None:
            version = await self._watch(api, version)

    async def _list(self, api: KubernetesApi) -> str:
        found, date = await api.list(self._path, self._query)
        self.objects = {_named(item).metadata.name: self._decode(item) for item in found.items or ()}
        if not self.listed:
            self.looked_at = time.time() if date is None else date
        if self.failure:
            self._log.info("the Kubernetes API answers again")
        self.listed, self.failure = True, ""
        self._heard()
        return found.metadata.resource_version

    async def _watch(self, api: KubernetesApi, version: str) -> str | None:
        """Watch until the server ends it; return the version to go on from, or None to list again."""
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
            return None  # by look_again; the API's own timeouts come as Unavailable
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
            raise Unavailable("the Kubernetes API ended a watch at once")
        return version or None

    def _take(self, event: Event) -> str:
        """Note what an event says; return its version."""
        metadata = _named(event.object).metadata
        if event.type == "DELETED":
            self.objects.pop(metadata.name, None)
        elif event.type != "BOOKMARK":
            self.objects[metadata.name] = self._decode(event.object)
        return metadata.resource_version

    def _note(self, error: Exception) -> None:
        told = str(error) or type(error).__name__
        if not self.failure:  # once, not with every try
            if isinstance(error, VectorCacheError):
                self._log.warning("the Kubernetes API is not followed", error=told)
            else:
                self._log.exception("the Kubernetes API is not followed")
        self.failure = told
        self._failed()
