"""Files and blobs in memory, for tests and for local trials without persistent data."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Callable
from operator import itemgetter

from vectorcache.errors import Conflict, NotFound
from vectorcache.stores.base import Blob, BlobInfo, BlobStore, FileInfo, FileStore
from vectorcache.stores.names import (
    check_conditions,
    check_folder,
    check_key,
    check_name,
    check_offset,
    check_prefix,
    check_range,
)


class MemoryFileStore(FileStore):
    """Files in memory. ``clock`` returns the time of use in seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._files: dict[str, tuple[bytes, float]] = {}

    async def read(self, name: str) -> bytes | None:
        """See ``FileStore.read``."""
        check_name(name)
        if name not in self._files:
            return None
        data, _ = self._files[name]
        self._files[name] = (data, self._clock())
        return data

    async def map(self, name: str) -> memoryview | None:
        """See ``FileStore.map``."""
        data = await self.read(name)
        return None if data is None else memoryview(data)

    async def write(self, name: str, data: bytes) -> None:
        """See ``FileStore.write``."""
        check_name(name)
        self._files[name] = (data, self._clock())

    async def delete(self, name: str) -> bool:
        """See ``FileStore.delete``."""
        check_name(name)
        return self._files.pop(name, None) is not None

    async def list(self) -> list[FileInfo]:
        """See ``FileStore.list``."""
        return [FileInfo(name, len(data), used_at) for name, (data, used_at) in self._files.items()]

    async def close(self) -> None:
        """See ``FileStore.close``."""


class MemoryBlobStore(BlobStore):
    """Blobs in memory. No call awaits anything, so each is atomic on its event loop."""

    def __init__(self) -> None:
        self._blobs: dict[str, Blob] = {}
        self._versions = itertools.count(1)

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Blob:
        """See ``BlobStore.get``."""
        check_key(key)
        check_range(offset, length)
        blob = self._blobs.get(key)
        if blob is None:
            raise NotFound("blob", key)
        check_offset(offset, len(blob.data))
        end = None if length is None else offset + length
        return Blob(blob.data[offset:end], blob.etag)

    async def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """See ``BlobStore.put``."""
        check_key(key)
        check_conditions(if_match, if_absent)
        present = self._blobs.get(key)
        if if_absent and present is not None:
            raise Conflict(f"blob {key!r} already exists")
        if if_match is not None and (present is None or present.etag != if_match):
            raise Conflict(f"blob {key!r} does not have the expected ETag")
        etag = f'"{next(self._versions)}"'
        self._blobs[key] = Blob(data, etag)
        return etag

    async def delete(self, key: str) -> bool:
        """See ``BlobStore.delete``."""
        check_key(key)
        return self._blobs.pop(key, None) is not None

    async def head(self, key: str) -> BlobInfo | None:
        """See ``BlobStore.head``."""
        check_key(key)
        blob = self._blobs.get(key)
        return None if blob is None else BlobInfo(key, len(blob.data), blob.etag)

    async def list_folders(self, prefix: str = "") -> list[str]:
        """See ``BlobStore.list_folders``."""
        check_folder(prefix)
        below = (key.removeprefix(prefix) for key in self._blobs if key.startswith(prefix))
        return sorted({rest.partition("/")[0] for rest in below if "/" in rest})

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """See ``BlobStore.list``."""
        check_prefix(prefix)
        found = [
            BlobInfo(key, len(blob.data), blob.etag)
            for key, blob in sorted(self._blobs.items(), key=itemgetter(0))
            if key.startswith(prefix)
        ]
        for info in found:
            yield info

    async def close(self) -> None:
        """See ``BlobStore.close``."""
