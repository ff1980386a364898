"""Stores and layers that a test makes fail, or stops in the middle of a call."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable

from vectorcache.layers import CacheLayer, LayerStats
from vectorcache.layers.codec import Codec
from vectorcache.stores.base import Blob, BlobInfo, BlobStore, FileInfo, FileStore

PATIENCE = 5.0
"""Seconds after which a test that waits for something gives up."""


class Gate:
    """Where calls of one kind stop until the test opens it."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._waiting = 0
        self._changed = asyncio.Condition()
        self._opened = asyncio.Event()

    async def enter(self) -> None:
        if self._waiting == self._limit:
            return
        self._waiting += 1
        async with self._changed:
            self._changed.notify_all()
        async with asyncio.timeout(PATIENCE):
            await self._opened.wait()

    async def arrivals(self, count: int = 1) -> None:
        """Wait until so many calls have come here."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: self._waiting >= count)

    def open(self) -> None:
        self._opened.set()


class Control:
    """Counts the calls of each kind, and fails or stops those that the test chooses."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.failures: dict[str, Exception] = {}
        self._gates: dict[str, Gate] = {}

    def hold(self, call: str, limit: int | None = None) -> Gate:
        """Stop the next calls of this kind, at most ``limit`` of them, until the gate is opened."""
        gate = self._gates[call] = Gate(limit)
        return gate

    async def check(self, call: str) -> None:
        self.calls[call] += 1
        await asyncio.sleep(0)  # as a real medium would, it lets others run
        if gate := self._gates.get(call):
            await gate.enter()
        if error := self.failures.get(call):
            raise error


class ControlledFiles(FileStore):
    def __init__(self, inner: FileStore) -> None:
        self.inner = inner
        self.control = Control()

    async def read(self, name: str) -> bytes | None:
        await self.control.check("read")
        return await self.inner.read(name)

    async def map(self, name: str) -> memoryview | None:
        await self.control.check("map")
        return await self.inner.map(name)

    async def write(self, name: str, data: bytes) -> None:
        await self.control.check("write")
        await self.inner.write(name, data)

    async def delete(self, name: str) -> bool:
        await self.control.check("delete")
        return await self.inner.delete(name)

    async def list(self) -> list[FileInfo]:
        await self.control.check("list")
        return await self.inner.list()

    async def close(self) -> None:
        await self.inner.close()


class ControlledBlobs(BlobStore):
    def __init__(self, inner: BlobStore) -> None:
        self.inner = inner
        self.control = Control()

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Blob:
        await self.control.check("get")
        return await self.inner.get(key, offset=offset, length=length)

    async def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        await self.control.check("put")
        return await self.inner.put(key, data, if_match=if_match, if_absent=if_absent)

    async def delete(self, key: str) -> bool:
        await self.control.check("delete")
        return await self.inner.delete(key)

    async def head(self, key: str) -> BlobInfo | None:
        await self.control.check("head")
        return await self.inner.head(key)

    async def list_folders(self, prefix: str = "") -> list[str]:
        await self.control.check("list_folders")
        return await self.inner.list_folders(prefix)

    async def close(self) -> None:
        await self.inner.close()

    def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        return self.inner.list(prefix)


class ControlledLayer(CacheLayer[bytes]):
    """A layer over a dict. ``get_cached`` finds nothing, so that every read comes by ``get``."""

    def __init__(self, values: dict[str, bytes] | None = None, *, name: str = "controlled") -> None:
        self.values = dict(values or {})
        self.control = Control()
        self._name = name

    async def open(self) -> None:
        await self.control.check("open")

    async def close(self) -> None:
        await self.control.check("close")

    def get_cached(self, keys: Iterable[str]) -> dict[str, bytes]:
        if error := self.control.failures.get("get_cached"):
            raise error
        return {}

    async def get(self, key: str) -> bytes | None:
        value = self.values.get(key)  # before the gate: what is read may be old when it arrives
        await self.control.check("get")
        return value

    async def put(self, key: str, value: bytes) -> bytes:
        await self.control.check("put")
        self.values[key] = value
        return value

    async def delete(self, key: str) -> bool:
        await self.control.check("delete")
        return self.values.pop(key, None) is not None

    async def contains(self, key: str) -> bool:
        await self.control.check("contains")
        return key in self.values

    def stats(self) -> LayerStats:
        return LayerStats(self._name, items=len(self.values))


class Mapped(bytes):
    """A value over a mapped file, as ``MappingCodec`` makes it."""


class MappingCodec(Codec[bytes]):
    """Bytes. Those that begin with "map" are best read where their file is mapped."""

    mappable = True

    def encode(self, key: str, value: bytes) -> bytes:
        return bytes(value)

    def decode(self, key: str, data: bytes) -> bytes:
        return data

    def prefers_mapping(self, value: bytes) -> bool:
        return value.startswith(b"map")

    def map(self, key: str, data: memoryview) -> bytes:
        return Mapped(data)
