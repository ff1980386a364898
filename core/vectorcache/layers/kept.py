"""A blob store with kept copies: what was read from the store is served from a copy while the store fails.

For metadata: pointers, manifests, centroids, id lookups. Chunks have the layers of a cache, where a value that is at
hand is never compared with the store; here the store is asked first, since it is the truth.
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
"""Seconds after a failure of the store for which copies are served without asking it again."""

T = TypeVar("T")


class Memory(Protocol):
    """Where copies are kept, on a best effort: no call fails, and what could not be kept is not found."""

    async def get(self, key: str) -> bytes | None:
        """The copy of a blob, or None."""

    async def put(self, key: str, data: bytes, /) -> object:
        """Keep a copy."""

    async def delete(self, key: str) -> object:
        """Forget a copy."""

    async def contains(self, key: str) -> bool:
        """Whether ``get`` is likely to find it."""


class KeptBlobs(BlobStore):
    """Reads from a blob store and keeps copies of what it read.

    While the store is ``Unavailable``, copies answer ``get`` of whole blobs, ``head`` and ``list_folders``. The store
    alone does everything else. A copy has an empty ETag.

    Args:
        blobs: the store; stays its maker's to close.
        kept: the copies; stays its maker's to close.
        clock: monotonic seconds.
    """

    def __init__(
        self, blobs: BlobStore, kept: Memory, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._blobs = blobs
        self._kept = kept
        self._clock = clock
        self._down_until = -PAUSE
        self._locks = KeyLocks()  # reads of one blob follow one another: the last one is kept

    async def recall(self, key: str) -> bytes | None:
        """The copy of a blob, or None; the store is not asked."""
        return await self._kept.get(key)

    async def is_kept(self, key: str) -> bool:
        """Whether there is a copy of a blob."""
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
        """Nothing: it holds nothing of its own."""

    async def _either(self, key: str, ask: Callable[[], Awaitable[T]], of_copy: Callable[[bytes], T]) -> T:
        """The store's answer, or that of the copy while the store fails."""
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
    """The key of the copy of a list of folders; no blob's key ends in a slash."""
    return f"{prefix}/"
