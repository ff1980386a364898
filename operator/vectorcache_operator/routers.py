"""Polls the routers: whether they can reach the blob store, and which collections they serve."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
import structlog

from vectorcache_operator.kinds import Object
from vectorcache_operator.names import Key

TIMEOUT = 3.0
AT_ONCE = 8
MAX_BODY = 4 * 2**20
MAX_COLLECTIONS = 100
PATIENCE = 3
"""Consecutive polls without an answer before routers count as silent. A rollout may cause single failures."""
COLLECTIONS_EVERY = 3
"""Polls of the readiness per poll of the collections, which change rarely."""


@dataclass(frozen=True, slots=True)
class RouterView:
    """The latest report of the routers of one resource.

    Attributes:
        storage: whether they can reach the blob store; None if they do not answer.
        problem: the routers' message about the blob store; empty if there is no problem.
        collections: name, version and number of vectors of each collection.
    """

    storage: bool | None = None
    problem: str = ""
    collections: tuple[tuple[str, int, int], ...] = ()

    def collection_list(self) -> list[Object]:
        """Return the collections in the form of the status."""
        return [
            {"name": name, "version": version, "vectors": vectors}
            for name, version, vectors in self.collections[:MAX_COLLECTIONS]
        ]


class _Readiness(msgspec.Struct):
    """The response of a router's /readyz."""

    reasons: list[str] = []
    warnings: list[str] = []


class _Collection(msgspec.Struct):
    name: str
    version: int
    vectors: int


class _Collections(msgspec.Struct):
    collections: list[_Collection]


@dataclass(slots=True)
class _Followed:
    url: str
    view: RouterView | None = None
    silent: int = 0
    polls: int = 0


class Routers:
    """Polls the routers' Services, and calls ``changed`` when a report differs from the previous one."""

    def __init__(
        self, session: aiohttp.ClientSession, interval: float, changed: Callable[[Key], None]
    ) -> None:
        self._session = session
        self._interval = interval
        self._changed = changed
        self._followed: dict[Key, _Followed] = {}
        self._gate = asyncio.Semaphore(AT_ONCE)

    def follow(self, key: Key, url: str) -> None:
        """Start polling the routers of a resource."""
        known = self._followed.get(key)
        if known is None or known.url != url:
            self._followed[key] = _Followed(url)

    def forget(self, key: Key) -> None:
        """Stop polling the routers of a resource."""
        self._followed.pop(key, None)

    def view(self, key: Key) -> RouterView | None:
        """Return the latest report, or None if it is too early for one."""
        known = self._followed.get(key)
        return known.view if known else None

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            await asyncio.gather(*(self.poll(key) for key in list(self._followed)))

    async def poll(self, key: Key) -> None:
        """Poll the routers of one resource once."""
        followed = self._followed.get(key)
        if followed is None:
            return
        async with self._gate:
            view = await self._poll(followed)
        if view != followed.view and self._followed.get(key) is followed:
            followed.view = view
            self._changed(key)

    async def _poll(self, followed: _Followed) -> RouterView | None:
        try:
            ready = msgspec.json.decode(await self._get(f"{followed.url}/readyz"), type=_Readiness)
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
            structlog.get_logger().debug("router did not answer", url=followed.url, error=str(error))
            followed.silent += 1
            if followed.silent < PATIENCE:
                return followed.view
            return RouterView(collections=followed.view.collections if followed.view else ())
        followed.silent = 0
        problem = "; ".join(text for text in (*ready.reasons, *ready.warnings) if "blob" in text.lower())
        collections = await self._collections(followed)
        return RouterView(not problem, problem[:500], collections)

    async def _collections(self, followed: _Followed) -> tuple[tuple[str, int, int], ...]:
        known = followed.view.collections if followed.view else ()
        due = not known or followed.polls % COLLECTIONS_EVERY == 0
        followed.polls += 1
        if not due:
            return known
        try:
            found = msgspec.json.decode(
                await self._get(f"{followed.url}/v1/collections", ok_only=True), type=_Collections
            )
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError):
            return known
        return tuple(sorted((one.name, one.version, one.vectors) for one in found.collections))

    async def _get(self, url: str, *, ok_only: bool = False) -> bytes:
        async with asyncio.timeout(TIMEOUT), self._session.get(url, raise_for_status=ok_only) as response:
            return await response.content.read(MAX_BODY)


def session() -> aiohttp.ClientSession:
    """Return a session without keep-alive: every poll opens a connection, so the Service can choose another router."""
    connector = aiohttp.TCPConnector(limit=AT_ONCE, force_close=True)
    options: Mapping[str, Any] = {"trust_env": False}
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT), **options)
