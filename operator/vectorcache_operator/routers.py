"""What the routers say: whether they reach the blob store, and which collections they serve."""

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
"""Looks without an answer before a resource's routers count as silent: a rollout takes one away now and then."""
COLLECTIONS_EVERY = 3
"""Looks at readiness for each look at the collections, which change seldom."""


@dataclass(frozen=True, slots=True)
class RouterView:
    """What the routers of one resource last said.

    Attributes:
        storage: whether they reach the blob store; None where they did not say.
        trouble: in their words, what is wrong with it.
        collections: name, version and number of vectors of each.
    """

    storage: bool | None = None
    trouble: str = ""
    collections: tuple[tuple[str, int, int], ...] = ()

    def collection_list(self) -> list[Object]:
        """As the status has them."""
        return [
            {"name": name, "version": version, "vectors": vectors}
            for name, version, vectors in self.collections[:MAX_COLLECTIONS]
        ]


class _Readiness(msgspec.Struct):
    """The answer of a router's /readyz."""

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
    looks: int = 0


class Routers:
    """Looks at the routers' Services now and then, and says when what they say has changed."""

    def __init__(
        self, session: aiohttp.ClientSession, interval: float, changed: Callable[[Key], None]
    ) -> None:
        self._session = session
        self._interval = interval
        self._changed = changed
        self._followed: dict[Key, _Followed] = {}
        self._gate = asyncio.Semaphore(AT_ONCE)

    def follow(self, key: Key, url: str) -> None:
        """Look at the routers of a resource from now on."""
        known = self._followed.get(key)
        if known is None or known.url != url:
            self._followed[key] = _Followed(url)

    def forget(self, key: Key) -> None:
        """Look no more."""
        self._followed.pop(key, None)

    def view(self, key: Key) -> RouterView | None:
        """What they last said; None where it is too early to tell."""
        known = self._followed.get(key)
        return known.view if known else None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            await asyncio.gather(*(self.look(key) for key in list(self._followed)))

    async def look(self, key: Key) -> None:
        """Look at one resource's routers once."""
        followed = self._followed.get(key)
        if followed is None:
            return
        async with self._gate:
            view = await self._look(followed)
        if view != followed.view and self._followed.get(key) is followed:
            followed.view = view
            self._changed(key)

    async def _look(self, followed: _Followed) -> RouterView | None:
        try:
            ready = msgspec.json.decode(await self._get(f"{followed.url}/readyz"), type=_Readiness)
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
            structlog.get_logger().debug("router does not answer", url=followed.url, error=str(error))
            followed.silent += 1
            if followed.silent < PATIENCE:
                return followed.view
            return RouterView(collections=followed.view.collections if followed.view else ())
        followed.silent = 0
        trouble = "; ".join(text for text in (*ready.reasons, *ready.warnings) if "blob" in text.lower())
        collections = await self._collections(followed)
        return RouterView(not trouble, trouble[:500], collections)

    async def _collections(self, followed: _Followed) -> tuple[tuple[str, int, int], ...]:
        known = followed.view.collections if followed.view else ()
        due = not known or followed.looks % COLLECTIONS_EVERY == 0
        followed.looks += 1
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
    """A session for looking at routers: each look has its own connection, so that all routers get their turn."""
    connector = aiohttp.TCPConnector(limit=AT_ONCE, force_close=True)
    options: Mapping[str, Any] = {"trust_env": False}
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT), **options)
