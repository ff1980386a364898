"""A blob store with local copies: it keeps copies of the blobs that it reads, and serves them while the store fails.

It is for metadata: pointers, manifests, centroids and id lookups. Chunks are served by the layers of a cache, which do
not ask the store if they have a value. Here the store is asked first, because it is the source of truth.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar

import msgspec

from vectorcache.concurrency import KeyLocks
from vectorcache.errors import NotFound, Unavailable
from vectorcache.stores.base import Blob, BlobInfo, BlobStore

PAUSE = 2.0
"""Seconds after a failure of the store during which copies are served without asking the store."""

T = TypeVar("T")


class Memory(Protocol):
    """Best-effort storage of copies: no call raises, and a copy that could not be stored is not found."""

    async def get(self, key: str) -> bytes | None:
        """Return the copy of a blob, or None."""

    async def put(self, key: str, data: bytes, /) -> object:
        """Store a copy."""

    async def delete(self, key: str) -> object:
        """Delete a copy."""

    async def contains(self, key: str) -> bool:
        """Return whether ``get`` is likely to find a copy."""


class KeptBlobs(BlobStore):
    """Blob store that keeps copies of the blobs that it reads.

    While the store is ``Unavailable``, copies answer ``get`` of whole blobs, ``head`` and ``list_folders``. All other
    calls need the store. A copy has an empty ETag.

    Reads and deletions of one blob hold a lock, so that an older copy cannot replace a newer one. Without it:

    1. Reader A reads version 1 of a pointer from the store.
    2. A writer publishes version 2.
    3. Reader B reads version 2 and stores its copy.
    4. A stores its copy of version 1, which would be served while the store fails.

    Args:
        blobs: the store. The caller closes it.
        kept: the copies. The caller closes them.
        clock: monotonic seconds.
    """

    def __init__(
        self, blobs: BlobStore, kept: Memory, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._blobs = blobs
        self._kept = kept
        self._clock = clock
        self._down_until = -PAUSE
        self._locks = KeyLocks()

    async def recall(self, key: str) -> bytes | None:
        """Return the copy of a blob, or None, without asking the store."""
        return await self._kept.get(key)

    async def is_kept(self, key: str) -> bool:
        """Return whether there is a copy of a blob."""
        return await self._kept.contains(key)

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Blob:
        """See ``BlobStore.get``."""
        if offset or length is not None:
            return await self._blobs.get(key, offset=offset, length=length)
        return await self._either(key, lambda: self._get(key), lambda data: Blob(data, ""))

    async def head(self, key: str) -> BlobInfo | None:
        """See ``BlobStore.head``."""
        return await self._either(key, lambda: self._head(key), lambda data: BlobInfo(key, len(data), ""))

    async def list_folders(self, prefix: str = "") -> list[str]:
        """See ``BlobStore.list_folders``."""
        key = folders_key(prefix)
        return await self._either(key, lambda: self._list_folders(prefix, key), msgspec.json.decode)

    async def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """See ``BlobStore.put``."""
        return await self._blobs.put(key, data, if_match=if_match, if_absent=if_absent)

    async def delete(self, key: str) -> bool:
        """See ``BlobStore.delete``."""
        async with self._locks[key]:
            deleted = await self._blobs.delete(key)
            await self._kept.delete(key)
        return deleted

    async def close(self) -> None:
        """See ``BlobStore.close``. The store and the copies stay open."""

    async def _either(self, key: str, ask: Callable[[], Awaitable[T]], of_copy: Callable[[bytes], T]) -> T:
        """Return the store's answer, or that of the copy while the store fails."""
        if self._clock() < self._down_until:
            kept = await self._kept.get(key)
            if kept is not None:
                return of_copy(kept)
        try:
            return await ask()
        except Unavailable:
            self._down_until = self._clock() + PAUSE
            kept = await self._kept.get(key)
            if kept is None:
                raise
            return of_copy(kept)

    async def _get(self, key: str) -> Blob:
        async with self._locks[key]:
            try:
                blob = await self._blobs.get(key)
            except NotFound:
                await self._kept.delete(key)
                raise
            await self._kept.put(key, blob.data)
            return blob

    async def _head(self, key: str) -> BlobInfo | None:
        async with self._locks[key]:
            info = await self._blobs.head(key)
            if info is None:
                await self._kept.delete(key)
        return info

    async def _list_folders(self, prefix: str, key: str) -> list[str]:
        folders = await self._blobs.list_folders(prefix)
        await self._kept.put(key, msgspec.json.encode(folders))
        return folders

    def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """See ``BlobStore.list``."""
        return self._blobs.list(prefix)


def folders_key(prefix: str) -> str:
    """Return the key of the copy of a list of folders. It ends in a slash, which no blob's key does."""
    return f"{prefix}/"
