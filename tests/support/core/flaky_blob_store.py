"""A blob store whose next calls fail as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from enum import Enum, auto

from vectorcache.errors import Unavailable
from vectorcache.stores import Blob, BlobInfo, MemoryBlobStore


class Fault(Enum):
    """What becomes of one call."""

    NONE = auto()
    LOST_REQUEST = auto()  # it fails, and nothing was done
    LOST_ANSWER = auto()  # it fails, though it was done
    SILENCE = auto()  # nothing was done, and no answer ever comes
    SILENCE_AFTER = auto()  # it was done, and no answer ever comes
    BROKEN_PAGE = auto()  # a listing fails behind its third blob


class FlakyBlobStore(MemoryBlobStore):
    """Each call takes the next of ``faults``; after the last, all is well. ``calls`` names them all."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__()
        self.faults = list(faults)
        self.calls: list[str] = []
        self.called = asyncio.Event()
        self.closed = 0

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Blob:
        fault = await self._before("get")
        blob = await super().get(key, offset=offset, length=length)
        await self._after(fault)
        return blob

    async def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        fault = await self._before("put")
        etag = await super().put(key, data, if_match=if_match, if_absent=if_absent)
        await self._after(fault)
        return etag

    async def delete(self, key: str) -> bool:
        fault = await self._before("delete")
        deleted = await super().delete(key)
        await self._after(fault)
        return deleted

    async def head(self, key: str) -> BlobInfo | None:
        await self._before("head")
        return await super().head(key)

    async def list_folders(self, prefix: str = "") -> list[str]:
        await self._before("list_folders")
        return await super().list_folders(prefix)

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        fault = await self._before("list")
        count = 0
        async for info in super().list(prefix):
            if fault is Fault.BROKEN_PAGE and count == 3:
                raise Unavailable("the listing broke off")
            count += 1
            yield info

    async def close(self) -> None:
        self.closed += 1

    async def _before(self, call: str) -> Fault:
        self.calls.append(call)
        self.called.set()
        fault = self.faults.pop(0) if self.faults else Fault.NONE
        if fault is Fault.LOST_REQUEST:
            raise Unavailable("the request was lost")
        if fault is Fault.SILENCE:
            await asyncio.Event().wait()
        return fault

    async def _after(self, fault: Fault) -> None:
        if fault is Fault.LOST_ANSWER:
            raise Unavailable("the answer was lost")
        if fault is Fault.SILENCE_AFTER:
            await asyncio.Event().wait()
