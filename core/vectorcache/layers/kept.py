"""A blob store that is remembered: what was read of it is told where the store does not answer.

For metadata: pointers, manifests, centroids, id lookups. Chunks have the layers of a cache, where the store is never
asked for a value that is at hand; here the store is asked first, since it is the truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol, TypeVar

import msgspec

from vectorcache.errors import NotFound, Unavailable
from vectorcache.layers.tasks import Tasks
from vectorcache.stores.base import Blob, BlobInfo, BlobStore

PATIENCE = 0.5
"""Seconds that the store has to answer before what was kept is told."""

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
        """Whether it is worth while to call ``get``."""


class KeptBlobs(BlobStore):
    """A blob store over another one, which it reads and remembers.

    What was read whole, the folders that were listed, and that a blob is there, are told from memory of them when the
    store is ``Unavailable`` or slow. Its answer, when it comes at last, is kept for the next time. Ranges, lists and
    writes are the store's alone. ETags of what was kept are empty.

    Args:
        blobs: the store; stays its maker's to close.
        kept: where blobs are kept; stays its maker's to close.
        patience: see ``PATIENCE``.
    """

    def __init__(self, blobs: BlobStore, kept: Memory, *, patience: float = PATIENCE) -> None:
        self._blobs = blobs
        self._kept = kept
        self._patience = patience
        self._tasks = Tasks()

    async def recall(self, key: str) -> bytes | None:
        """What is kept of a blob; the store is not asked."""
        return await self._kept.get(key)

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Blob:
        """See ``BlobStore.get``."""
        if offset or length is not None:
            return await self._blobs.get(key, offset=offset, length=length)
        return await self._either(key, self._get(key), lambda data: Blob(data, ""))

    async def head(self, key: str) -> BlobInfo | None:
        """See ``BlobStore.head``."""
        return await self._either(key, self._head(key), lambda data: BlobInfo(key, len(data), ""))

    async def list_folders(self, prefix: str = "") -> list[str]:
        """See ``BlobStore.list_folders``."""
        key = folders_key(prefix)
        return await self._either(key, self._list_folders(prefix, key), msgspec.json.decode)

    async def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """See ``BlobStore.put``."""
        return await self._blobs.put(key, data, if_match=if_match, if_absent=if_absent)

    async def delete(self, key: str) -> bool:
        """See ``BlobStore.delete``."""
        await self._kept.delete(key)
        return await self._blobs.delete(key)

    async def close(self) -> None:
        """Give up what is under way."""
        await self._tasks.cancel()

    async def _either(self, key: str, asking: Coroutine[Any, Any, T], told: Callable[[bytes], T]) -> T:
        """The store's answer, or what was kept where that does not come."""
        answer = self._tasks.start(asking)
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may wait for it
        if await self._kept.contains(key):
            await asyncio.wait((answer,), timeout=self._patience)
            if not answer.done() or isinstance(answer.exception(), Unavailable):
                kept = await self._kept.get(key)
                if kept is not None:
                    return told(kept)
        return await asyncio.shield(answer)

    async def _get(self, key: str) -> Blob:
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
