"""The collections that a router serves: which version of each, and its centroids."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from vectorcache.concurrency import each_of
from vectorcache.errors import NotFound, Unavailable, VectorCacheError
from vectorcache.index.catalog import Catalog, Served
from vectorcache.index.coarse import CoarseQuantizer, load_coarse
from vectorcache.index.lookup import LookupCodec, LookupShard, Place, shard_of
from vectorcache.index.manifest import Manifest, check_collection
from vectorcache.layers import BlobLayer, MemoryLayer, NLayerCache
from vectorcache.lru import LRU
from vectorcache.stores.base import BlobStore

KNOWN = 4096
"""Collections whose state is remembered, missing ones among them."""

LOOKUP_BYTES = 64 << 20
"""Shards of id lookups that are kept in memory."""

WARM_SECONDS = 10.0
"""After which a router is ready, though not all collections are open."""

_WARM_AGAIN, _LONGEST_PAUSE = 1.0, 8.0  # seconds until what could not be opened is tried again
_OPEN_AT_ONCE = 8


K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _State:
    """What is known of one collection: the version served, or None where there is no such collection."""

    version: int | None
    checked_at: float


class _Shared(Generic[K, V]):
    """Calls under way: at most one per key, shared by all who want its outcome now."""

    def __init__(self, call: Callable[[K], Coroutine[Any, Any, V]]) -> None:
        self._call = call
        self._tasks: dict[K, asyncio.Task[V]] = {}

    def join(self, key: K) -> asyncio.Task[V]:
        """The call for a key; wait for it by ``asyncio.shield`` only."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(self._call(key))
            task.add_done_callback(lambda _: self._tasks.pop(key))
        return task

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Collections:
    """Opens collections, keeps them open, and follows their current versions.

    A collection that is known is served at once; when that is older than ``refresh`` seconds, a look at the blob
    store goes on in the background. A new version is loaded whole before it is served. A blob store that fails
    changes nothing for what is known.

    Args:
        blobs: where collections are.
        kept: the same with copies, for what is not known yet.
        refresh: seconds between looks at one collection.
        max_bytes: of the centroids that are kept; those used last stay.
        clock: monotonic seconds.
        sleep: waits so many of them.
    """

    def __init__(
        self,
        blobs: BlobStore,
        *,
        kept: BlobStore | None = None,
        refresh: float,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._warm = False
        self._warm_until = clock() + WARM_SECONDS
        self._kept = kept or blobs
        self._current = Catalog(blobs).current
        self._catalog = Catalog(self._kept)
        self._refresh = refresh
        self._clock = clock
        self._sleep = sleep
        self._max_bytes = max_bytes
        self._states: LRU[str, _State] = LRU(max_items=KNOWN)
        self._opened: LRU[tuple[str, int], CoarseQuantizer] = LRU(
            max_bytes=max_bytes, weigh=lambda coarse: coarse.nbytes
        )
        self._looks = _Shared(self._look)
        self._loads = _Shared(self._load)
        self._lookups = NLayerCache[LookupShard](
            [
                MemoryLayer(LRU(max_bytes=LOOKUP_BYTES, weigh=lambda shard: shard.nbytes)),
                BlobLayer(self._kept, LookupCodec()),
            ],
            name="id lookups",
        )
        self._log = structlog.get_logger()

    @property
    def opened(self) -> int:
        """How many versions are open."""
        return len(self._opened)

    @property
    def warmed(self) -> bool:
        """Whether what is served is open, or has had its time."""
        return self._warm or self._clock() >= self._warm_until

    async def warm(self) -> None:
        """Open what is served, so that the first search of a collection does not depend on the blob store.

        The last half of the memory for centroids is left to what is searched. Where the store does not answer, and
        nodes cannot tell either, it goes on for as long as that takes.
        """
        pause, left = _WARM_AGAIN, await self._open_all(None)
        while left is None or left:
            await self._sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            left = await self._open_all(left)
        self._warm = True

    async def open(self, name: str, version: int | None = None) -> CoarseQuantizer:
        """The centroids of a version, by default of the one that is served.

        Raises:
            NotFound: there is no such collection or version.
            Unavailable: it is not known yet, and the blob store does not answer.
        """
        check_collection(name)
        key = (name, await self._served(name) if version is None else version)
        opened = self._opened.get(key)
        return opened if opened is not None else await asyncio.shield(self._loads.join(key))

    async def served(self) -> Served:
        """The manifests of all collections; their centroids need not be read for that."""
        return await self._catalog.served()

    async def places(self, manifest: Manifest, ids: list[int | str]) -> dict[int | str, Place]:
        """Where the vectors of ids stand; ids that the version does not have are left out."""
        by_shard: dict[int, list[int | str]] = {}
        for one in ids:
            by_shard.setdefault(shard_of(one, len(manifest.lookup)), []).append(one)
        places: dict[int | str, Place] = {}
        for shard, wanted in by_shard.items():
            key = manifest.lookup_key(shard)
            found = await self._lookups.get(key, manifest.lookup[shard].bytes)
            if found is None:
                raise NotFound("version", f"{manifest.collection}/v{manifest.version}")
            pairs = zip(wanted, found.find(wanted), strict=True)
            places |= {one: place for one, place in pairs if place is not None}
        return places

    async def close(self) -> None:
        """Give up what is under way."""
        await self._looks.close()
        await self._loads.close()
        await self._lookups.close()

    async def _open_all(self, names: list[str] | None) -> list[str] | None:
        """Open these collections, by default all; those that could not be opened yet, None where they are unknown."""
        try:
            names = await self._kept.list_folders() if names is None else names
        except VectorCacheError as error:
            self._log.warning("collections cannot be listed yet", error=str(error))
            return None
        opened = await each_of(self._open_one, names, _OPEN_AT_ONCE)
        return [name for name, done in zip(names, opened, strict=True) if not done]

    async def _open_one(self, name: str) -> bool:
        """Open a collection, if it is one; whether there is no use in trying again."""
        if 2 * self._opened.bytes > self._max_bytes:
            return True
        try:
            await self.open(name)
        except VectorCacheError as error:
            if not (isinstance(error, NotFound) and error.kind == "collection"):  # a folder of something else
                self._log.warning("collection not opened", collection=name, error=str(error))
            return not isinstance(error, Unavailable)
        return True

    async def _served(self, name: str) -> int:
        """The version that is served."""
        state = self._states.get(name)
        if state is None or self._clock() - state.checked_at > self._refresh:
            look = self._looks.join(name)
            if state is None or state.version is None:  # it may be there by now
                state = await asyncio.shield(look)
        if state.version is None:
            raise NotFound("collection", name)
        return state.version

    async def _look(self, name: str) -> _State:
        known = self._states.peek(name)
        version: int | None
        try:
            # What is known, be it that there is no such collection, is newer than a copy.
            current = self._catalog.current if known is None else self._current
            version = await current(name)
            await self.open(name, version)
        except NotFound:
            version = None
        except VectorCacheError as error:
            if known is None or known.version is None:
                raise
            self._log.warning("collection not refreshed", collection=name, error=str(error))
            version = known.version
        state = _State(version, self._clock())
        self._states.put(name, state)
        return state

    async def _load(self, key: tuple[str, int]) -> CoarseQuantizer:
        opened = await load_coarse(self._kept, await self._catalog.manifest(*key))
        if not self._opened.put(key, opened):
            self._log.warning("centroids outweigh the memory for them", collection=key[0], version=key[1])
        return opened
