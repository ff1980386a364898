"""A blob store that is remembered: what was read of it is told where the store does not answer.

For metadata: pointers, manifests, centroids, id lookups. Chunks have the layers of a cache, where the store is never
asked for a value that is at hand; here the store is asked first, since it is the truth.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar

import msgspec

from vectorcache.errors import NotFound, Unavailable
from vectorcache.layers.tasks import KeyLocks
from vectorcache.stores.base import Blob, BlobInfo, BlobStore

PAUSE = 2.0
"""Seconds after a failure of the store in which what is kept is told without asking it."""

T = TypeVar("T")


class Memory(Protocol):
    """Where blobs are kept, on a best effort: nothing fails, and what cannot be kept is not found."""

    async def get(self, key: str) -> bytes | None:
        """What is kept of a blob."""

    async def put(self, key: str, data: bytes, /) -> object:
        """Keep a blob."""

    async def delete(self, key: str) -> object:
        """Forget a blob."""

    async def contains(self, key: str) -> bool:
        """Whether ``get`` is likely to find it."""


class KeptBlobs(BlobStore):
    """A blob store over another one, which it reads and remembers.

    What was read whole, the folders that were listed, and that a blob is there, are told from memory while the store
    is ``Unavailable``. Ranges, lists and writes are the store's alone. ETags of what was kept are empty.

    Args:
        blobs: the store; stays its maker's to close.
        kept: where blobs are kept; stays its maker's to close.
        clock: monotonic seconds.
    """

    def __init__(
        self, blobs: BlobStore, kept: Memory, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._blobs = blobs
        self._kept = kept
        self._clock = clock
        self._down_until = -PAUSE
        self._locks = KeyLocks()  # reads of one blob follow one another, so that the last one is kept

    async def recall(self, key: str) -> bytes | None:
        """What is kept of a blob; the store is not asked."""
        return await self._kept.get(key)

    async def is_kept(self, key: str) -> bool:
        """Whether a blob is kept."""
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

    async def _either(self, key: str, ask: Callable[[], Awaitable[T]], told: Callable[[bytes], T]) -> T:
        """The store's answer, or what was kept while it does not give one."""
        if self._clock() < self._down_until:
            kept = await self._kept.get(key)
            if kept is not None:
                return told(kept)
        try:
            return await ask()
        except Unavailable:
            self._down_until = self._clock() + PAUSE
            kept = await self._kept.get(key)
            if kept is None:
                raise
            return told(kept)

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
    """The key under which the folders below a prefix are kept; no blob's key ends in a slash."""
    return f"{prefix}/"
