"""The collections that a router serves: which version of each, and its centroids."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from vectorcache.errors import NotFound, VectorCacheError
from vectorcache.index.catalog import Catalog
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


@dataclass(slots=True)
class _State:
    """What is known of one collection: its served version, or None where there is no such collection."""

    coarse: CoarseQuantizer | None
    checked_at: float


class Collections:
    """Opens collections, keeps them open, and follows their current versions.

    A collection that is known is served at once; when its state is older than ``refresh`` seconds, a look at the
    blob store goes on in the background. A new version is loaded whole before it is served. A blob store that
    fails changes nothing for what is known.
    """

    def __init__(
        self,
        blobs: BlobStore,
        *,
        refresh: float,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._blobs = blobs
        self._catalog = Catalog(blobs)
        self._refresh = refresh
        self._clock = clock
        self._states: LRU[str, _State] = LRU(max_items=KNOWN)
        self._opened: LRU[tuple[str, int], CoarseQuantizer] = LRU(max_bytes=max_bytes, weigh=_weigh)
        self._looks: dict[str, asyncio.Task[_State]] = {}
        self._lookups = NLayerCache[LookupShard](
            [
                MemoryLayer(LRU(max_bytes=LOOKUP_BYTES, weigh=lambda shard: shard.nbytes)),
                BlobLayer(blobs, LookupCodec()),
            ],
            name="id lookups",
        )
        self._log = structlog.get_logger()

    async def open(self, name: str, version: int | None = None) -> CoarseQuantizer:
        """The centroids of a version, by default of the one that is served.

        Raises:
            NotFound: there is no such collection or version.
            Unavailable: it is not known yet, and the blob store does not answer.
        """
        if version is not None:
            return await self._open_version(name, version)
        state = self._states.get(name)
        if state is None:
            check_collection(name)
            state = await asyncio.shield(self._look(name))
        elif self._clock() - state.checked_at > self._refresh:
            self._look(name)
        if state.coarse is None:
            raise NotFound("collection", name)
        return state.coarse

    async def manifests(self) -> list[Manifest]:
        """The manifests of all collections, by name."""
        return [(await self.open(name)).manifest for name in await self._catalog.collections()]

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

    async def check_store(self) -> None:
        """Raise where the blob store cannot be read."""
        await self._catalog.collections()

    async def close(self) -> None:
        """Give up looks that are under way."""
        for look in tuple(self._looks.values()):
            look.cancel()
        await asyncio.gather(*self._looks.values(), return_exceptions=True)
        await self._lookups.close()

    async def _open_version(self, name: str, version: int) -> CoarseQuantizer:
        opened = self._opened.get((name, version))
        if opened is None:
            manifest = await self._catalog.manifest(check_collection(name), version)
            opened = await load_coarse(self._blobs, manifest)
            self._opened.put((name, version), opened)
        return opened

    def _look(self, name: str) -> asyncio.Task[_State]:
        """One look at the blob store for a collection, shared by all who want it now."""
        look = self._looks.get(name)
        if look is None:
            look = self._looks[name] = asyncio.create_task(self._read(name))
            look.add_done_callback(lambda done: self._looked(name, done))
        return look

    async def _read(self, name: str) -> _State:
        try:
            coarse = await self._open_version(name, await self._catalog.current(name))
        except NotFound:
            coarse = None
        state = _State(coarse, self._clock())
        self._states.put(name, state)
        return state

    def _looked(self, name: str, look: asyncio.Task[_State]) -> None:
        del self._looks[name]
        if look.cancelled():
            return
        error = look.exception()
        known = self._states.peek(name)
        if error is not None and known is not None:
            known.checked_at = self._clock()  # try again when it is old again, not with every search
            self._log.warning("collection not refreshed", collection=name, error=str(error))
            if not isinstance(error, VectorCacheError):
                self._log.error("refresh failed", collection=name, exc_info=error)


def _weigh(coarse: CoarseQuantizer) -> int:
    manifest = coarse.manifest
    return manifest.cells * (manifest.dimension * 4 + 16) + len(manifest.chunks) * 256
