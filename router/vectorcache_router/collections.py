"""The collections that a router serves: the served version of each, and its centroids."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from vectorcache.concurrency import SingleFlight, Tasks, each_of
from vectorcache.errors import NotFound, Unavailable, VectorCacheError
from vectorcache.index.catalog import Catalog, Served
from vectorcache.index.coarse import CoarseQuantizer, load_coarse
from vectorcache.index.lookup import LookupCodec, LookupShard, Place, shard_of
from vectorcache.index.manifest import Manifest, check_collection
from vectorcache.layers import BlobLayer, MemoryLayer, NLayerCache
from vectorcache.lru import LRU
from vectorcache.stores.base import BlobStore

KNOWN = 4096
"""Maximum number of collections whose state is remembered, including missing ones."""

LOOKUP_BYTES = 64 << 20
"""Memory for shards of id lookups."""

WARM_SECONDS = 10.0
"""Time after which a router is ready even if not all collections are open."""

_WARM_AGAIN, _LONGEST_PAUSE = (
    1.0,
    8.0,
)  # seconds until failed collections are opened again: first, and maximum
_OPEN_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class _State:
    """The known state of a collection: its served version, or None if the collection does not exist."""

    version: int | None
    checked_at: float


class Collections:
    """The open collections of a router. It follows their current versions.

    A known collection is served immediately. If its state is older than ``refresh`` seconds, it is checked against the
    blob store in the background. A new version is loaded completely before it is served. While the blob store is
    unavailable, known collections are served unchanged.

    Args:
        blobs: the blob store with the collections.
        kept: the same blob store with copies of metadata, for collections that are not known yet.
        refresh: seconds between checks of one collection.
        max_bytes: memory for centroids; the least recently used ones are evicted.
        clock: monotonic seconds.
        sleep: sleeps for a number of seconds.
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
        self._tasks = Tasks()
        self._looks = SingleFlight.of(self._look, self._tasks)
        self._loads = SingleFlight.of(self._load, self._tasks)
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
        """Number of open versions."""
        return len(self._opened)

    @property
    def warmed(self) -> bool:
        """Whether all served collections are open, or ``WARM_SECONDS`` have passed."""
        return self._warm or self._clock() >= self._warm_until

    async def warm(self) -> None:
        """Open all served collections, so that the first search of a collection does not depend on the blob store.

        At most half of the memory for centroids is filled. The rest is left for collections that are searched.
        Collections for which neither the store nor a node responds are tried again until they can be opened.
        """
        pause, left = _WARM_AGAIN, await self._open_all(None)
        while left is None or left:
            await self._sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            left = await self._open_all(left)
        self._warm = True

    async def open(self, name: str, version: int | None = None) -> CoarseQuantizer:
        """Return the centroids of a version, by default of the served version.

        Raises:
            NotFound: the collection or version does not exist.
            Unavailable: the collection is not known yet, and the blob store does not respond.
        """
        check_collection(name)
        key = (name, await self._served(name) if version is None else version)
        opened = self._opened.get(key)
        return opened if opened is not None else await asyncio.shield(self._loads.join(key))

    async def served(self) -> Served:
        """Return the manifests of all collections, without reading their centroids."""
        return await self._catalog.served()

    async def places(self, manifest: Manifest, ids: list[int | str]) -> dict[int | str, Place]:
        """Return the chunk and position of each id's vector. Ids that the version does not contain are left out."""
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
        """Cancel running checks and loads."""
        await self._tasks.cancel()
        await self._lookups.close()

    async def _open_all(self, names: list[str] | None) -> list[str] | None:
        """Open the named collections, or all. Return the names to try again, or None if they cannot be listed."""
        try:
            names = await self._kept.list_folders() if names is None else names
        except VectorCacheError as error:
            self._log.warning("could not list collections", error=str(error))
            return None
        opened = await each_of(self._open_one, names, _OPEN_AT_ONCE)
        return [name for name, done in zip(names, opened, strict=True) if not done]

    async def _open_one(self, name: str) -> bool:
        """Open a collection. Return False if the attempt should be repeated."""
        if 2 * self._opened.bytes > self._max_bytes:
            return True
        try:
            await self.open(name)
        except VectorCacheError as error:
            if not (
                isinstance(error, NotFound) and error.kind == "collection"
            ):  # the folder is no collection
                self._log.warning("could not open collection", collection=name, error=str(error))
            return not isinstance(error, Unavailable)
        return True

    async def _served(self, name: str) -> int:
        """Return the served version."""
        state = self._states.get(name)
        if state is None or self._clock() - state.checked_at > self._refresh:
            look = self._looks.join(name)
            if state is None or state.version is None:  # the collection may have been created since
                state = await asyncio.shield(look)
        if state.version is None:
            raise NotFound("collection", name)
        return state.version

    async def _look(self, name: str) -> _State:
        known = self._states.peek(name)
        version: int | None
        try:
            # A known state is newer than a copy, even if the state is that the collection does not exist.
            current = self._catalog.current if known is None else self._current
            version = await current(name)
            await self.open(name, version)
        except NotFound:
            version = None
        except VectorCacheError as error:
            if known is None or known.version is None:
                raise
            self._log.warning("could not refresh collection", collection=name, error=str(error))
            version = known.version
        state = _State(version, self._clock())
        self._states.put(name, state)
        return state

    async def _load(self, key: tuple[str, int]) -> CoarseQuantizer:
        opened = await load_coarse(self._kept, await self._catalog.manifest(*key))
        if not self._opened.put(key, opened):
            self._log.warning("centroids exceed --centroid-memory", collection=key[0], version=key[1])
        return opened
